"""The one exception of the agent: becomes the ``error`` message of the protocol."""


class AgentFailure(Exception):  # noqa: N818  it becomes a message, nobody catches it by suffix
    """``kind`` is a word of PROTOCOL.md, ``stage`` where it happened, ``hint`` the next step."""

    def __init__(self, kind, stage, message, hint=""):
        super().__init__(message)
        self.kind = kind
        self.stage = stage
        self.hint = hint

    def as_message(self):
        """The ``error`` message."""
        return {
            "type": "error",
            "kind": self.kind,
            "stage": self.stage,
            "message": str(self)[:2000],
            "hint": self.hint,
        }


#: Bytes that a process with memory left can always have.
_PROBE = 64 * 1024 * 1024


def out_of_memory(stage, detail=""):
    """The failure of a device whose memory is used up."""
    return AgentFailure(
        "out_of_memory",
        stage,
        "the device is out of memory" + (": " + detail if detail else ""),
        "end what else runs there, or choose a smaller variant",
    )


def memory_short(failure):
    """What a failure of the runtime really was, if there is no memory left; else ``None``.

    Runtimes do not tell: LiteRT says of a failed allocation only that it cannot load the model.
    """
    if failure.kind not in ("bad_model", "invoke_failed"):
        return None
    try:
        bytearray(_PROBE)
    except MemoryError:
        return out_of_memory(failure.stage, str(failure))
    return None

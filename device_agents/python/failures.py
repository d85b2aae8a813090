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

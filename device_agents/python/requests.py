"""A request as it is read: strict JSON, within the limits of PROTOCOL.md."""

import re

from device_agents.python import wire
from device_agents.python.failures import AgentFailure

MAX_DEPTH = 32
MAX_VALUES = 100000
MAX_NUMBER = 63
MAX_ID = 4096

#: What ``limits`` takes: whole numbers, or any.
WHOLE = (int,)
ANY = (int, float)
ENDLESS = float("inf")

#: A zero byte would cut a path; halves of surrogate pairs are no characters.
_NO_TEXT = re.compile(r"[\x00\ud800-\udfff]")


def parse(line):
    """The request in a line of bytes; raises ``AgentFailure`` (``bad_request``)."""
    if not line:
        raise _bad("no request came")
    try:
        request = wire.decode(line, parse_int=_whole, parse_float=_real, parse_constant=_refuse)
    except wire.WireError as error:
        raise _bad(str(error)) from None
    if not _within_limits(request):
        raise _bad("a request beyond the limits: %r" % bytes(line[:120]))
    protocol, identity = request.get("protocol"), request.get("id")
    if type(protocol) is not int or protocol != wire.PROTOCOL_VERSION:
        raise _bad(
            "protocol %r is not spoken here, only %d" % (protocol, wire.PROTOCOL_VERSION),
            "use a host and an agent of the same release",
        )
    if identity is not None and not (
        isinstance(identity, str) and len(identity.encode("utf-8")) <= MAX_ID
    ):
        raise _bad("id is no text of at most %d bytes" % MAX_ID)
    return request


def limits(request, stage, wanted):
    """The numbers of a request by name; ``wanted`` are (name, default, low, high, types).

    Raises ``AgentFailure``: ``bad_request`` of that stage. True and false are no numbers.
    """
    found = {}
    for name, default, low, high, types in wanted:
        value = request.get(name, default)
        if type(value) not in types or not low <= value <= high:
            raise AgentFailure("bad_request", stage, "%s is wrong: %r" % (name, value))
        found[name] = value
    return found


def _bad(message, hint=""):
    return AgentFailure("bad_request", "start", message, hint)


def _refuse(text):
    raise ValueError(text)


def _real(text):
    value = float(text) if len(text) <= MAX_NUMBER else float("inf")
    return value if abs(value) != float("inf") else _refuse(text)


def _whole(text):
    """An integer of 64 bits; a larger one is a real number, as C reads it."""
    real = _real(text)
    return int(text) if -(2**63) <= int(text) < 2**63 else real


def _within_limits(request):
    count, open_ = 0, [(request, 0)]
    while open_:
        value, depth = open_.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_VALUES:
            return False
        texts = ()
        if isinstance(value, str):
            texts = (value,)
        elif isinstance(value, list):
            open_.extend((part, depth + 1) for part in value)
        elif isinstance(value, dict):
            open_.extend((part, depth + 1) for part in value.values())
            texts = value
        if any(map(_NO_TEXT.search, texts)):
            return False
    return True

"""Faults of simulated devices, as they are written: what goes wrong, where, how often.

FAULT  = KIND [KEY=VALUE ...] ["at" WHERE] ["of" WHOSE] ["once" | N "times" | "always"]
WHERE  = "connect" [N] | "push" [N] | "byte" N | "start" [N] | "load" | PURPOSE | "sample" N
WHOSE  = "trial" N | PURPOSE [N] | "push" N
PURPOSE = "accuracy" | "latency" | "scenarios" | "operators" | "sustained" | "energy"
RANDOM = "random" "rate=" SHARE ["seed=" N]
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Required, TypedDict

from harness.errors import UsageError, suggest


class FaultKind(StrEnum):
    """What goes wrong, in the words of the grammar."""

    REFUSED = "refused connection"
    HOST_KEY = "wrong host key"
    BUSY = "busy"
    STOLEN = "stolen"
    SLOW = "slow link"
    DISCONNECT = "disconnect"
    REBOOT = "reboot"
    CORRUPTED = "corrupted push"
    FULL = "full disk"
    MISSING = "agent missing"
    CRASH = "crash"
    KILLED = "killed"
    HANG = "hang"
    MEMORY = "out of memory"
    GARBAGE = "garbage output"
    OVERSIZED = "oversized output"
    CLOCK = "clock jump"
    THROTTLING = "throttling"
    FALLBACK = "cpu fallback"
    OUTPUTS = "wrong outputs"
    BATTERY = "low battery"


#: What an agent process may be asked for. ``accuracy`` is also the check of the outputs where
#: the Policy measures no accuracy.
PURPOSES = ("accuracy", "latency", "scenarios", "operators", "sustained", "energy")

#: Purposes of which samples of time come.
_TIMED = ("latency", "scenarios", "sustained", "energy")

_AGENT = ("start", "load", *PURPOSES)

#: Where each kind may strike; the first one where nothing else is said.
PLACES: Mapping[FaultKind, tuple[str, ...]] = MappingProxyType(
    {
        FaultKind.REFUSED: ("connect",),
        FaultKind.HOST_KEY: ("connect",),
        FaultKind.BUSY: ("connect",),
        FaultKind.STOLEN: ("latency", *(place for place in _AGENT if place != "latency")),
        FaultKind.SLOW: ("push",),
        FaultKind.DISCONNECT: ("latency", "push", *(p for p in _AGENT if p != "latency")),
        FaultKind.REBOOT: ("latency", "push", *(p for p in _AGENT if p != "latency")),
        FaultKind.CORRUPTED: ("push",),
        FaultKind.FULL: ("push",),
        FaultKind.MISSING: ("start",),
        FaultKind.CRASH: _AGENT,
        FaultKind.KILLED: _AGENT,
        FaultKind.HANG: _AGENT,
        FaultKind.MEMORY: ("load", *PURPOSES),
        FaultKind.GARBAGE: _AGENT,
        FaultKind.OVERSIZED: _AGENT,
        FaultKind.CLOCK: _TIMED,
        FaultKind.THROTTLING: _TIMED,
        FaultKind.FALLBACK: ("load",),
        FaultKind.OUTPUTS: ("accuracy",),
        FaultKind.BATTERY: ("connect",),
    }
)

#: The settings of a kind: default, least, most.
_SETTINGS: Mapping[FaultKind, Mapping[str, tuple[float, float, float]]] = MappingProxyType(
    {
        FaultKind.SLOW: {"rate": (1e6, 1, 1e12)},
        FaultKind.REBOOT: {"connects": (1, 0, 1000)},
        FaultKind.CLOCK: {"seconds": (5.0, -1e6, 1e6)},
        FaultKind.THROTTLING: {"factor": (2.0, 1.01, 1000)},
        FaultKind.BATTERY: {"percent": (5, 0, 100)},
    }
)

#: Kinds that hold from where they strike to the end of the session, however often it is asked.
_LASTING = (FaultKind.SLOW, FaultKind.BATTERY)

_MOST = 1_000_000_000
_MAX_TEXT = 300
_NUMBER = re.compile(r"\d{1,10}")
_SETTING = re.compile(r"([a-z_]+)=(\S+)")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    ``place`` is ``connect``, ``push``, ``start``, ``load`` or a purpose; ``number`` which one of
    them, from 1 (of a purpose: which of a job's trials or parts), 0 for any. ``purpose`` narrows
    ``load`` to the processes of one. ``sample`` counts from 1 within the process, 0 for the
    first; ``byte`` how many of a push still arrive. ``times`` is how often it strikes, 0 for
    always. ``settings`` by name; see ``docs/faults.md`` for their units.
    """

    kind: FaultKind
    place: str
    number: int = 0
    purpose: str = ""
    sample: int = 0
    byte: int = 0
    times: int = 1
    settings: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Fault:
        """From ``disconnect at sample 40 of trial 2``; raises ``UsageError``."""
        words, given = _split(text)
        kind, words = _kind(text, words)
        words, times = _times(text, words)
        if kind in _LASTING:
            times = 0 if times is None else times
        known = {name: default for name, (default, _, _) in _SETTINGS.get(kind, {}).items()}
        settings = {**known, **_checked(text, kind, given)}
        at, of = _clauses(text, words)
        found = _placed(text, kind, at, of)
        return cls(kind, times=1 if times is None else times, settings=settings, **found)


@dataclass(frozen=True, slots=True)
class RandomFaults:
    """Faults of any kind: each connection, push and agent process has one with ``rate``."""

    rate: float
    seed: int = 0


def parse_fault(text: str) -> Fault | RandomFaults:
    """A fault, or random ones; raises ``UsageError`` that says what is wrong in the text."""
    words, given = _split(text)
    if words[:1] != ["random"]:
        return Fault.parse(text)
    if words != ["random"]:
        raise _wrong(text, f"{' '.join(words[1:])!r} after random", "random rate=0.1 seed=7")
    for key in given:
        if key not in ("rate", "seed"):
            raise _wrong(text, f"random has no {key!r}", suggest(key, ("rate", "seed")))
    if "rate" not in given:
        raise _wrong(text, "random needs a rate", "random rate=0.1 seed=7")
    rate = _real(text, "rate", given["rate"], 0.0, 1.0)
    seed = given.get("seed", "0")
    if not re.fullmatch(r"\d{1,18}", seed):
        raise _wrong(text, f"seed={seed}", "a whole number of up to 18 digits")
    return RandomFaults(rate, int(seed))


def _wrong(text: str, what: str, hint: str) -> UsageError:
    shown = text if len(text) <= 80 else text[:77] + "..."
    return UsageError(f"the fault {shown!r}: {what}", hint=hint)


def _split(text: str) -> tuple[list[str], dict[str, str]]:
    """The words, and the ``KEY=VALUE`` among them."""
    if len(text) > _MAX_TEXT or not text.isprintable() or not text.split():
        raise _wrong(text, "no fault", "such as 'disconnect at sample 40 of trial 2'")
    words, given = [], {}
    for word in text.replace(",", " ").split():
        found = _SETTING.fullmatch(word)
        if found is None:
            words.append(word)
        elif found[1] in given:
            raise _wrong(text, f"{found[1]} twice", "once is enough")
        else:
            given[found[1]] = found[2]
    return words, given


def _kind(text: str, words: list[str]) -> tuple[FaultKind, list[str]]:
    for kind in FaultKind:
        own = kind.value.split()
        if words[: len(own)] == own:
            return kind, words[len(own) :]
    # "out of memory" is the only kind with such a word, and it was looked for above.
    end = next((i for i, word in enumerate(words) if word in ("at", "of")), len(words))
    seen = " ".join(words[:end])
    known = [*(kind.value for kind in FaultKind), "random"]
    raise _wrong(text, f"unknown fault {seen!r}", suggest(seen, known))


#: How often a fault strikes; the last words of its text.
_OFTEN = ("once", "time", "times", "always")


def _times(text: str, words: list[str]) -> tuple[list[str], int | None]:
    left, times = _how_often(text, words)
    if times is not None and left[-1:] and left[-1] in _OFTEN:
        other, _ = _how_often(text, left)
        both = [" ".join(left[len(other) :]) or left[-1], " ".join(words[len(left) :])]
        raise _wrong(
            text, f"both {both[0]!r} and {both[1]!r} say how often it strikes", "leave one of them"
        )
    return left, times


def _how_often(text: str, words: list[str]) -> tuple[list[str], int | None]:
    if words[-1:] == ["once"]:
        return words[:-1], 1
    if words[-1:] == ["always"]:
        return words[:-1], 0
    if words[-1:] in (["times"], ["time"]) and len(words) > 1:
        return words[:-2], _whole(text, "times", words[-2])
    return words, None


def _clauses(text: str, words: list[str]) -> tuple[list[str], list[str]]:
    """The words after ``at`` and after ``of``."""
    at: list[str] = []
    of: list[str] = []
    rest = words
    if rest[:1] == ["at"]:
        end = rest.index("of") if "of" in rest else len(rest)
        at, rest = rest[1:end], rest[end:]
        if not at:
            raise _wrong(text, "nothing after 'at'", "at load, at sample 40, at byte 1000")
    if rest[:1] == ["of"]:
        of, rest = rest[1:], []
        if not of:
            raise _wrong(text, "nothing after 'of'", "of trial 2, of accuracy, of push 1")
    if rest:
        hint = suggest(rest[0], ("at", "of", "once", "times", "always"))
        if rest[0] in _OFTEN:
            hint = "how often it strikes comes last, such as 'crash at load always'"
        raise _wrong(text, f"{' '.join(rest)!r} is not understood", hint)
    return at, of


class _Placed(TypedDict, total=False):
    place: Required[str]
    number: int
    purpose: str
    sample: int
    byte: int


def _placed(text: str, kind: FaultKind, at: list[str], of: list[str]) -> _Placed:
    """The fields of a fault that say where it strikes."""
    places = PLACES[kind]
    found: _Placed = {"place": places[0]}
    whose, number = _whose(text, of)
    if at and at[0] in ("sample", "byte"):
        if len(at) != 2:
            raise _wrong(text, f"{at[0]} needs one number", f"{at[0]} 40")
        value = _whole(text, at[0], at[1])
        if at[0] == "byte":
            found["byte"], found["place"] = value, "push"
        else:
            found["sample"], found["place"] = value, whose or _first_sampled(places)
    elif at:
        found["place"] = at[0]
        known = ("connect", "push", "start", "load", *PURPOSES, "sample", "byte")
        if at[0] not in known:
            raise _wrong(text, f"unknown place {at[0]!r}", suggest(at[0], known))
        if len(at) > 1:
            if at[0] not in ("connect", "push", "start") or len(at) > 2:
                raise _wrong(text, f"{' '.join(at)!r} is not a place", "at push 2, at load")
            found["number"] = _whole(text, at[0], at[1])
    elif whose:
        found["place"] = whose
    place = found["place"]
    if place not in places:
        raise _wrong(
            text, f"{kind.value} does not strike at {place}", f"it does at {_list(places)}"
        )
    if whose and place == "load":
        found["purpose"] = whose
    elif whose and place != whose:
        raise _wrong(
            text, f"{place} is not of {' '.join(of)}", "a load is of a trial, a byte of a push"
        )
    if number:
        found["number"] = number
    if "sample" in found and place not in (*_TIMED, "accuracy"):
        raise _wrong(text, f"{place} has no samples", f"they are of {_list((*_TIMED, 'accuracy'))}")
    if "byte" in found and kind not in (FaultKind.DISCONNECT, FaultKind.REBOOT):
        raise _wrong(text, f"{kind.value} takes no byte", "disconnect and reboot do")
    return found


def _first_sampled(places: tuple[str, ...]) -> str:
    return "latency" if "latency" in places else places[0]


def _whose(text: str, of: list[str]) -> tuple[str, int]:
    if not of:
        return "", 0
    name = "latency" if of[0] == "trial" else of[0]
    known = ("trial", "push", *PURPOSES)
    if of[0] not in known:
        raise _wrong(text, f"unknown {of[0]!r} after 'of'", suggest(of[0], known))
    if len(of) > 2 or (of[0] == "trial" and len(of) != 2):
        raise _wrong(text, f"{' '.join(of)!r} is not understood", "of trial 2, of scenarios 1")
    return name, _whole(text, of[0], of[1]) if len(of) == 2 else 0


def _checked(text: str, kind: FaultKind, given: Mapping[str, str]) -> dict[str, float]:
    known = _SETTINGS.get(kind, {})
    for key in given:
        if key not in known:
            hint = suggest(key, known) if known else f"{kind.value} has no settings"
            raise _wrong(text, f"{kind.value} has no setting {key!r}", hint)
    return {key: _real(text, key, value, *known[key][1:]) for key, value in given.items()}


def _real(text: str, name: str, value: str, low: float, high: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise _wrong(text, f"{name}={value}", f"{name} is a number from {low:g} to {high:g}")
    return number


def _whole(text: str, name: str, value: str) -> int:
    if not _NUMBER.fullmatch(value) or not 1 <= int(value) <= _MOST:
        raise _wrong(text, f"{name} {value!r}", f"a whole number from 1 to {_MOST:,}")
    return int(value)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names)

"""Cells of a published table in anybody's words: the type of a model's numbers, the threads.

A word that is not known is told, never taken for a default.
"""

from __future__ import annotations

import re

from harness.simulation.prediction import Hardware


class Unreadable(ValueError):  # noqa: N818  (it is a finding, told in a row's status)
    """Why a row cannot be predicted."""


#: What stands in a cell of which nothing is known.
_NOTHING = frozenset(
    {"", "n/a", "na", "nan", "none", "null", "?", "-", "--", "\u2013", "\u2014", "unknown"}
    | {"unspecified", "not stated", "not given", "not reported"}
)  # fmt: skip


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: 8-bit integers by name; only by saying that there was a quantization.
_INTEGERS = _set("int8 uint8 sint8 i8 u8 s8 q8 qint8 quint8 qs8 qu8 qc8 w8a8 8bit 8b")
_QUANTIZED = _set("quant quantized quantised quantization quantisation int integer ptq qat fixed")
_FLOATS = _set("float float32 fp32 f32 single float16 fp16 f16 half unquantized")
_HALF = _set("float16 fp16 f16 half")
#: Integers in the weights alone, which TensorFlow Lite quantizes against on the fly.
_DYNAMIC = _set("dynamic drq hybrid w8 w8a32 weight weights")
#: What the architectures cannot be built in.
_OTHERS = _set(
    "int16 uint16 i16 int16x8 16x8 w8a16 int4 uint4 i4 w4 w4a4 w4a8 w4a16 w4a32 int2 bf16 bfloat16 "
    "float64 fp64 double int32 mixed binary fp8 float8"
)
_NOT = _set("not non no without")
_PUTTING = _set("io input output inputs outputs")
_NOISE = _set(
    "full fully per channel tensor axis layer post training trained aware range precision only "
    "with and the tflite lite litert model type data dtype activation activations symmetric "
    "asymmetric default points point integers in out"
)


def is_nothing(text: str) -> bool:
    """Whether a cell says nothing at all: empty, a dash, ``n/a``."""
    return text.strip().lower() in _NOTHING


def type_of(text: str) -> str:
    """``float32``, ``int8`` or ``dynamic_int8`` of a cell such as ``int8 (quantized)``.

    Half floats are ``float32``: a processor unpacks them when it loads the model, and a GPU
    computes in halves whatever the file has. Raises ``Unreadable`` for what says nothing, another
    type, or two of them.
    """
    low = re.sub(r"\bw/ ?", "with ", text.lower().replace("_", " "))
    low = re.sub(r"\b(\d{1,2})[ -]?bits?\b", r" \1bit ", low)
    low = re.sub(r"\b(u?int|float|fp|bf|w)[ -]?(\d{1,2})\b", r"\1\2", low)
    said = re.findall(r"[a-z0-9]+", low)
    whole = bool({"int", "integer", "integers"} & set(said))
    bits = {"32bit": "int32" if whole else "float32", "16bit": "int16" if whole else "float16"}
    said = [bits.get(word, word) for word in said]
    known = _INTEGERS | _QUANTIZED | _FLOATS | _DYNAMIC | _OTHERS | _NOT | _PUTTING | _NOISE
    strange = [word for word in said if word not in known]
    found = set(said)
    if found & _OTHERS:
        raise Unreadable(f"the type {text[:40]!r} is not predicted")
    if strange or not found & (_INTEGERS | _QUANTIZED | _FLOATS | _DYNAMIC):
        raise Unreadable(f"no such type is known: {text[:40]!r}")
    if found & _NOT and found & _QUANTIZED:
        return "float32"
    integers = found & (_INTEGERS | _QUANTIZED)
    if found & _DYNAMIC and (integers or found & (_DYNAMIC - {"weight", "weights"})):
        # "weights and activations int8" are not the weights alone.
        return "int8" if found & {"activation", "activations"} else "dynamic_int8"
    if integers and found & _FLOATS:
        if found & _PUTTING:  # integers within, floats in and out
            return "int8"
        if found & _HALF and not found & _INTEGERS:  # "float16 quantization"
            return "float32"
        raise Unreadable(f"the type {text[:40]!r} is two")
    return "int8" if integers else "float32"


_COUNT = re.compile(
    r"(?:x ?)?(\d{1,5})(?:\.0*)?(?: ?x)?"
    r"(?: ?(?:cpu |big |little )?(?:t|th|thr|threads?|cores?|cpus?))?(?: \(?(?:big|all)\)?)?"
)
_SINGLE = re.compile(r"(?:single|one|1)[- ]?(?:thread(?:ed)?|core)?")
_SEVERAL = re.compile(r"multi(?:ple)?[- ]?(?:thread(?:ed|s)?|cores?)?")
_ALL = re.compile(r"(?:all|max(?:imum)?)(?: (?:threads|cores))?|(?:number|num) of cores")

_STATED = re.compile(
    r"(?<![\w.])(\d{1,3})[- ]?(?:cpu |big )?(?:threads?\b|t\b|thr\b)"
    r"|\b(?:num_)?threads? ?[=:]{0,2} ?(\d{1,3})\b|\bx ?(\d{1,3})$|\bx(\d{1,3})\)"
    r"|\bcpu[ _x-]*(\d{1,3})$"
)


def threads_of(cell: str, beside: str, notes: str, hardware: Hardware) -> int | None:
    """Threads of a row on the CPU, ``None`` where nothing says how many.

    ``cell`` is its column, ``beside`` what the backend says, ``notes`` the remarks. Raises
    ``Unreadable`` for a column that says something else.
    """
    low = cell.strip().lower().strip("()")
    if low not in _NOTHING and low not in ("default", "-1", "auto"):
        return _counted(low, cell, hardware)
    around = f"{notes} ; {beside}".lower()
    found = _STATED.search(around)
    if found:
        return _whole(next(group for group in found.groups() if group), cell or found[0])
    if re.search(r"single[- ]?(?:thread|core)", around):
        return 1
    if re.search(r"multi[- ]?thread", around):
        return hardware.big
    return None


def _counted(low: str, cell: str, hardware: Hardware) -> int:
    if found := _COUNT.fullmatch(low):
        return _whole(found[1], cell)
    if _SINGLE.fullmatch(low):
        return 1
    if _SEVERAL.fullmatch(low):
        return hardware.big
    if _ALL.fullmatch(low):
        return hardware.threads
    if found := re.fullmatch(r"(?:num_)?threads? ?[=:] ?(\d{1,5})", low):
        return _whole(found[1], cell)
    raise Unreadable(f"threads cannot be read: {cell[:40]!r}")


def _whole(digits: str, cell: str) -> int:
    count = int(digits)
    if not 1 <= count <= 256:
        raise Unreadable(f"threads are none: {cell[:40]!r}")
    return count

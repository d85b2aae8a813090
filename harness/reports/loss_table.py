"""Which operators cost a quantized model its accuracy, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.reports import numbers
from harness.reports.texts import plain_text

#: Operators that were not kept in float are listed up to this many.
_REST = 6


def render(found: Mapping[str, Any], width: int) -> str:
    """An examination as plain text of at most ``width`` columns; see ``orchestrate.debug``."""
    return plain_text(_parts(found), width)


def _parts(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield Text(f"{found['model']}, {found['recipe']}")
    samples = f"{found['samples']} samples end to end, {found['local_samples']} by operator"
    yield Text(samples)
    yield Text("")
    yield _files(found)
    yield Text("")
    yield _operators(found)
    yield Text(
        "error/scale: RMSE of the operator by itself in steps of its output (0.29 is "
        "rounding alone).\nkept float: what the whole model wins when this operator alone "
        "stays in float."
    )
    if found["recipe"].startswith("int16x8"):
        yield Text("Steps of 16-bit outputs are 256 times finer: go by the dB instead.")
    advice_text = advice(found)
    if advice_text:
        yield Text("")
        yield Text(advice_text)


def advice(found: Mapping[str, Any]) -> str:
    """The next step, in words."""
    exact, quantized = found["float_file"]["accuracy"], found["quantized"]["accuracy"]
    if exact is not None and quantized is not None:
        lost, noise = exact - quantized, found["accuracy_noise"]
        if lost < -noise:
            return f"the quantized model is {-lost * 100:.2f} points better: nothing to win back"
        if lost <= noise:
            return (
                f"the difference of {lost * 100:.2f} points is within what {found['samples']} "
                f"samples can tell (about {noise * 100:.2f}): nothing has to be kept in float"
            )
    best = best_selection(found)
    if best is None:
        return "keeping these operators in float wins nothing: look at the calibration samples"
    names = ", ".join(f'"{name}"' for name in best["keep_float"])
    won = ""
    if best["accuracy"] is not None:
        won = f" (top-1 {best['accuracy'] * 100:.2f} %, {numbers.size(best['size_bytes'])})"
    return f"next: int8_selective(keep_float=[{names}]){won}"


def best_selection(found: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The first set of operators in float whose loss is within the noise, else the best set.

    Without labels the first that wins nine tenths of the decibels that can be won.
    """
    sets = found["together"]
    exact, base = found["float_file"]["accuracy"], found["quantized"]
    if exact is not None and base["accuracy"] is not None:
        for item in sets:
            if exact - item["accuracy"] <= item["accuracy_noise"]:
                return dict(item)
        best = max(sets, key=lambda item: item["accuracy"], default=None)
        return dict(best) if best and best["accuracy"] > base["accuracy"] else None
    sets = [item for item in sets if item["snr_db"] is not None]
    if not sets or base["snr_db"] is None:
        return None
    most = max(item["snr_db"] for item in sets) - base["snr_db"]
    enough = [item for item in sets if item["snr_db"] - base["snr_db"] >= 0.9 * most > 0]
    return dict(enough[0]) if enough else None


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)


def _files(found: Mapping[str, Any]) -> Table:
    table = _table()
    for name, side in (
        ("file", "left"), ("top-1", "right"), ("agrees", "right"), ("SNR", "right"),
        ("size", "right"),
    ):  # fmt: skip
        table.add_column(name, justify=side, no_wrap=True)  # type: ignore[arg-type]
    rows = [
        ("float", found["float_file"]),
        ("the recipe's", found["deployed"]),
        ("all quantized", found["quantized"]),
    ]
    for item in found["together"]:
        rows.append((f"+ {_clean(item['keep_float'][-1])[:34]} in float", item))
    for name, item in rows:
        table.add_row(
            name,
            numbers.percent(item["accuracy"]),
            numbers.percent(item["agreement"]),
            _db(item["snr_db"]) if item["finite"] else "NaN",
            numbers.size(item["size_bytes"]),
        )
    return table


def _operators(found: Mapping[str, Any]) -> Table:
    table = _table()
    columns = (
        ("", "right"), ("operator", "left"), ("error/scale", "right"), ("SNR", "right"),
        ("kept float", "right"), ("layer", "left"),
    )  # fmt: skip
    for name, side in columns:
        table.add_column(
            name, justify=side, no_wrap=name != "layer", overflow="ellipsis",  # type: ignore[arg-type]
        )  # fmt: skip
    rest = 0
    for row in found["operators"]:
        if row["kept_float"] is None:
            rest += 1
            if rest > _REST:
                continue
        table.add_row(
            str(row["index"]), row["kind"], _steps(row["rmse_over_scale"]), _db(row["snr_db"]),
            _gain(row), Text(_clean(row["layer"]), overflow="ellipsis", no_wrap=True),
        )  # fmt: skip
    if rest > _REST:
        table.add_row("", f"and {rest - _REST} more", "", "", "", "")
    return table


def _gain(row: Mapping[str, Any]) -> str:
    if row["kept_float"] is None:
        return ""
    if row["accuracy_gain"] is not None:
        return f"{row['accuracy_gain'] * 100:+.2f} pt, {_signed_db(row['snr_gain_db'])}"
    return _signed_db(row["snr_gain_db"])


def _signed_db(value: float | None) -> str:
    return "" if value is None else f"{value:+.1f} dB"


def _db(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f} dB"


def _steps(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _clean(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)

from __future__ import annotations

from harness.reports.escapes import cell, escape, plain


def test_control_characters_never_come_through() -> None:
    text = "a\x1b[2J\x07b\x9bc\n d"
    for made in (plain(text), escape(text), cell("x\x1b\x07")):
        assert made.isprintable()
    assert plain(text) == "a [2J b c d"
    assert cell("=1\x1b") == "'=1 " and escape("a|<b>") == "a\\|&lt;b>"

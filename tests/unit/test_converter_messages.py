"""What a converter says, shortened."""

from __future__ import annotations

import pytest

from harness.recipes.making.messages import hint_for, shorten

MLIR = """<unknown>:0: error: loc(callsite(fused["Foo:", "a@b"] at fused["X:", "y"])): 'tf.Foo' op \
is neither a custom op nor a flex op
<unknown>:0: note: loc(fused["X:", "y"]): called from
<unknown>:0: error: loc(fused["Bar:", "c"]): 'tf.Bar' op is neither a custom op nor a flex op
error: failed while converting: 'main': """


def test_operators_that_are_lacking_are_named() -> None:
    text = MLIR.replace("\\\n", "")
    assert shorten(text) == "TensorFlow Lite has no operator for Bar, Foo"
    assert "replace the layers" in (hint_for(text) or "")


def test_where_the_compiler_looked_is_left_out() -> None:
    text = '<unknown>:0: error: loc(callsite(fused["T:", "t"] at fused["X:"])): it (really) failed'
    assert shorten(text) == "error: it (really) failed"


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("[Errno 28] No space left on device: x", "free some space"),
        ("the converter crashed (SIGSEGV): ...", "a fault of the converter"),
        ("the converter crashed (SIGKILL)", None),
        ("'tf.TensorListReserve' op requires element_shape to be static", "a fixed batch"),
    ],
)
def test_hints(said: str, hint: str | None) -> None:
    assert (hint_for(said) is None) if hint is None else hint in (hint_for(said) or "")

"""Names of a converted model's ends."""

from __future__ import annotations

from harness.models.one_graph import argument_names, natural


def test_names_that_a_signature_may_have() -> None:
    assert argument_names(["image", "a few", "x/y:0"]) == ["image", "a_few", "x_y_0"]
    odd = argument_names(["x", "X", "self", "class", "", "1st", "é", "x"])
    assert odd[:2] == ["x", "input_1_X"]
    assert len({name.lower() for name in odd}) == len(odd)
    assert all(name.isidentifier() and name.isascii() for name in odd)
    assert not {"self", "class"} & set(odd)


def test_numbers_sort_by_value() -> None:
    names = ["output_10", "b", "output_2", "output_0", "a1b3", "a1b20", "output"]
    assert sorted(names, key=natural) == [
        "a1b3", "a1b20", "b", "output", "output_0", "output_2", "output_10",
    ]  # fmt: skip

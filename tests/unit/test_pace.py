"""Lines in bursts."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from harness.cli.shared.pace import PACE, Paced


def test_a_burst_is_written_at_most_ten_times_a_second_and_nothing_is_lost() -> None:
    written: list[tuple[float, str]] = []
    begin = time.monotonic()
    with Paced(lambda text: written.append((time.monotonic() - begin, text))) as paced:
        for number in range(3000):
            paced.say(str(number))
            if number % 1000 == 0:
                time.sleep(PACE / 2)
    assert "\n".join(text for _, text in written).split("\n") == [str(n) for n in range(3000)]
    assert written[0][1] == "0"  # after a pause at once
    pauses = [after - before for (before, _), (after, _) in pairwise(written[:-1])]
    assert all(pause >= 0.9 * PACE for pause in pauses)  # the last one is that of the end


def test_the_end_of_a_burst_is_written_without_another_line() -> None:
    written: list[str] = []
    paced = Paced(written.append)
    paced.say("one")
    paced.say("two")
    assert written == ["one"]
    deadline = time.monotonic() + 10
    while len(written) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert written == ["one", "two"]


def test_what_could_not_be_written_is_raised_to_who_says_the_next_line() -> None:
    def gone(text: str) -> None:
        if text != "one":
            raise BrokenPipeError

    with Paced(gone) as paced:
        paced.say("one")
        paced.say("two")
        deadline = time.monotonic() + 10
        with pytest.raises(BrokenPipeError):
            while time.monotonic() < deadline:
                paced.say("three")
                time.sleep(0.01)

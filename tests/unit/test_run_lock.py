"""Which runs go on: what a killed process can no more tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.orchestrate.run_lock import run_lock, was_killed


def test_a_run_goes_on_while_its_lock_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    assert not was_killed("mine")  # begun on another machine, as far as is known
    with run_lock("mine"):
        assert not was_killed("mine")
        with pytest.raises(StoreError, match="going on in another process"), run_lock("mine"):
            pass
    assert was_killed("mine")  # if its last word was that it runs
    with run_lock("mine"):
        pass

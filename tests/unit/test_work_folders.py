"""Work folders of conversions: what killed processes leave is removed, what is in use is not."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from harness.recipes.making.process import _LOCK, _sweep


def test_only_old_folders_that_nobody_holds_are_swept(tmp_path: Path) -> None:
    old = time.time() - 3600
    for name in ("held", "left", "young"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.out").write_bytes(b"x")
        (tmp_path / name / _LOCK).touch()
    with open(tmp_path / "held" / _LOCK, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("held", "left"):
            os.utime(tmp_path / name, (old, old))
        _sweep(tmp_path)
        assert {item.name for item in tmp_path.iterdir()} == {"held", "young"}
    _sweep(tmp_path)
    assert {item.name for item in tmp_path.iterdir()} == {"young"}

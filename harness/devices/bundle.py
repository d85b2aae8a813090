"""The Python agent as one file: a zip that any Python 3.7 or later runs."""

from __future__ import annotations

import hashlib
import io
import zipfile
from functools import cache
from importlib import resources

from harness.cache import cache_dir, whole_file
from harness.devices.blobs import Blob

#: A fixed date makes equal sources equal files.
_DATE = (2020, 1, 1, 0, 0, 0)

_MAIN = "from device_agents.python.agent import main\n\nmain()\n"


def agent_bundle() -> Blob:
    """The agent's zip in the cache, named by its content."""
    data, sha256 = _zipped()
    path = cache_dir("host", "agents") / f"{sha256}.pyz"
    if not path.exists():
        with whole_file(path) as part:
            part.write_bytes(data)
    return Blob(path, sha256, len(data), "agent")


@cache
def _zipped() -> tuple[bytes, str]:
    """The zip and its sha256; its sources do not change while this process runs."""
    folder = resources.files("device_agents")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:

        def add(name: str, text: str) -> None:
            archive.writestr(zipfile.ZipInfo(name, _DATE), text)

        add("__main__.py", _MAIN)
        add("device_agents/__init__.py", "")
        for item in sorted(folder.joinpath("python").iterdir(), key=lambda item: item.name):
            if item.name.endswith(".py"):
                add(f"device_agents/python/{item.name}", item.read_text(encoding="utf-8"))
    data = content.getvalue()
    return data, hashlib.sha256(data).hexdigest()

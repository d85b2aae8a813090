"""The user's ``benchmark_model`` binary: by path, or fetched once by a pinned URL."""

from __future__ import annotations

import hashlib
import http.client
import ipaddress
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any

from harness.cache import cache_dir, expanded, file_sha256, whole_file
from harness.devices.blobs import Blob
from harness.domain import Device
from harness.errors import AgentSetupError

#: No build of the tool comes near this.
MAX_BYTES = 256 * 1024 * 1024

#: Seconds without a byte.
TIMEOUT = 30.0

_CHUNK = 1 << 20
_HINT = "set benchmark_model of this device to a binary built for it, or to its https:// URL"


def find_tool(device: Device) -> Blob:
    """The binary on this machine; raises ``AgentSetupError``."""
    declared = device.link.get("benchmark_model")
    pinned = device.link.get("benchmark_model_sha256")
    name = device.name
    if not declared:
        raise AgentSetupError(f"{name}: no benchmark_model is set", hint=_HINT)
    text = str(declared)
    if "://" in text:
        if not pinned:
            raise AgentSetupError(
                f"{name}: benchmark_model is a URL without benchmark_model_sha256",
                hint="set benchmark_model_sha256 to the sha256 of the file that you mean",
            )
        path = fetch(text, str(pinned), name)
        return Blob(path, str(pinned), path.stat().st_size, "benchmark_model")
    path = expanded(text)
    try:
        size, sha256 = path.stat().st_size, file_sha256(path)
    except OSError as error:
        raise AgentSetupError(
            f"{name}: cannot read benchmark_model {path}: {error.strerror}", hint=_HINT
        ) from None
    if pinned and sha256 != pinned:
        raise _changed(name, text, sha256, str(pinned))
    return Blob(path, sha256, size, "benchmark_model")


def fetch(url: str, sha256: str, name: str, *, limit: int = MAX_BYTES) -> Path:
    """The file of that sha256 in the cache, downloaded if it is not there yet."""
    path = cache_dir("host", "benchmark_model") / sha256
    if path.exists() and file_sha256(path) == sha256:
        return path
    _check(url, name)
    with whole_file(path) as part:
        found = _download(url, part, name, limit)
        if found != sha256:
            raise _changed(name, url, found, sha256)
    return path


def _download(url: str, part: Path, name: str, limit: int) -> str:
    digest, size = hashlib.sha256(), 0
    opener = urllib.request.build_opener(_SafeRedirects(name))
    with part.open("wb") as target:
        try:
            with opener.open(url, timeout=TIMEOUT) as response:
                declared = response.headers.get("Content-Length")
                while chunk := response.read(_CHUNK):
                    size += len(chunk)
                    if size > limit:
                        raise AgentSetupError(
                            f"{name}: {url} gives more than {limit:,} bytes",
                            hint="it does not look like a benchmark_model",
                        )
                    digest.update(chunk)
                    target.write(chunk)
        except (OSError, http.client.HTTPException) as error:
            raise AgentSetupError(
                f"{name}: cannot fetch benchmark_model from {url}: {_reason(error)}",
                hint="check the URL and the network, or set benchmark_model to a file",
            ) from None
    if declared is not None and declared.isdigit() and int(declared) != size:
        raise AgentSetupError(
            f"{name}: {url} broke off after {size:,} of {int(declared):,} bytes",
            hint="try again",
        )
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__


def _check(url: str, name: str) -> None:
    """Only what cannot be changed on its way, though the sha256 would tell."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname)):
        return
    raise AgentSetupError(
        f"{name}: {url} is not an https:// address", hint="fetch it by https, or by hand"
    )


def _is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def _changed(name: str, source: str, found: str, pinned: str) -> AgentSetupError:
    return AgentSetupError(
        f"{name}: {source} has the sha256 {found}, not {pinned}",
        hint="if the new file is the one you want, set benchmark_model_sha256 to its sha256",
    )


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect to another kind of address is refused like the address itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Any,
        newurl: str,
    ) -> urllib.request.Request | None:
        """See the base class."""
        _check(newurl, self._name)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

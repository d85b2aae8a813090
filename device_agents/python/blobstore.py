"""The device's store of pushed files, named by their content. Python 3.7+, standard library.

The host runs this file's text with ``python3 -c`` and one JSON request on stdin:

    {"op": "look", "root": "~/.cache/edge-harness", "blobs": [["<sha256>", size], ...]}
        -> {"root": absolute, "missing": ["<sha256>", ...], "free_bytes": n, "python": "3.11.2"}
    {"op": "commit", "root": absolute, "token": "<hex>", "blobs": ["<sha256>", ...]}
        -> {"bad": ["<sha256>", ...]}
    {"op": "drop", "root": absolute, "token": "<hex>"}
        -> {"bad": []}

A file is pushed as ``parts/<sha256>.<token>``; ``commit`` hashes it here, on the device, and
only then gives it its name ``blobs/<sha256>``. ``look`` hashes again what is there: a disk may
have lost what it held. ``drop`` removes the parts of a push that failed; ``look`` those that
are older than an hour.
"""

import hashlib
import json
import os
import re
import shutil
import sys
import time

_NAME = re.compile(r"^[0-9a-f]{64}$")


def handle(request):
    """Answer one request; see the module's text."""
    root = os.path.abspath(os.path.expanduser(request["root"]))
    blobs, parts = os.path.join(root, "blobs"), os.path.join(root, "parts")
    for folder in (root, blobs, parts):
        os.makedirs(folder, mode=0o700, exist_ok=True)
    if request["op"] == "look":
        _sweep_out(parts)
        return {
            "root": root,
            "missing": [name for name, size in request["blobs"] if not _has(blobs, name, size)],
            "free_bytes": shutil.disk_usage(root).free,
            "python": "%d.%d.%d" % sys.version_info[:3],
        }
    if request["op"] == "commit":
        token = request["token"]
        bad = []
        for name in request["blobs"]:
            part = os.path.join(parts, "%s.%s" % (_checked(name), _token(token)))
            if _sha256(part) == name:
                with open(part, "rb") as stream:
                    os.fsync(stream.fileno())  # a power cut must not leave a hollow file
                os.replace(part, os.path.join(blobs, name))
            else:
                bad.append(name)
                if os.path.exists(part):
                    os.unlink(part)
        return {"bad": bad}
    if request["op"] == "drop":
        for name in os.listdir(parts):
            if name.endswith("." + _token(request["token"])):
                os.unlink(os.path.join(parts, name))
        return {"bad": []}
    raise ValueError("unknown op %r" % request["op"])


def _sweep_out(parts):
    for name in os.listdir(parts):
        path = os.path.join(parts, name)
        try:
            if time.time() - os.path.getmtime(path) > 3600:
                os.unlink(path)
        except OSError:
            pass


def _has(blobs, name, size):
    path = os.path.join(blobs, _checked(name))
    try:
        return os.path.getsize(path) == size and _sha256(path) == name
    except OSError:
        return False


def _checked(name):
    if not _NAME.match(name):
        raise ValueError("not a sha256: %r" % name)
    return name


def _token(token):
    if not re.match(r"^[0-9a-f]{8,32}$", token):
        raise ValueError("not a token: %r" % token)
    return token


def _sha256(path):
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as stream:
            for chunk in iter(lambda: stream.read(1 << 20), b""):
                digest.update(chunk)
    except OSError:
        return None
    return digest.hexdigest()


if __name__ == "__main__":
    print(json.dumps(handle(json.load(sys.stdin))))

"""A Debian for arm64 on this machine: its own userland under QEMU, reached by OpenSSH's server.

``root`` makes the userland once (``packages``, ``wheels.txt``), ``inside`` is the process that
starts programs in namespaces of their own (``mounts``, ``binfmt``), ``server`` is
sshd with its keys, ``cpu`` what the emulated CPU is, ``target`` puts them together. What
``root`` imports is the standard library alone: it can be run before anything is installed.
"""

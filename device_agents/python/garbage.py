"""Keeping Python's garbage collector out of what is timed."""

import gc


def hold(clock):
    """Collect now, and not again before ``let_go``: no collection falls into an inference.

    On a modelled clock nothing here is timed, and the process is the host's, whose garbage
    is no business of a device: nothing is done then.
    """
    if getattr(clock, "real", True):
        gc.collect()
        gc.disable()


def let_go(clock):
    """What ``hold`` has stopped goes on."""
    if getattr(clock, "real", True):
        gc.enable()

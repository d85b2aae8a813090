"""``harness devices clean``."""

from __future__ import annotations

from typing import Annotated

import typer


def clean(
    device: Annotated[str, typer.Argument(help="A device that has a profile.")],
    suite: Annotated[
        str | None, typer.Option("--suite", help="Take the device from this suite's tables.")
    ] = None,
) -> None:
    """Remove the files that the harness keeps on a device; refused while it is in use."""
    from harness.config.devices import find_device
    from harness.config.suites import load_suite
    from harness.devices.cleaning import clean as remove
    from harness.devices.messages import clean as printable
    from harness.orchestrate.environment import known_names
    from harness.transports import TRANSPORTS

    if suite is None:
        found = find_device(device, TRANSPORTS)
    else:
        found = load_suite(suite, known_names(), devices=[device]).devices[0]
    done = remove(found, "harness devices clean")
    print(f"{device}: {done.files} files, {done.size:,} bytes freed in {printable(done.root)}")

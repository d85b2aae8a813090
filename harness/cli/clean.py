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
    """Remove what the harness keeps on a device.

    Refused while the device is in use.
    """
    from harness.cli.shared.named import named_devices
    from harness.devices.cleaning import clean as remove
    from harness.devices.messages import clean as printable

    (found,) = named_devices([device], suite)
    done = remove(found, "harness devices clean")
    print(f"{device}: {done.files} files, {done.size:,} bytes freed in {printable(done.root)}")

"""Helper scripts that run in the shell of a device; see ``harness.devices.shell``."""

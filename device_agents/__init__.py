"""What runs on devices. Nothing here imports the host side (``harness``)."""

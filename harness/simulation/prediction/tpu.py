"""Time of operators on a Coral Edge TPU.

    call + bytes of inputs and instructions / link + results + parameters past the cache / link
    per operator: its start + multiply-accumulates / (4096 per cycle x share(class) x fit(shape))
                  + bytes of activations / on-chip memory

The structure is that of ``beagle_chip_structures.h`` and ``beagle_top_level_handler.cc`` of
google-coral/libedgetpu: 4 x 4 tiles of 64 cells, 250 MHz by default and 500 MHz at most, narrow
memory of 192 KiB per tile. Operators that the compiler does not map run on the host's processor.
"""

from __future__ import annotations

import numpy as np

from harness.simulation.prediction.classes import ARITHMETIC, CLASSES, Numbers, Work
from harness.simulation.prediction.hardware import EdgeTpu
from harness.simulation.prediction.package import LANES
from harness.simulation.prediction.parameters import Parameters

TILES = 16
CELLS = 64
MACS_PER_CYCLE = TILES * CELLS * LANES

#: Bytes per cycle at which activations pass the tiles (assumed: one for each lane, as operands of
#: multiplications come).
_CHIP_BYTES = TILES * LANES

#: Bytes of one request for results over USB, of which each is a transfer of its own
#: (``UsbDriver`` of libedgetpu: outfeed chunks of 1 KiB, of 256 bytes at the speed of USB 2).
_CHUNKS = {"usb2": 256, "usb3": 1024, "usb3-pi": 1024}


def fit(work: Work) -> Numbers:
    """The share of lanes and cells that a shape keeps busy: channels are padded to them."""
    outputs = np.ceil(work.outputs / CELLS) * CELLS
    depth = np.ceil(work.depth / LANES) * LANES
    positions = np.ceil(work.positions / TILES) * TILES
    shares = work.outputs / outputs * work.depth / np.maximum(1.0, depth)
    busy: Numbers = np.where(work.macs > 0, shares * work.positions / positions, 1.0)
    return np.maximum(busy, 1e-3)


def seconds(work: Work, chip: EdgeTpu, parameters: Parameters) -> Numbers:
    """Seconds of each mapped operator on the chip."""
    taken = inner_seconds(work, np.float64(MACS_PER_CYCLE * chip.mhz * 1e6), parameters)
    total: Numbers = taken + parameters("edgetpu.operator") * 1e-6
    return total


def inner_seconds(work: Work, peak: Numbers | np.float64, parameters: Parameters) -> Numbers:
    """Seconds of arithmetic and of activations, on a chip that starts ``peak`` MAC a second.

    One such chip or another has this structure, and its on-chip memory goes with its cells: the
    neural processors of Pixel phones too, which Google calls Edge TPUs (NNAPI's driver of a
    Pixel 6 is ``google-edgetpu``). What is fitted is so of all of their rows.
    """
    shares = np.array(
        [parameters(f"edgetpu.{kind}") if kind in ARITHMETIC else 1.0 for kind in CLASSES]
    )
    compute = work.macs / (peak * shares[work.classes] * fit(work))
    chip_bytes = peak / MACS_PER_CYCLE * _CHIP_BYTES * parameters("edgetpu.memory")
    total: Numbers = compute + work.moved / chip_bytes
    return total


def link_seconds(
    chip: EdgeTpu,
    sent: float,
    returned: float,
    parameter_bytes: float,
    parameters: Parameters,
) -> tuple[float, float]:
    """Seconds of the call with its transfers, and of parameters that do not fit on the chip.

    ``sent`` are bytes of inputs and instructions, ``returned`` of outputs; ``parameter_bytes`` all
    that the chip needs, see ``package``.
    """
    link = chip.link_mbs * 1e6 * parameters(f"link.{chip.link}.rate")
    call = parameters(f"link.{chip.link}.invoke") * 1e-6
    streamed = max(0.0, parameter_bytes - chip.cache_mib * 2**20)
    chunk = _CHUNKS.get(chip.link)
    if chunk is None:
        back = returned / link
    else:
        back = np.ceil(returned / chunk) * parameters(f"link.{chip.link}.chunk") * 1e-6
    return call + sent / link + float(back), streamed / link

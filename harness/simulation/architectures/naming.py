"""Published names of models, in all their spellings, taken apart."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

#: Words that say how a file was made or trained, not which network it is.
_NOISE = frozenset(
    word
    for line in (
        "quant quantized quantised quantize integer full fully per channel tensor int8 uint8",
        "int16 int16x8 int float float32 float16 fp32 fp16 f32 f16 tflite litert tfl onnx pb h5",
        "coco coco14 coco17 coco2017 mscoco pascal voc cityscapes imagenet imagenet2012 ilsvrc",
        "ilsvrc2012 ptq qat tpu tfhub tf tf1 tf2 default metadata frozen model models",
        "postprocess postprocessed postproc trained dm alpha width depth",
        "multiplier res resolution size input classification classifier detection detector",
        "detect object segmentation semantic feature vector gpu nnapi hexagon fixed",
        "dynamic range weights weight only drq pre post training download mlperf google coral",
        "the with by x at on from keras legacy sync shared box predictor optimized opt",
        "no nms xnnpack backbone slim io",
    )
    for word in line.split()
)

_DATE = re.compile(r"(?:^|[_\-])(?:19|20)\d\d[_\-]\d\d[_\-]\d\d")
_HUB = re.compile(r"[_\-/]\d{1,2}[_\-/](?:default|metadata)[_\-/]\d{1,2}$")
_EXTENSION = re.compile(r"\.(?:tflite|lite|pb|onnx|h5|keras|tar\.gz|tgz|zip|bin|xml)$")
_SIZES = re.compile(r"^(?:1x)?(\d{2,4})x(\d{2,4})(?:x[13])?$")
_TOKEN = re.compile(
    r"(?:1x)?\d{2,4}x\d{2,4}(?:x[13])?"  # 300x300
    r"|\d+\.\d+"  # 0.75
    r"|v\d+(?![a-z])|lite\d+x?|tf\d|coco\d+|int\d+(?:x\d+)?|uint\d+|float\d+|fp\d+|f(?:16|32)"
    r"|imagenet2012|imagenet1k|ilsvrc2012|mnv\d|mv\d|unet|h5|3x(?![a-z0-9])"
    r"|[a-z]+|\d+"
)


#: Other ways to write the same, in the order in which they are undone.
_SPELLINGS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?<=\d)p(?=\d)", "."),  # dm1p75
        (r"v1[._]5(?!\d)", "garden"),  # ResNet "v1.5" is a form of V1, not a width
        (r"(?<=[a-z0-9])(v\d|lite\d)", r"_\1"),  # mobilenetv2, efficientnetlite0, resnet50v2
        (r"(v\d)(?=[a-z])", r"\1_"),  # mobilenetv3small
        (r"(facessd.*)open_image_v4", r"\1"),  # other detectors of it have more classes
        (r"face(?=ssd)", "face_"),
        (r"(face|bird|insect|plant)s(?![a-z])", r"\1"),
        (r"inception[_-]resnet", "inceptionresnet"),
    )
)


@dataclass(frozen=True, slots=True)
class Name:
    """A name taken apart: ``words`` run together, numbers in their order, and all of it.

    ``MobileNet_v1_0.50_192_quant`` has the words ``mobilenetv1``, the numbers 0.50 and 192,
    and is ``mobilenet_v1_0.50_192`` as a whole.
    """

    words: str
    numbers: tuple[str, ...]
    whole: str

    def without(self, *suffixes: str) -> Name:
        """The same without what its words end in."""
        for suffix in suffixes:
            if self.words.endswith(suffix) and self.words != suffix:
                return Name(self.words.removesuffix(suffix), self.numbers, self.whole)
        return self


def take_apart(text: str) -> Name:
    """The words and numbers of a published name; files' paths and endings do not count."""
    name = text.strip().lower().replace("\\", "/").rstrip("/")
    bare = _EXTENSION.sub("", name)
    # Only a file has a folder: "SSD/FPN MobileNet V1" has none.
    name = bare.rsplit("/", 1)[-1] if bare != name or name.startswith(("/", ".")) else bare
    name = _HUB.sub("", name)
    name = _DATE.sub("", name)
    name = re.sub(r"^lite-model_|[_-]tpu[_-]?\d+$", "", name)
    for pattern, replacement in _SPELLINGS:
        name = pattern.sub(replacement, name)
    found = _TOKEN.findall(name)
    # What the Edge TPU compiler adds to a file's name stands behind all else.
    if len(found) > 1 and found[-1] == "edgetpu":
        before = found[-2]
        if before in _NOISE or before[0].isdigit():
            found.pop()
    parts = [part for part in found if part not in _NOISE]
    numbers = [part for part in parts if part[0].isdigit() and part != "3x"]
    words = [part for part in parts if not part[0].isdigit() or part == "3x"]
    return Name("".join(words), tuple(numbers), "_".join(parts))


def sizes(
    numbers: Sequence[str],
    width: float | None = None,
    side: int | tuple[int, int] = 224,
    widths: Collection[float] | None = None,
) -> tuple[float, tuple[int, int]] | None:
    """The width multiplier and the (rows, columns) among a name's numbers.

    0.75, 075 and 75 are the same width; ``width`` and ``side`` stand where none is named;
    ``width`` of ``None``: the family has no widths. ``None`` for numbers that make no sense.
    """
    rows, columns = side if isinstance(side, tuple) else (side, side)
    found_width: float | None = None
    sides: list[int] = []
    for number in numbers:
        if pair := _SIZES.match(number):
            # Written as columns x rows or the other way round; nearly all are squares.
            sides.extend((int(pair[1]), int(pair[2])))
            continue
        value = float(number)
        percent = "." not in number and (number.startswith("0") or 5 < value < 96 or value in _WIDE)
        if "." in number or percent or value < 4:
            share = value / 100 if percent and len(number) > 1 else value
            if number in {"05", "01"}:
                share = value / 10
            if found_width is None and (width is not None or share == 1):
                found_width = share
            elif value not in (1, 2, 3):  # a release's number at the end
                return None
        else:
            sides.append(int(value))
    chosen = found_width if found_width is not None else width
    if chosen is not None and not 0.05 <= chosen <= 4:
        return None
    if widths is not None and chosen not in widths:
        return None
    if len(sides) == 1:
        sides *= 2
    if len(sides) == 2:
        rows, columns = sides
    elif sides:
        return None
    if not 16 <= min(rows, columns) <= max(rows, columns) <= 4096:
        return None
    return (chosen if chosen is not None else 1.0), (rows, columns)


#: Widths in percent that could be a side.
_WIDE = (100, 125, 130, 140, 150, 175)


def decimal(value: float) -> str:
    """A width as names have it: 1.0, 0.75, 0.5."""
    return f"{value:.2f}".rstrip("0") if round(value * 10) != value * 10 else f"{value:.1f}"


def side_text(rows: int, columns: int) -> str:
    """A resolution as names have it: 224, or 353_481."""
    return str(rows) if rows == columns else f"{rows}_{columns}"

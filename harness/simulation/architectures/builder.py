"""Layers in the form that the TFLite converter gives them.

Batch normalisation is folded, ReLUs are fused into the layer before them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from harness.simulation.architectures.draft import DTYPES, Draft

__all__ = ["DTYPES", "Builder", "rounded", "spatial"]


class Builder(Draft):
    """One graph under construction; layers take and give indices of tensors."""

    def conv(
        self,
        x: int,
        filters: int,
        kernel: int | tuple[int, int] = 1,
        stride: int = 1,
        act: str = "none",
        padding: str = "same",
        dilation: int = 1,
        shared: str = "",
    ) -> int:
        """CONV_2D with a bias; ``act`` fused: none, relu, relu6.

        Those with the same name in ``shared`` have the same weights.
        """
        high, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        n, *extents, depth = self.shape(x)
        rows, columns = spatial(extents, (high, wide), stride, padding, dilation)
        name = f"conv_{self.count}"
        weights = self.weights(f"{name}/weights", (filters, high, wide, depth), filters, 0, shared)
        bias = self.bias(f"{name}/bias", filters, filters)
        options = {
            "padding": padding,
            "stride_w": stride,
            "stride_h": stride,
            "fused_activation": act,
            "dilation_w_factor": dilation,
            "dilation_h_factor": dilation,
        }
        return self.made("CONV_2D", [x, weights, bias], (n, rows, columns, filters), options)

    def depthwise(
        self,
        x: int,
        kernel: int = 3,
        stride: int = 1,
        act: str = "none",
        padding: str = "same",
        dilation: int = 1,
        multiplier: int = 1,
        shared: str = "",
    ) -> int:
        """DEPTHWISE_CONV_2D with a bias; ``shared`` as in ``conv``."""
        n, *extents, depth = self.shape(x)
        depth *= multiplier
        rows, columns = spatial(extents, (kernel, kernel), stride, padding, dilation)
        name = f"depthwise_{self.count}"
        weights = self.weights(f"{name}/weights", (1, kernel, kernel, depth), depth, 3, shared)
        bias = self.bias(f"{name}/bias", depth, depth)
        options = {
            "padding": padding,
            "stride_w": stride,
            "stride_h": stride,
            "depth_multiplier": multiplier,
            "fused_activation": act,
            "dilation_w_factor": dilation,
            "dilation_h_factor": dilation,
        }
        version = 2 if dilation > 1 and self.dtype != "int8" else 0
        return self.made(
            "DEPTHWISE_CONV_2D",
            [x, weights, bias],
            (n, rows, columns, depth),
            options,
            version=version,
        )

    def separable(
        self,
        x: int,
        filters: int,
        kernel: int = 3,
        stride: int = 1,
        act: str = "none",
        inner: str = "none",
        padding: str = "same",
        dilation: int = 1,
    ) -> int:
        """A depthwise and a pointwise convolution; ``inner`` is fused into the first."""
        x = self.depthwise(x, kernel, stride, inner, padding, dilation)
        return self.conv(x, filters, act=act)

    def dense(self, x: int, units: int, act: str = "none") -> int:
        """FULLY_CONNECTED over (n, features), or (n, 1, 1, features)."""
        n, *_, features = self.shape(x)
        name = f"dense_{self.count}"
        weights = self.weights(f"{name}/weights", (units, features), 1, 0)
        bias = self.bias(f"{name}/bias", units, 1)
        options = {
            "fused_activation": act,
            "weights_format": "default",
            "keep_num_dims": False,
            "asymmetric_quantize_inputs": self.dtype == "dynamic_int8",
        }
        return self.made("FULLY_CONNECTED", [x, weights, bias], (n, units), options)

    def pool(
        self,
        x: int,
        kind: str,
        kernel: int | tuple[int, int],
        stride: int = 1,
        padding: str = "same",
    ) -> int:
        """AVERAGE_POOL_2D or MAX_POOL_2D; ``kind`` is ``average`` or ``max``."""
        high, wide = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        n, *extents, depth = self.shape(x)
        rows, columns = spatial(extents, (high, wide), stride, padding, 1)
        options = {
            "padding": padding,
            "stride_w": stride,
            "stride_h": stride,
            "filter_width": wide,
            "filter_height": high,
            "fused_activation": "none",
        }
        return self.made(f"{kind.upper()}_POOL_2D", [x], (n, rows, columns, depth), options)

    def global_pool(self, x: int, stride: int = 1) -> int:
        """AVERAGE_POOL_2D over all positions: (n, 1, 1, c)."""
        _, rows, columns, _ = self.shape(x)
        return self.pool(x, "average", (rows, columns), stride, "valid")

    def mean(self, x: int, keep: bool = False) -> int:
        """MEAN over all positions: (n, c), or (n, 1, 1, c) where dimensions are kept."""
        n, *_, depth = self.shape(x)
        axes = self.constant("axes", (2,), "int32", (1, 2))
        shape = (n, 1, 1, depth) if keep else (n, depth)
        return self.made("MEAN", [x, axes], shape, {"keep_dims": keep})

    def add(self, x: int, y: int, act: str = "none") -> int:
        """ADD with broadcasting."""
        options = {"fused_activation": act, "pot_scale_int16": True}
        return self.made("ADD", [x, y], self._broadcast(x, y), options)

    def mul(self, x: int, y: int, act: str = "none") -> int:
        """MUL with broadcasting."""
        return self.made("MUL", [x, y], self._broadcast(x, y), {"fused_activation": act})

    def _broadcast(self, x: int, y: int) -> tuple[int, ...]:
        one, other = self.shape(x), self.shape(y)
        longest = max(len(one), len(other))
        one, other = ((1,) * (longest - len(shape)) + shape for shape in (one, other))
        return tuple(max(pair) for pair in zip(one, other, strict=True))

    def scale(self, x: int, name: str = "MUL", act: str = "none") -> int:
        """MUL or ADD with a learned constant per channel: what of a normalisation is not folded."""
        depth = self.channels(x)
        if self.quantized:
            learned = self.constant(f"scale_{self.count}", (depth,), self.activation)
        else:
            learned = self.float_weights(f"scale_{self.count}", (depth,))
        return self.add(x, learned, act) if name == "ADD" else self.mul(x, learned, act)

    def unary(self, name: str, x: int, options: Mapping[str, Any] | None = None) -> int:
        """An operator whose output is like its input: HARD_SWISH, LOGISTIC, RELU, ..."""
        return self.made(name, [x], self.shape(x), options)

    def softmax(self, x: int) -> int:
        """SOFTMAX over the innermost dimension."""
        return self.unary("SOFTMAX", x, {"beta": 1.0})

    def concat(self, parts: Sequence[int], axis: int = 3) -> int:
        """CONCATENATION along ``axis``."""
        shape = list(self.shape(parts[0]))
        shape[axis] = sum(self.shape(part)[axis] for part in parts)
        return self.made(
            "CONCATENATION", list(parts), shape, {"axis": axis, "fused_activation": "none"}
        )

    def reshape(self, x: int, shape: Sequence[int]) -> int:
        """RESHAPE to ``shape``, in which one extent may be -1; a leading 1 is the batch."""
        shape = (self.shape(x)[0], *shape[1:]) if shape[0] == 1 else shape
        known = prod(extent for extent in shape if extent != -1)
        full = [prod(self.shape(x)) // known if extent == -1 else extent for extent in shape]
        target = self.constant("shape", (len(full),), "int32", shape)
        return self.made("RESHAPE", [x, target], full)

    def pad(self, x: int, before: int, after: int) -> int:
        """PAD of rows and columns with zeros."""
        n, rows, columns, depth = self.shape(x)
        paddings = self.constant(
            "paddings", (4, 2), "int32", (0, 0, before, after, before, after, 0, 0)
        )
        more = before + after
        return self.made("PAD", [x, paddings], (n, rows + more, columns + more, depth))

    def resize(
        self,
        x: int,
        size: tuple[int, int],
        kind: str = "BILINEAR",
        align: bool = False,
        half: bool = False,
    ) -> int:
        """RESIZE_BILINEAR or RESIZE_NEAREST_NEIGHBOR to (rows, columns)."""
        n, _, _, depth = self.shape(x)
        target = self.constant("size", (2,), "int32", size)
        options = {"align_corners": align, "half_pixel_centers": half}
        version = 3 if half else 0
        return self.made(f"RESIZE_{kind}", [x, target], (n, *size, depth), options, None, version)

    def convert(self, x: int, dtype: str) -> int:
        """QUANTIZE or DEQUANTIZE to another type."""
        name = "DEQUANTIZE" if dtype == "float32" else "QUANTIZE"
        return self.made(name, [x], self.shape(x), dtype=dtype)

    def requantized_input(self) -> int:
        """An input of uint8 that is turned into int8 first, as files with such inputs do."""
        self.retype_input("uint8")
        return self.convert(self.input, self.activation)

    def crop(self, x: int, before: int) -> int:
        """STRIDED_SLICE that cuts the first rows and columns."""
        n, rows, columns, depth = self.shape(x)
        begin = self.constant("begin", (4,), "int32", (0, before, before, 0))
        end = self.constant("end", (4,), "int32", (0, 0, 0, 0))
        steps = self.constant("strides", (4,), "int32", (1, 1, 1, 1))
        options = {
            "begin_mask": 9,
            "end_mask": 15,
            "ellipsis_mask": 0,
            "new_axis_mask": 0,
            "shrink_axis_mask": 0,
            "offset": False,
        }
        shape = (n, rows - before, columns - before, depth)
        return self.made("STRIDED_SLICE", [x, begin, end, steps], shape, options)

    def split(self, x: int, parts: int) -> list[int]:
        """SPLIT of the channels into equal parts."""
        *outer, depth = self.shape(x)
        axis = self.constant("axis", (), "int32", (len(outer),))
        name = f"split_{self.count}"
        outputs = [self.tensor(f"{name}_{n}", (*outer, depth // parts)) for n in range(parts)]
        self.operator("SPLIT", [axis, x], outputs, {"num_splits": parts})
        return outputs

    def grouped(
        self, x: int, filters: int, groups: int, kernel: int, stride: int = 1, act: str = "none"
    ) -> int:
        """A convolution in groups, as the converter writes it: SPLIT, CONV_2Ds, CONCATENATION."""
        parts = self.split(x, groups)
        return self.concat(
            [self.conv(part, filters // groups, kernel, stride, act) for part in parts]
        )

    def transposed(self, x: int, filters: int, kernel: int, stride: int) -> int:
        """TRANSPOSE_CONV to ``stride`` times the extents, with a bias."""
        n, rows, columns, depth = self.shape(x)
        shape = (n, rows * stride, columns * stride, filters)
        name = f"transposed_{self.count}"
        weights = self.weights(f"{name}/weights", (filters, kernel, kernel, depth), filters, 0)
        bias = self.bias(f"{name}/bias", filters, filters)
        target = self.constant("shape", (4,), "int32", shape)
        options = {
            "padding": "same",
            "stride_w": stride,
            "stride_h": stride,
            "fused_activation": "none",
        }
        return self.made("TRANSPOSE_CONV", [target, weights, x, bias], shape, options, version=3)

    def arg_max(self, x: int) -> int:
        """ARG_MAX over the innermost dimension."""
        axis = self.constant("axis", (), "int32", (len(self.shape(x)) - 1,))
        return self.made(
            "ARG_MAX", [x, axis], self.shape(x)[:-1], {"output_type": "int64"}, "int64"
        )


def spatial(
    extents: Sequence[int], kernel: tuple[int, int], stride: int, padding: str, dilation: int = 1
) -> tuple[int, int]:
    """Rows and columns that a window leaves; raises ``ValueError`` where none are left."""
    left = []
    for extent, size in zip(extents, kernel, strict=True):
        reach = extent if padding == "same" else extent - dilation * (size - 1)
        if reach < 1:
            raise ValueError(f"a window of {size} does not fit into {extent} positions")
        left.append(-(-reach // stride))
    return left[0], left[1]


def rounded(value: float, divisor: int = 8, least: int | None = None) -> int:
    """Channels after a multiplier: the nearest multiple of ``divisor``, never 10 % less.

    The rule that MobileNet V2 and all later families share.
    """
    least = divisor if least is None else least
    near = max(least, int(value + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * value else near

"""A float ``.tflite`` and ai-edge-quantizer: quantizing a file that is ready already."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from harness.errors import ConversionError, ModelError
from harness.recipes.recipe import Operators, Values
from harness.simulation.elements import TYPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FLOAT32 = 0

#: The signature that a file without any gets, since calibration goes by signatures.
_SIGNATURE = "serving_default"


class FloatFile:
    """A float model that can be quantized any number of times; calibrated once.

    Raises ``ModelError`` for a file whose weights are quantized already, or are no numbers.
    """

    def __init__(self, content: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
        self._graph = self._model.subgraphs[0]
        self._refuse_unusable()
        if len(self._model.signatureDefs or ()) > 1:
            raise ConversionError(
                f"the file has {len(self._model.signatureDefs)} signatures, and only one is "
                "quantized",
                hint="convert each signature into a file of its own",
            )
        if not self._model.signatureDefs:
            self._model.signatureDefs = [self._signature(schema)]
            content = self._packed()
        self._content = content
        self._ranges: Any = None

    @property
    def operators(self) -> Operators:
        """Type and output name of every operator that makes something, in order."""
        return [
            (self._kind(operator), self._name(operator.outputs[0]))
            for operator in self._graph.operators
            if len(operator.outputs)
        ]

    def input(self, purpose: str = "calibration") -> tuple[tuple[int, ...], str]:
        """Shape and type of the one input; raises ``ConversionError``."""
        inputs = [self._graph.tensors[index] for index in self._graph.inputs]
        if len(inputs) != 1:
            raise ConversionError(
                f"{purpose} feeds exactly one input, and this model has {len(inputs)}",
                hint="use a recipe without calibration: dynamic_int8, weight_only_int8"
                if purpose == "calibration"
                else None,
            )
        return tuple(int(size) for size in inputs[0].shape), TYPES[inputs[0].type][0]

    def quantize(
        self,
        configure: Callable[[Any, Values, Operators], None],
        values: Values,
        calibration: NDArray[Any] | None = None,
    ) -> bytes:
        """The quantized file; ``calibration`` (n, batch, ...) is used the first time only."""
        from ai_edge_quantizer import quantizer as aeq

        quantizer = aeq.Quantizer(bytearray(self._content))
        configure(quantizer, values, self.operators)
        if quantizer.need_calibration and self._ranges is None:
            assert calibration is not None
            self._ranges = self._calibrate(calibration)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = quantizer.quantize(
                self._ranges if quantizer.need_calibration else None, enable_progress_report=False
            )
        return bytes(result.quantized_model)

    def _calibrate(self, calibration: NDArray[Any]) -> Any:
        """The ranges of every tensor, from a recipe that leaves no operator out.

        From the least to the largest value, as TensorFlow's converter has them: the library's
        own default, a moving average, depends on the order of samples and cuts most of them.
        """
        from ai_edge_quantizer import calibrator, recipe, recipe_manager
        from ai_edge_quantizer.utils import qsv_utils

        everything = recipe_manager.RecipeManager()
        everything.load_quantization_recipe(recipe.static_wi8_ai8())
        key, name = self._input_of_signature()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # keeping every tensor is the purpose here
            found = calibrator.Calibrator(
                bytearray(self._content), num_threads=1, qsv_update_func=qsv_utils.min_max_update
            )
            found.calibrate({key: [{name: batch} for batch in calibration]}, everything)
        return found.get_model_qsvs()

    def _input_of_signature(self) -> tuple[str, str]:
        signature = self._model.signatureDefs[0]
        return signature.signatureKey.decode(), signature.inputs[0].name.decode()

    def _refuse_unusable(self) -> None:
        import numpy as np

        for tensor in self._graph.tensors:
            if tensor.quantization is not None and tensor.quantization.scale is not None:
                raise ModelError(
                    "the file is quantized already, and quantizing twice loses twice",
                    hint="use as_is, or begin with the float model",
                )
            data = self._model.buffers[tensor.buffer].data
            if tensor.type == _FLOAT32 and data is not None:
                values = np.frombuffer(bytes(data), np.float32)
                if not np.isfinite(values).all():
                    raise ModelError(
                        f"its weights {tensor.name.decode()} hold values that are NaN or infinite",
                        hint="use an earlier checkpoint of the model",
                    )

    def _kind(self, operator: Any) -> str:
        from ai_edge_litert.schema_py_generated import BuiltinOperator

        code = self._model.operatorCodes[operator.opcodeIndex]
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        names = {value: name for name, value in vars(BuiltinOperator).items()}
        return str(names.get(number, number))

    def _name(self, index: int) -> str:
        name: str = self._graph.tensors[index].name.decode("utf-8", "replace")
        return name

    def _signature(self, schema: Any) -> Any:
        signature = schema.SignatureDefT()
        signature.signatureKey = _SIGNATURE.encode()
        signature.subgraphIndex = 0
        for ends, indices in (("inputs", self._graph.inputs), ("outputs", self._graph.outputs)):
            entries = []
            for position, index in enumerate(indices):
                entry = schema.TensorMapT()
                entry.name = f"{ends[:-1]}_{position}".encode()
                entry.tensorIndex = int(index)
                entries.append(entry)
            setattr(signature, ends, entries)
        return signature

    def _packed(self) -> bytes:
        import flatbuffers

        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

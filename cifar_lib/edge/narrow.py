"""An ONNX model in fewer bytes: weights stored in 16 bits, or everything computed in 8."""

import tempfile
from pathlib import Path

import numpy as np

from cifar_lib.edge.graph import IMAGE, NORMALISATION

CALIBRATION_BATCH = 32


def half(model):
    """A copy that stores matrices and kernels as float16, as a run does, and computes in float32 as before."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    narrowed, casts = onnx.ModelProto(), []
    narrowed.CopyFrom(model)
    for tensor in narrowed.graph.initializer:
        if tensor.name.endswith(".weight"):
            name, values = tensor.name, numpy_helper.to_array(tensor)
            most = np.finfo(np.float16).max
            tensor.CopyFrom(numpy_helper.from_array(values.clip(-most, most).astype(np.float16), f"{name}.16"))
            casts.append(helper.make_node("Cast", [f"{name}.16"], [name], name, to=TensorProto.FLOAT))
    nodes = [*casts, *narrowed.graph.node]
    del narrowed.graph.node[:]
    narrowed.graph.node.extend(nodes)
    return narrowed


def int8(model, images: np.ndarray):
    """A copy that computes in 8 bits: activations unsigned, per tensor, in the ranges that `images` (N, 32, 32, 3)
    uint8 give; weights signed, per output channel. The normalisation stays float32, so that pixels are rounded once.

    Signed activations, ONNX Runtime's default, were 4 times as slow on an x86 CPU with VNNI, at the same accuracy.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        given, prepared, made = (Path(folder) / name for name in ("given.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(model, given)
        quant_pre_process(given, prepared, skip_optimization=True, skip_symbolic_shape=True)  # adds shapes
        quantization.quantize_static(
            prepared,
            made,
            _Reader(images),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            nodes_to_exclude=list(NORMALISATION),
        )
        return onnx.load(made)


class _Reader:
    """Feeds ONNX Runtime's calibration: `get_next` gives a batch, and None after the last."""

    def __init__(self, images: np.ndarray):
        starts = range(0, len(images), CALIBRATION_BATCH)
        self.batches = iter({IMAGE: images[at : at + CALIBRATION_BATCH]} for at in starts)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.batches, None)

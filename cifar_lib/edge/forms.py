"""The forms of one network that are compared: torch's, and what an export makes of it, each on one thread."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from cifar_lib.evidence.edge_file import EAGER, INT8

FILES = {"ONNX, float32": "model.onnx", "ONNX, float16 weights": "model-half.onnx", INT8: "model-int8.onnx"}
OPENVINO = {"OpenVINO, float32": "model.onnx", "OpenVINO, int8": "model-int8.onnx"}  # measured where it is installed
# In a process of its own: the seconds to the first answer, and the most memory that it took up to the last.
TORCH = (
    "import cifar_lib; net = cifar_lib.load(cifar_lib.runs.Run(cifar_lib.paths.Path({path!r}))); "
    "ask = lambda x: net.logits([(x[0], 0)])"
)
ONNX = (
    "import onnxruntime as ort; o = ort.SessionOptions(); o.intra_op_num_threads = 1; "
    "s = ort.InferenceSession({path!r}, o, providers=['CPUExecutionProvider']); "
    "ask = lambda x: s.run(None, dict(image=x))"
)
VINO = (
    "import openvino; o = dict(INFERENCE_PRECISION_HINT='f32', INFERENCE_NUM_THREADS=1); "
    "ask = openvino.Core().compile_model({path!r}, 'CPU', o)"
)
PROCESS = """
import time; start = time.perf_counter()
import json, numpy as np
{load}
image = np.zeros((1, 32, 32, 3), np.uint8)
ask(image); first = time.perf_counter() - start
for _ in range(20): ask(image)
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps(dict(start_s=first, peak_mb=int(peak.split()[1]) / 1000)))
"""


def session(path: Path, profile: str = ""):
    """An `onnxruntime.InferenceSession` on one thread; `profile`: where its profile goes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling, options.profile_file_prefix = bool(profile), profile
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def files() -> dict[str, str]:
    """Form -> the exported file that it runs: of ONNX Runtime, and of OpenVINO where that is installed."""
    return FILES | (OPENVINO if find_spec("openvino") else {})


def asker(form: str, path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Images (N, 32, 32, 3) uint8 to logits (N, 10), by the ONNX file, in the runtime of that form."""
    if form in OPENVINO:
        return _openvino(path)
    found = session(path)
    return lambda images: found.run(None, {"image": images})[0]


def _openvino(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import openvino

    # Where the CPU has bfloat16, OpenVINO may compute in it unless told not to.
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = openvino.Core().compile_model(str(path), "CPU", options)
    return lambda images: np.array(compiled(images)[0])


def logits(ask: Callable, images: np.ndarray, batch: int = 100) -> np.ndarray:
    """Logits (N, 10) of many images, some at a time."""
    return np.concatenate([ask(images[at : at + batch]) for at in range(0, len(images), batch)])


def footprint(form: str, path: Path) -> dict:
    """Seconds from the start of a fresh process to its first answer, and its peak memory in MB, on the CPU: of the
    exported file in the runtime of that form, or of the library with the weights of the run in the folder `path`."""
    load = (VINO if form in OPENVINO else TORCH if form == EAGER else ONNX).format(path=str(path))
    command = [sys.executable, "-c", PROCESS.format(load=load)]
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=hidden)
    return json.loads(done.stdout.splitlines()[-1])

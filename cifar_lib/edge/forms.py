"""The forms of one network that are compared: torch's, and what an export makes of it, each on one thread."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cifar_lib.evidence.edge_file import INT8

FILES = {"ONNX, float32": "model.onnx", "ONNX, float16 weights": "model-half.onnx", INT8: "model-int8.onnx"}
# In a process of its own: the seconds to the first answer, and the most memory that it took up to the last.
TORCH = (
    "import cifar_lib; net = cifar_lib.load(cifar_lib.runs.Run(cifar_lib.paths.Path({run!r}))); "
    "ask = lambda x: net.logits([(x[0], 0)])"
)
ONNX = (
    "import onnxruntime as ort; o = ort.SessionOptions(); o.intra_op_num_threads = 1; "
    "s = ort.InferenceSession({path!r}, o, providers=['CPUExecutionProvider']); "
    "ask = lambda x: s.run(None, dict(image=x))"
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


def asker(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Images (N, 32, 32, 3) uint8 to logits (N, 10), by the ONNX file."""
    found = session(path)
    return lambda images: found.run(None, {"image": images})[0]


def logits(ask: Callable, images: np.ndarray, batch: int = 100) -> np.ndarray:
    """Logits (N, 10) of many images, some at a time."""
    return np.concatenate([ask(images[at : at + batch]) for at in range(0, len(images), batch)])


def footprint(run: Path, path: Path | None = None) -> dict:
    """Seconds from the start of a fresh process to its first answer, and its peak memory in MB: of the library with
    the weights of the run in that folder, or of ONNX Runtime with the file."""
    load = ONNX.format(path=str(path)) if path else TORCH.format(run=str(run))
    command = [sys.executable, "-c", PROCESS.format(load=load)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])

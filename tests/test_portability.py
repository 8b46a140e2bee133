"""What only Unix has is not needed: the library is imported and used with those modules and names taken away."""

import os
import subprocess
import sys

from cifar_lib import paths

HIDDEN = """
import os, signal, sys
sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["termios"] = sys.modules["pwd"] = None
del signal.SIGHUP, signal.SIGKILL, os.killpg, os.setsid, os.O_DIRECTORY, os.pread, os.pwrite
opened, os.O_BINARY = os.open, 1 << 30
def open_file(path, flags, *mode, **more):
    if str(path).startswith(os.environ["CIFAR_RUNS"]) and not str(path).endswith(".lock"):
        assert flags & os.O_BINARY and not os.path.isdir(path), path
    return opened(path, flags & ~os.O_BINARY, *mode, **more)
os.open = open_file
import importlib, pkgutil
import cifar_lib
for module in pkgutil.walk_packages(cifar_lib.__path__, "cifar_lib."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from cifar_lib import runs
from cifar_lib.config import Config
from cifar_lib.data import load
from cifar_lib.training import finish, fit, prepare
config = Config(dataset="digits", num_channels=4, drop=0, max_epochs=1, train_size=200, device="cpu")
training = prepare(config, load(config), runs.start("elsewhere", config))
rows = list(fit(training))
run = finish(training)
assert rows[0]["memory_gb"] is None and run.complete and len(run.history) == 1
print("used")
"""


def test_library_trains_without_what_only_unix_has(tmp_path):
    environment = os.environ | {"CIFAR_RUNS": str(tmp_path), "PYTHONPATH": str(paths.ROOT)}
    done = subprocess.run([sys.executable, "-c", HIDDEN], env=environment, capture_output=True, text=True)
    assert done.stdout.strip().endswith("used"), done.stderr[-2000:]

"""A small library around one question: how good can a residual network under 5 million parameters get on CIFAR-10?

Importing it costs no torch: each module loads when it is first named, as in `cifar_lib.data.load(...)`.
"""

import importlib

__version__ = "0.1.0"
_HOME = {"Config": "config", "ConfigError": "config", "load": "classifier", "load_pretrained": "pretrained"}
_MODULES = """
    anatomy architecture_plot architecture_words averaging batches bench blueprint browser capture cells checkpoint
    claims classifier committed comparison config curve curve_plot data diagrams distributed download dropout
    environment errors evaluation events evidence evidence_plots figures files folding gears history jobs locks
    lookahead markup measures memory metrics mistakes model norm_measure numerics optimization palette parity paths
    pictures placement plots predictions pretrained profiling progress published report run_folder runs screening
    shifts sides site speed speed_plots steps stopping submission sweep train training trivial_augment unpickle work
""".split()


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"cifar_lib.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"cifar_lib.{_HOME[name]}"), name)
    raise AttributeError(f"module 'cifar_lib' has no attribute {name!r}")

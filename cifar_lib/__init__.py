"""A small library around one question: how good can a residual network under 5 million parameters get on CIFAR-10?

Importing it costs no torch: each name below loads its module when it is first used.
"""

import importlib

__version__ = "0.1.0"
_HOME = {"Config": "config", "ConfigError": "config", "load": "classifier"}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'cifar_lib' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cifar_lib.{_HOME[name]}"), name)

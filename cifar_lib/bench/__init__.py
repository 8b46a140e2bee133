"""Training loops compared: how fast on one machine, and how accurate beside the loop that everybody writes.

The command line alone imports it. Begin with `benchmark.run`, or `parity.pair`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(__name__, {"benchmark": "BenchError profile run"})

"""Queues of runs: read from a text file, run one at a time on each device. No torch.

The command line imports it, and the studies, which compare what was planned. Begin with `jobs.read`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(__name__, {"workers": "Result devices run", "jobs": "Job SweepError read"})

"""Where and how precisely it is computed: devices, processes, memory.

Whatever touches a tensor may import it. Begin with `placement`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(__name__, {"placement": "PlacementError", "distributed": "GroupError"})

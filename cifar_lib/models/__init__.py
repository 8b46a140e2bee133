"""The networks, and their account: parameters, multiply-adds, the graph that is drawn.

Training and inference import it; it knows of no images and no optimizer. Begin with `resnet.ResNet`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "resnet": "BudgetError ResNet SqueezeExcitation build build_on_meta macs parameter_table parameters",
        "folding": "fold",
    },
)

"""A small library around one question: how good can a residual network under 5 million parameters get on CIFAR-10?

Its packages, each with what lives there in its first lines: data, models, optim, training, inference, edge, runs,
evidence, figures, site, bench, sweep, exchange, device, system. Importing this one costs no torch: each loads when it
is first named, as in `cifar_lib.data.load(...)`.
"""

from cifar_lib.faces import attach

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "config": "Config ConfigError",
        "models": "ResNet",
        "optim": "Lookahead",
        "inference": "load load_pretrained",
    },
)

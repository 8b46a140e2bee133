"""What moves the weights: SGD, Lookahead around it, the average beside it, the learning rate of every step.

The training imports it. Begin with `lookahead.Lookahead`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "lookahead": "Lookahead",
        "ema": "Average",
        "schedules": "average_of lr_schedule optimizer_of",
    },
)

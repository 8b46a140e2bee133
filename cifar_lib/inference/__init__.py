"""A trained network put to use: classify a picture, predict a data set, look inside, corrupt the images.

Notebooks and the command line import it, and the training for its evaluations. Begin with `classifier.Classifier`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "classifier": "Classifier Prediction load",
        "pretrained": "NoSuchModel load_pretrained",
    },
)

"""Strangers' files: an unlabelled pickle or a picture in, as data and never as code; a submission's CSV out. No torch.

The data sets, inference and the command line import it. Begin with `unpickle.read`, `pictures.decode` and
`submission.write`.
"""

from cifar_lib.faces import attach

SHOWN = {"unpickle": "read", "labelling": "csv_of pickle_of", "submission": "write", "pictures": "decode"}
__getattr__, __dir__, __all__ = attach(__name__, SHOWN)

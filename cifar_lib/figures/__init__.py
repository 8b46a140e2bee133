"""Arrays and tables in, figures out: never a model, never a path but the one to write to. No torch.

Notebooks and the makers of pages import it. Begin with `picture.frame`, which all of them share, then `plots`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(__name__, {"picture": "Picture save"})

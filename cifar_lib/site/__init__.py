"""Notebooks to pages: run them, clean them, and write a folder that opens from the disk. No torch.

The command line alone imports it. Begin with `pages.publish`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(__name__, {"pages": "publish settings short"})

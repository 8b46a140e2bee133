"""Disks, processes, terminals: what a training must have right about the machine it runs on. No torch.

Everybody may import it; it imports errors and paths alone. Begin with `files.write_atomically`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "files": "NoCheckout OutputError make_folder need_checkout write_atomically",
        "locks": "Locked",
        "signals": "Stopped",
        "progress": "duration",
    },
)

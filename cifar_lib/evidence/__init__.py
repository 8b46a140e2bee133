"""What the runs say: accuracies and their intervals, studies of paired runs, claims, the curve of sizes. No torch.

Figures, notebooks and the README's tables are made from it. Begin with `studies.Study`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {"studies": "BASELINES SHIFTS Study names shifted study", "comparison": "EvidenceError interval"},
)

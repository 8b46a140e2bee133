"""Images on their way to the network: data sets, their splits, augmentation, batches on the device.

Training, inference and the benchmark import it. Begin with `datasets.load`, then `batches.Batches`.
"""

from cifar_lib.faces import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "datasets": "DataError Dataset Images Split cifar10_root load",
        "unlabelled": "foreign_warning unlabelled_pickle write_test_pickle",
        "batches": "Batches WorkerBatches normalise",
    },
)

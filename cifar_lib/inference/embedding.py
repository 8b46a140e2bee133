"""Where a network places test images: what it knows of each before its last layer, in two dimensions."""

import numpy as np
import torch

from cifar_lib import runs
from cifar_lib.data import Dataset, Images
from cifar_lib.inference.classifier import Classifier, load

MOST = 500  # test images, the first ones: more would make a notebook too large
COMPONENTS = 50  # principal ones, from which t-SNE starts


def measure(run: runs.Run, dataset: Dataset) -> None:
    """Place the first test images by a run's weights, and write its embedding.json: x and y of each.

    Pooled features, their principal components, t-SNE (van der Maaten and Hinton 2008) as scikit-learn has it. Raises
    `RunError` where the training has not ended or the weights are not here.
    """
    if not run.complete:
        raise runs.RunError(f"run {run.name}: its training has not ended; go on with it, then measure")
    test = dataset.test[:MOST]
    x, y = placed(features(load(run), Images(test.images, test.labels))).round(2).T.tolist()
    run.record("embedding.json", {"x": x, "y": y})


def features(classifier: Classifier, images: Images) -> np.ndarray:
    """(N, features) float32: what the pool hands to the last layer, of each of the images."""
    found = []
    hook = classifier.network.linear.register_forward_pre_hook(lambda _, given: found.append(given[0].float().cpu()))
    try:
        classifier.logits(images)
    finally:
        hook.remove()
    return torch.cat(found).numpy()


def placed(features: np.ndarray) -> np.ndarray:
    """(N, 2): near one another what is alike. The same each time on one machine."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    few = PCA(min(COMPONENTS, *features.shape), random_state=0).fit_transform(features)
    return TSNE(perplexity=min(30, (len(few) - 1) / 3), random_state=0).fit_transform(few)

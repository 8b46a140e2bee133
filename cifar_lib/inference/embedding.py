"""Where a network places test images: what it knows of each before its last layer, in two dimensions."""

import numpy as np
import torch

from cifar_lib.data import Images, Split
from cifar_lib.inference.classifier import Classifier

MOST = 500  # test images, the first ones: more would make a notebook too large
COMPONENTS = 50  # principal ones, from which t-SNE starts


def features(classifier: Classifier, images: Split) -> np.ndarray:
    """(N, features) float32: what the pool hands to the last layer, of each of the images."""
    found = []
    hook = classifier.network.linear.register_forward_pre_hook(lambda _, given: found.append(given[0].float().cpu()))
    try:
        classifier.logits(Images(images.images, images.labels))
    finally:
        hook.remove()
    return torch.cat(found).numpy()


def placed(features: np.ndarray) -> np.ndarray:
    """(N, 2): near one another what is alike. The same each time on one machine."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    few = PCA(min(COMPONENTS, *features.shape), random_state=0).fit_transform(features)
    return TSNE(perplexity=min(30, (len(few) - 1) / 3), random_state=0).fit_transform(few)

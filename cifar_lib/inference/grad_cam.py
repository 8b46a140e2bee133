"""Which places of an image speak for a class: Grad-CAM (Selvaraju et al. 2016, arXiv 1610.02391)."""

import numpy as np
import torch

from cifar_lib.models import resnet


@torch.enable_grad()
def heat_map(network: resnet.ResNet, x: torch.Tensor, label: int) -> np.ndarray:
    """How much each place of the last stage's maps raises the logit of class `label` for one image x (1, 3, H, W):
    (h, w) float32, from 0, at the resolution of these maps.

    A map's weight is the mean of the logit's derivative over the map's places; the heat is the weighted sum of the
    maps, with 0 for what is negative. Where the network ends in a mean over all places and a linear layer, the weighted
    sum before that, over all places, is the logit less its bias. `network` is left in evaluation mode, without hooks or
    gradients. Raises `IndexError` for a class that it does not have.
    """
    maps, logits = _last_maps(network, x)
    (slopes,) = torch.autograd.grad(logits[0, label], maps)
    weights = slopes.mean((2, 3), keepdim=True)
    return (weights * maps.detach()).sum(1).relu()[0].cpu().numpy()


def _last_maps(network: resnet.ResNet, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The last stage's maps (1, C, h, w), where the graph begins, and the logits (1, classes) computed from them."""
    leaf = []

    def begin(_, given: tuple, made: torch.Tensor) -> torch.Tensor:
        leaf.append(made.detach().requires_grad_())
        return leaf[0]

    hook = network.stages[-1].register_forward_hook(begin)
    try:
        logits = network.eval()(x)
    finally:
        hook.remove()
    return leaf[0], logits

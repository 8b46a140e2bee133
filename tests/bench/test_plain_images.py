"""The plain loop's images: what torchvision has none for is as the papers have it."""

import numpy as np
import pytest
import torch

from cifar_lib.bench import plain_images
from cifar_lib.config import Config
from cifar_lib.data import Split, batches


@pytest.mark.parametrize("padding", ["black", "mean", "reflect"])
def test_it_crops_and_mirrors_what_it_trains_on_alone(padding):
    config = Config(crop_padding=padding)
    image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    split = Split(image, np.array([3]))
    torch.manual_seed(0)
    views = [plain_images.transformed(split, config)[0][0] for _ in range(20)]
    assert len({view.numpy().tobytes() for view in views}) > 10
    assert torch.equal(plain_images.as_they_are(split, config)[0][0], plain_images.as_they_are(split, config)[0][0])


def test_its_cutout_takes_as_much_away_as_ours():
    """Of many white images the share that stays, by either; a square of 8 at the border is cut less than whole."""
    torch.manual_seed(0)
    plain = np.mean([plain_images.Cutout(8)(torch.ones(3, 32, 32)).mean() for _ in range(4000)])
    draws = torch.randint(32, (2, 4000)) - 4
    ours = batches.cutout(torch.ones(4000, 3, 32, 32), *draws, 8).mean().item()
    assert plain == pytest.approx(ours, abs=2e-3) and 1 - 64 / 1024 < plain < 1 - 48 / 1024
    one = plain_images.Cutout(8)(torch.ones(3, 32, 32))
    assert (one == one[:1]).all() and set(one.unique().tolist()) == {0, 1}

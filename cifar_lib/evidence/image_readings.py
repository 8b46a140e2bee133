"""What each figure of one image's way through a network shows, in one sentence that is computed from what was drawn. No
torch."""

import numpy as np

from cifar_lib.evidence import metrics
from cifar_lib.evidence.numerals import signed

MORE = 1.25  # times as far from one half: from there on gates count as spread


def architecture(parts: list) -> str:
    """How many blocks and parameters there are, and which part has most of them; `parts` as of `layer_graph`."""
    total, most = sum(part.parameters for part in parts), max(parts, key=lambda part: part.parameters)
    blocks = sum(len(part.blocks) for part in parts if part.name.startswith("stage"))
    return (
        f"{blocks} residual blocks and {total:,} parameters, of which {most.parameters / total:.0%} lie in {most.name}."
    )


def doubt(probabilities: np.ndarray | None, example: int, doubtful: int) -> str:
    """How far the two most probable classes lie apart for both images, and how rare the smaller margin is; stored
    probabilities (N, C) of the test set, or None."""
    if probabilities is None or max(example, doubtful) >= len(probabilities):
        return "This network has stored no predictions of these images."
    margins = metrics.margins(probabilities)
    closer = int((margins < margins[doubtful]).sum())
    rank = f"{closer:,} of all {len(margins):,} lie closer" if closer else f"the least of all {len(margins):,}"
    return (
        f"By the stored predictions, the two most probable classes of test image {doubtful} lie "
        f"{100 * margins[doubtful]:.1f} points apart, {rank}; those of test image {example} lie "
        f"{100 * margins[example]:.1f} points apart."
    )


def normalised(channels: np.ndarray, names) -> str:
    """Where each of the channels (3, H, W) lies on average, and how much of them is below zero."""
    means = ", ".join(f"{signed(mean)} ({name})" for name, mean in zip(names, channels.mean((1, 2)), strict=True))
    return f"The means over this image are {means}; {(channels < 0).mean():.0%} of its values lie below zero."


def maps(every: np.ndarray, shown: np.ndarray) -> str:
    """Which share of all activation the maps `shown` hold, of `every` (M, H, W), and how much of it all is zero."""
    sizes = np.abs(every).mean((1, 2))
    share, even = sizes[shown].sum() / max(sizes.sum(), np.finfo(float).tiny), len(shown) / len(every)
    zero = (every == 0).mean()
    return (
        f"These {len(shown)} of {len(every)} maps hold {share:.0%} of all activation, where an even share would be "
        f"{even:.0%}; {zero:.0%} of all values are zero."
    )


def gates(networks: dict) -> str:
    """How far gates lie from one half, and what training did to that; a network or two, the fresh one first: name to
    block to (channels,)."""
    every = {name: np.concatenate(list(blocks.values())) for name, blocks in networks.items() if blocks}
    if not every:
        return "This network has no gates."
    far = {name: np.abs(gates - 0.5).mean() for name, gates in every.items()}
    said = [f"{far[name]:.3f} in the {name} network (all: {g.min():.2f} to {g.max():.2f})" for name, g in every.items()]
    sentence = f"The mean distance of a gate from one half is {' and '.join(said)}"
    if len(far) == 1:
        return f"{sentence}."
    before, after = far.values()
    if max(before, after) < MORE * min(before, after):
        return f"{sentence}: training has hardly changed how far they spread."
    return f"{sentence}: training has {'spread the gates' if after > before else 'drawn the gates together'}."


def answers(probabilities: dict, truths: list[int], names) -> str:
    """What is said of each image, what comes next, and whether it is right."""
    sentences = []
    for (image, values), truth in zip(probabilities.items(), truths, strict=True):
        first, second = (-values).argsort()[:2]
        verdict = "right" if first == truth else f"wrong; the true class is {names[truth]}"
        if truth not in (first, second):
            verdict += f" with {values[truth]:.2%}"
        most = f"{names[first]} with {values[first]:.2%}, ahead of {names[second]} with {values[second]:.2%}"
        sentences.append(f"Of {image} it says {most}, which is {verdict}.")
    return " ".join(sentences)


def heat(heats: dict) -> str:
    """For each image how concentrated the heat of its two classes is, and how much of it they share; image name to
    class name to (h, w) from 0."""
    return " ".join(_heat(image, classes) for image, classes in heats.items())


def _heat(image: str, classes: dict[str, np.ndarray]) -> str:
    (first, own), (second, other) = classes.items()
    if not (own.any() and other.any()):
        return f"For {image}, no place raises the logit of {second if own.any() else first}."
    one, two = own / own.sum(), other / other.sum()
    half = int((np.sort(one, axis=None)[::-1].cumsum() < 0.5).sum()) + 1
    both = np.minimum(one, two).sum()
    return (
        f"For {image}, half of the heat for {first} lies in {half} of {own.size} places, and the heat for {second} "
        f"overlaps it by {both:.0%}."
    )

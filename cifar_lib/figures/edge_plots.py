"""A measurement on the way to a device as figures: `evidence.edge_file.Edge` in, a `Picture` out."""

import numpy as np

from cifar_lib.figures.palette import BLUE, ORANGE
from cifar_lib.figures.picture import Picture, describe, frame, styled


@styled
def margins(edge) -> Picture:
    """How sure the network was of the images whose answer int8 changes: a histogram of the margin, 0 to 1."""
    note = "Margin: the probability of the first answer less that of the second, before the change."
    figure, axes = frame("Images whose answer int8 changes", edge.source, note, (7, 3.2))
    margin, step = edge.changed.margin, 0.02
    top = max(0.2, step * np.ceil(margin.max() / step)) if len(margin) else 0.2
    axes.hist(margin, np.arange(0, top + step / 2, step), color=BLUE)
    axes.set(xlabel="margin in float32", ylabel="images")
    most = f"{margin.max():.3f}" if len(margin) else "none"
    return describe(figure, f"{len(margin)} answers change; the largest margin among them is {most}.")


@styled
def layers(edge, most: int = 10) -> Picture:
    """Where the milliseconds of the int8 form go: the longest parts and operators."""
    spent = edge.layers.head(most)[::-1]
    figure, axes = frame("Where int8's time goes", edge.source, "From ONNX Runtime's own profile.", (7, 3.6))
    axes.barh([f"{part}, {operator}" for part, operator in spent.index], spent, color=ORANGE)
    axes.set(xlabel="milliseconds per image")
    axes.grid(axis="y", visible=False)
    first = edge.layers.index[0]
    share = edge.layers.iloc[0] / edge.layers.sum()
    return describe(figure, f"The longest is {first[1]} in {first[0]}, {share:.0%} of the time.")

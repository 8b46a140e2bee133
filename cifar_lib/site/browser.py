"""Mistakes to look through in JupyterLab, by class and confidence."""

import html

import numpy as np

from cifar_lib.figures.picture import Picture
from cifar_lib.runs.predictions import Mistakes
from cifar_lib.site.sprite_sheet import data_uri

MOST = 60  # images shown at once
VIEW = "application/vnd.jupyter.widget-view+json"


class Browser:
    """A widget over `mistakes`, the surest first, with `names` of the classes; where none runs, `picture` is shown."""

    def __init__(self, mistakes: Mistakes, names, picture: Picture):
        self.mistakes, self.names, self.picture = mistakes, names, picture

    def __repr__(self) -> str:
        return "<Browser>"

    def _repr_png_(self):
        return self.picture._repr_png_()

    def _repr_mimebundle_(self, **_) -> dict:
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget().model_id}  # of ipywidgets 7 and 8
        return {VIEW: view} | self.picture._repr_mimebundle_() | {"text/plain": repr(self)}

    def shown(self, true: int | None, predicted: int | None, low: float, high: float) -> list[int]:
        """Which of the mistakes have those classes (None: any) and a confidence of `low` to `high` percent."""
        one = self.mistakes
        fits = (low <= one.percent) & (one.percent <= high)
        fits &= (true is None) | (one.labels == true)
        fits &= (predicted is None) | (one.predicted == predicted)
        return np.flatnonzero(fits).tolist()

    def widget(self):
        """Two lists of classes, a range of confidence, and the images that fit, page by page."""
        import ipywidgets as w

        classes = [("any", None), *((name, i) for i, name in enumerate(self.names))]
        wide = w.Layout(width="24rem")
        true, predicted = (w.Dropdown(options=classes, description=text) for text in ("true", "predicted"))
        sure = w.FloatRangeSlider(value=(0, 100), min=0, max=100, step=0.5, description="confidence", layout=wide)
        number, grid = w.BoundedIntText(value=1, min=1, max=1, description="page"), w.HTML()

        def turn(_=None) -> None:
            chosen = self.shown(true.value, predicted.value, *sure.value)
            number.max = max(1, -(-len(chosen) // MOST))
            grid.value = self.page(chosen, number.value)

        def choose(_=None) -> None:
            number.value = 1
            turn()

        for one in (true, predicted, sure):
            one.observe(choose, "value")
        number.observe(turn, "value")
        turn()
        return w.VBox([w.HBox([true, predicted, sure, number], layout=w.Layout(flex_flow="row wrap")), grid])

    def page(self, chosen: list[int], number: int = 1) -> str:
        """HTML: how many fit, and the page of that number, from 1, of them as pictures with their classes."""
        first = MOST * (number - 1)
        shown = chosen[first : first + MOST]
        part = f", {first + 1} to {first + len(shown)} shown" if len(chosen) > MOST else ""
        head = f"<p>{len(chosen):,} of {len(self.mistakes.index):,} mistakes{part}: true class → predicted class</p>"
        tiles = "".join(self._tile(i) for i in shown)
        return f'{head}<div style="display:flex;flex-wrap:wrap;gap:12px">{tiles}</div>'

    def _tile(self, i: int) -> str:
        one = self.mistakes
        words = f"{self.names[one.labels[i]]} → {self.names[one.predicted[i]]}"
        look = "width:80px;height:80px;margin:0;image-rendering:pixelated"
        image = f'<img src="{data_uri(one.images[i])}" alt="test image {one.index[i]}" style="{look}">'
        text = f'<div style="font-size:11px;line-height:1.3;width:96px">{html.escape(words)}<br>{one.percent[i]}%</div>'
        return f"<div>{image}{text}</div>"

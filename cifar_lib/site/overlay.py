"""What lies over or below the figures of a page: links on the cells of a confusion matrix, the values along its curves,
and the matrices of all epochs.

The places come from a notebook, which may be a stranger's: they are numbers from 0 to 1, or refused.
"""

import json
from collections.abc import Collection, Sequence

import numpy as np
from bs4 import BeautifulSoup

from cifar_lib.evidence import metrics, validated
from cifar_lib.runs import Run
from cifar_lib.runs.predictions import Mistakes
from cifar_lib.site.rendering import render
from cifar_lib.site.sanitize import SiteError

SHAPES = ("svg", "narrow")
MOST = 60  # epochs to go through
READ = "Point at a value to read it, or choose the figure with Tab and a value with ← and →."
OPEN = " A click on a ring, or Enter, opens its image, if it is among those shown."


def of(run: Run, mistakes: Mistakes) -> dict:
    """What `lay` takes of a run, and of the `mistakes` that its site shows."""
    return {"linked": cells(run, mistakes), "epochs": epochs(run), "held": {*mistakes.index.tolist()}}


def epochs(run: Run) -> dict | None:
    """The confusion matrices on validation after at most `MOST` epochs, the last one among them: `names` of classes,
    `epochs`, and `counts`, 100 each. Of a run that kept none, those that notebook 04 shows in their place, or None."""
    shown = validated.like(run)
    if not shown:
        return None
    numbers, counts = shown.confusions
    some = np.unique(np.linspace(0, len(numbers) - 1, min(MOST, len(numbers))).round().astype(int))
    flat = counts[some].reshape(len(some), -1)
    return {"names": list(run.config.classes), "epochs": numbers[some].tolist(), "counts": flat.tolist()}


def cells(run: Run, mistakes: Mistakes) -> list[dict]:
    """The cells of the confusion matrix that count mistakes, row by row: `true` and `predicted` class, both in `words`,
    how many images the cell counts, and how many of them are `held` among the `mistakes` to look at."""
    predictions, names = run.predictions, run.config.classes
    counts = metrics.confusion(predictions.labels, predictions.predicted)
    np.fill_diagonal(counts, 0)
    pairs = list(zip(mistakes.labels, mistakes.predicted, strict=True))
    return [
        {"true": int(true), "predicted": int(guess), "words": f"{names[true]} taken for {names[guess]}"}
        | {"count": int(counts[true, guess]), "held": pairs.count((true, guess))}
        for true, guess in np.argwhere(counts)
    ]


def lay(
    name: str,
    soup: BeautifulSoup,
    figures: list[dict],
    linked: Sequence[dict] = (),
    epochs: dict | None = None,
    held: Collection[int] = (),
) -> None:
    """Lay over each of the `figures` of the page `name`, which is `soup`, what it has places for, and below
    it what it asks for; `linked`: `cells` of the run, `epochs` of it, and the test images `held` among
    its mistakes. Raises `SiteError` for places that are none."""
    for figure in figures:
        link = soup.select_one(f'figure > a[href="{figure["svg"]["file"]}"]')
        if figure["by_epoch"] and epochs:
            made = render("epochs.html.j2", data=json.dumps(epochs, separators=(",", ":")))
            link.find_parent("figure").insert_after(BeautifulSoup(made, "html.parser"))
        if figure["points"]:
            leads = _leads(figure["points"], held)
            frame = _frame(soup, link, READ + OPEN * bool(leads), scripted=True)
            frame["data-points"] = _points(name, figure["points"], leads)
        elif figure["cells"] and linked:
            link.find_next("figcaption")["id"] = after = f"{name}-matrix"
            made = render("matrix.html.j2", boxes=_numbers(name, figure["cells"], (4,)), cells=linked, after=after)
            _frame(soup, link, _lead(linked)).append(BeautifulSoup(made, "html.parser"))


def _frame(soup: BeautifulSoup, link, words: str, scripted: bool = False):
    """A new element around a figure's picture, and `words` about it in the caption, `scripted`: shown by the script."""
    about = soup.new_tag("span", attrs={"class": "scripted hint", "hidden": ""} if scripted else {"class": "hint"})
    about.string = words
    link.find_next("figcaption").extend([" ", about])
    return link.wrap(soup.new_tag("div", attrs={"class": "touch"}))


def _lead(linked: Sequence[dict]) -> str:
    counted, held = (sum(cell[name] for cell in linked) for name in ("count", "held"))
    some = "" if held == counted else f" Of the {counted:,} mistakes, the {held:,} surest are here."
    return f"The numbers off the diagonal lead to the images that they count.{some}"


def _leads(places: dict, held: Collection[int]) -> list[str]:
    """For each place the address of the image that it is of, where the site has that; [] where it has none of them."""
    try:
        leads = [f"mistakes.html#image-{int(one)}" if one in held else "" for one in places["images"]]
    except (KeyError, TypeError):
        return []  # as of a stranger's notebook
    return leads if any(leads) else []


def _points(name: str, places: dict, leads: list[str]) -> str:
    try:
        words = list(map(str, places["words"]))
    except (KeyError, TypeError):
        words = []  # `_numbers` refuses places that have none
    said = {"words": words, "leads": leads}
    return json.dumps(_numbers(name, places, (len(words), 2)) | said, separators=(",", ":"))


def _numbers(name: str, places: dict, shape: tuple[int, ...]) -> dict[str, list]:
    """The places in each shape of a figure, an array of that `shape`."""
    try:
        found = {one: np.array(places[one], float) for one in SHAPES}
    except (KeyError, TypeError, ValueError):
        found = {}
    if not found or not all(one.shape == shape and ((one >= 0) & (one <= 1)).all() for one in found.values()):
        raise SiteError(f"{name}: a figure's places are not numbers from 0 to 1 in each of its shapes; run it again")
    return {one: values.tolist() for one, values in found.items()}

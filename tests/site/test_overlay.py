"""What lies over a figure: each cell of a matrix leads to the images that it counts, and no place is a stranger's."""

import json

import nbformat
import numpy as np
import pytest
import sites
from nbformat.v4 import new_output

from cifar_lib import paths, site
from cifar_lib.evidence import metrics
from cifar_lib.figures import plots
from cifar_lib.inference import mistakes
from cifar_lib.notebook import MIME
from cifar_lib.runs import Run
from cifar_lib.site import overlay
from cifar_lib.site.sanitize import SiteError


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    return sites.finished("touched")


def bundle(run) -> dict:
    matrix = metrics.confusion(run.predictions.labels, run.predictions.predicted)
    return plots.confusion(matrix, run.config.classes)._repr_mimebundle_()[MIME]


def publish(run, drawn: dict, kept: int = 3):
    """The first page of a site of `run`, with `kept` of its 3 mistakes, that shows a figure as `drawn`."""
    book = sites.notebook(1)
    book.cells[3].outputs = [new_output("display_data", {MIME: drawn})]
    nbformat.write(book, run.folder / "01_first.ipynb")
    return sites.page(site.publish(run, [run.folder / "01_first.ipynb"], sites.mistakes(kept)).parent, "01_first")


def test_cells_count_every_mistake_once():
    run = Run(paths.REFERENCE)
    said = run.predictions
    wrong = mistakes.most_confident(said, np.zeros((10_000, 32, 32, 3), np.uint8), 10_000)
    cells = overlay.cells(run, wrong)
    assert sum(cell["count"] for cell in cells) == (~said.right).sum()
    assert all(cell["count"] == cell["held"] > 0 and cell["true"] != cell["predicted"] for cell in cells)
    some = overlay.cells(run, run.mistakes)
    assert [cell["count"] for cell in some] == [cell["count"] for cell in cells]
    assert sum(cell["held"] for cell in some) == len(run.mistakes.index)


def test_a_cell_that_counts_mistakes_is_a_link_to_them(run):
    page = publish(run, bundle(run))
    links = page.select(".matrix a:not(.skip)")
    assert [link["href"] for link in links] == [f"mistakes.html#true={i}&predicted={i + 1}" for i in range(3)]
    assert [link.get_text() for link in links] == [f"{i} taken for {i + 1}: 1 image" for i in range(3)]
    assert [link["style"] for link in links] == [f"grid-area:{i + 1}/{i + 2}" for i in range(3)]
    assert page.figcaption.get_text().endswith("The numbers off the diagonal lead to the images that they count.")
    assert page.find(id=page.select_one(".matrix .skip")["href"][1:]) is page.figcaption


def test_where_few_images_are_at_hand_it_says_how_many(run):
    page = publish(run, bundle(run), kept=1)
    assert [link["href"] for link in page.select(".matrix a:not(.skip)")] == ["mistakes.html#true=0&predicted=1"]
    assert page.figcaption.get_text().endswith("Of the 3 mistakes, the 1 surest are here.")


def test_values_of_a_curve_wait_for_the_script(run):
    page = publish(run, sites.drawn()._repr_mimebundle_()[MIME])
    assert "training, epoch 1: 2.000" in page.select_one(".touch")["data-points"] and page.picture.find_parent("a")
    assert page.select_one("figcaption .scripted").has_attr("hidden")


@pytest.mark.parametrize("places", [{}, {"svg": [0, 0, 1, 1]}, [1], 3, {"svg": ["a"] * 4, "narrow": [0, 0, 1, 1]}])
@pytest.mark.parametrize("kind", ["cells", "points"])
def test_places_that_are_none_are_refused(run, kind, places):
    drawn = bundle(run) | {kind: places or {"svg": [0, 0, 9, 9], "narrow": [0, 0, 1, 1], "words": ["a"]}}
    with pytest.raises(SiteError, match=r"^01_first: a figure's places are not numbers from 0 to 1"):
        publish(run, drawn)


@pytest.mark.parametrize(
    ("images", "leads"),
    [([2, 9], ["mistakes.html#image-2", ""]), ([9, 9], []), ([None, 1], ["", "mistakes.html#image-1"]), ([], [])]
    + [([[], {}], []), (7, []), (["<img>", "2"], [])],
)
def test_a_place_leads_to_its_image_where_the_site_has_it(run, images, leads):
    """Its three mistakes are the test images 0 to 2; what a stranger's notebook has instead leads nowhere."""
    drawn = {shape: [[0.5, 0.5]] * 2 for shape in overlay.SHAPES} | {"words": ["a", "b"], "images": images}
    page = publish(run, bundle(run) | {"points": drawn})
    assert json.loads(page.select_one(".touch")["data-points"])["leads"] == leads
    assert ("opens its image" in page.figcaption.get_text()) == bool(leads)


def test_epochs_are_thinned_out_and_end_with_the_last(run):
    confusions = [{"epoch": epoch, "images": np.full((10, 10), epoch).tolist()} for epoch in range(1, 301)]
    assert overlay.epochs(run) is None
    run.record_history([], confusions)
    (run.folder / "SHA256SUMS").unlink()
    found = overlay.epochs(run)
    assert len(found["epochs"]) == overlay.MOST and found["epochs"][0] == 1 and found["epochs"][-1] == 300
    assert [set(counts) for counts in found["counts"]] == [{epoch} for epoch in found["epochs"]]


def test_what_a_stranger_says_of_a_point_is_text(run):
    hostile = {shape: [[0.5, 0.5]] for shape in overlay.SHAPES} | {"words": ["\"'><img src=x onerror=alert(1)>"]}
    page = publish(run, bundle(run) | {"points": hostile})
    assert "onerror" in page.select_one(".touch")["data-points"] and not page.select("img[onerror]")

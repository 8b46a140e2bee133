"""What a reader can touch, in a real browser: cells of a matrix that lead to their images, images that open and are
explained, values along a curve, rings on a map, epochs to go through; by mouse and by keyboard. Needs a Chromium;
elsewhere these tests skip, but not in CI."""

import nbformat
import numpy as np
import pytest
import sites
from browsing import NARROW, WIDE, barriers, complete
from nbformat.v4 import new_output

from cifar_lib import paths, site
from cifar_lib.evidence import metrics
from cifar_lib.figures import embedding_plot, epoch_plots, plots
from cifar_lib.inference import mistakes
from cifar_lib.runs import Run, history
from cifar_lib.runs.run import CONFUSIONS

STEP, CAT, DOG = 60, 3, 5
CONFUSED = [{"epoch": 1 + i, "images": np.diag([i] * 10) + np.roll(np.diag([69 - i] * 10), 1, 1)} for i in range(70)]
SAID = Run(paths.REFERENCE).predictions
MATRIX = metrics.confusion(SAID.labels, SAID.predicted)
NAMES = Run(paths.REFERENCE).config.classes
TILES = ".wrong li:visible"


@pytest.fixture(scope="module")
def wrong():
    """Every mistake of runs/reference, with noise for pixels."""
    images = np.random.default_rng(0).integers(0, 256, (10_000, 32, 32, 3), np.uint8)
    return mistakes.most_confident(SAID, images, len(images))


@pytest.fixture(scope="module")
def folder(tmp_path_factory, wrong):
    """A site of runs/reference: one page with its curves and its matrix, another with its map, drawn now; noise for the
    training images nearest to a mistake."""
    folder, run = tmp_path_factory.mktemp("touched"), Run(paths.REFERENCE)
    names, found = run.config.classes, run.explained
    shown = {"01_first": [plots.loss(run.history), plots.confusion(MATRIX, names)]}
    shown["02_second"] = [embedding_plot.embedding(found.places, SAID.labels, SAID.predicted, names)]
    near = np.random.default_rng(1).integers(0, 256, (*found.nearest.shape, 32, 32, 3), np.uint8)
    books = [write(folder, name, figures) for name, figures in shown.items()]
    return site.publish(run, books, wrong, to=folder / "site", nearest=near).parent


def write(folder, name: str, figures: list):
    """A notebook that shows `figures`."""
    book = sites.notebook(int(name[:2]))
    book.cells[3].outputs = [new_output("display_data", figure._repr_mimebundle_()) for figure in figures]
    nbformat.write(book, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


@pytest.fixture(scope="module")
def validated(tmp_path_factory):
    """A site of a run whose confusion matrices of 70 epochs, more than a page shows, were kept."""
    folder = tmp_path_factory.mktemp("validated")
    run = sites.finished(f"validated{folder.name[-1]}")
    run.record_table(CONFUSIONS, history.confusion_rows(CONFUSED))
    (run.folder / "SHA256SUMS").unlink()
    figure = epoch_plots.class_accuracy(*run.confusions, run.config.classes)
    return site.publish(run, [write(folder, "01_first", [figure])], sites.mistakes(3), to=folder / "site").parent


def cell(page, true: str, predicted: str):
    return page.locator(".matrix a", has_text=f"{true} taken for {predicted}:")


def dialog_of(page, i: int):
    """The dialog, opened with Enter on the `i`th tile that is shown."""
    page.locator(f"{TILES} button").nth(i).focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog")
    dialog.wait_for(state="visible")
    return dialog


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (NARROW, "dark")])
def test_pages_to_touch_are_whole_and_for_all(visit, folder, width, theme):
    page = visit(folder, "01_first", width, theme)
    complete(page)
    assert barriers(page) == []
    page = visit(folder, "02_second", width, theme)
    complete(page)
    assert barriers(page) == []
    page = visit(folder, "mistakes", width, theme)
    dialog_of(page, 0)
    complete(page)
    assert barriers(page) == []
    box = page.locator("dialog").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["height"] <= 800


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_each_mistaken_cell_is_a_link_in_its_place(visit, folder, width):
    """As many as there are counts off the diagonal, 24 pixels wide at least, in the row and column of their classes."""
    page = visit(folder, "01_first", width)
    links = page.evaluate(LINKS)
    counts = {tuple(map(int, where)): int(count) for *where, count, _ in links}
    wrong = MATRIX * (1 - np.eye(10, dtype=int))
    assert counts == {(i, j): wrong[i, j] for i, j in np.argwhere(wrong)}
    boxes = {tuple(map(int, where)): box for *where, _, box in links}
    area = page.locator(".matrix").bounding_box()
    for (true, predicted), (x, y, side, height) in boxes.items():
        assert side >= 24 and height >= 24
        middle = (x + side / 2 - area["x"]) / area["width"], (y + height / 2 - area["y"]) / area["height"]
        assert middle == pytest.approx(((predicted + 0.5) / 10, (true + 0.5) / 10), abs=0.002)


LINKS = """[...document.querySelectorAll('.matrix a:not(.skip)')].map(a => {
    const at = new URLSearchParams(new URL(a.href).hash.slice(1)), box = a.getBoundingClientRect();
    return [at.get('true'), at.get('predicted'), a.innerText.match(/(\\d+) image/)[1],
        [box.x + scrollX, box.y + scrollY, box.width, box.height]]; })"""


@pytest.mark.parametrize(("true", "predicted"), [(3, 5), (2, 4), (0, 9), (1, 3)])
def test_a_count_leads_to_as_many_images(visit, folder, wrong, true, predicted):
    """Of 91, of 30, of 8, of 1; those beyond 60 after one more click."""
    names, count = Run(paths.REFERENCE).config.classes, int(MATRIX[true, predicted])
    page = visit(folder, "01_first")
    cell(page, names[true], names[predicted]).click()
    page.wait_for_url("**/mistakes.html#*")
    assert page.locator("form output").inner_text().startswith(f"{count} of {len(wrong.index)}")
    assert page.locator(TILES).count() == min(count, STEP)
    if count > STEP:
        page.click(f"text=Show the last {count - STEP}")
    assert page.locator(TILES).count() == count and not page.locator("button.more").is_visible()
    kinds = page.locator(TILES).evaluate_all("items => items.map(i => [+i.dataset.true, +i.dataset.predicted])")
    assert kinds == [[true, predicted]] * count


def test_cells_work_with_the_keyboard_and_can_be_skipped(visit, folder):
    page = visit(folder, "01_first")
    page.locator(".matrix .skip").focus()
    assert page.locator(".matrix .skip").bounding_box()["width"] > 100
    page.keyboard.press("Tab")
    link = cell(page, "airplane", "automobile")
    assert link.evaluate("link => link === document.activeElement")
    assert link.evaluate("link => getComputedStyle(link).outlineStyle") == "solid"
    assert link.locator("span").evaluate("words => getComputedStyle(words).clipPath") == "none", (
        "its words are in sight"
    )
    page.keyboard.press("Enter")
    page.wait_for_url("**/mistakes.html#true=0&predicted=1")
    assert page.locator(TILES).count() == MATRIX[0, 1]


def test_sixty_at_a_time_and_how_many_are_left(visit, folder, wrong):
    page, total = visit(folder, "mistakes"), len(wrong.index)
    more = page.locator("button.more")
    for shown in range(STEP, total, STEP):
        assert page.locator(TILES).count() == shown
        left = total - shown
        assert more.inner_text() == (f"Show 60 more ({left} left)" if left > STEP else f"Show the last {left}")
        more.click()
        button = page.locator(f"{TILES} button").nth(shown)
        assert button.evaluate("button => button === document.activeElement"), "the first of the new ones"
    assert page.locator(TILES).count() == total and not more.is_visible()
    page.select_option("[name=true]", label="cat")
    assert page.locator(TILES).count() == STEP, "a filter begins anew"


def test_a_tile_opens_and_says_all_ten_probabilities(visit, folder, wrong):
    page = visit(folder, "mistakes")
    dialog, which = dialog_of(page, 7), wrong.index[7]
    names = Run(paths.REFERENCE).config.classes
    true, predicted = names[wrong.labels[7]], names[wrong.predicted[7]]
    assert dialog.locator("h2").inner_text().lower() == f"test image {which}"
    assert dialog.locator(".said").inner_text() == f"True class: {true}. Predicted: {predicted}."
    assert (
        dialog.locator("tr.true th").inner_text() == true
        and dialog.locator("tr.predicted th").inner_text() == predicted
    )
    shown = [float(text.removesuffix("%")) for text in dialog.locator(".number").all_inner_texts()]
    assert shown == pytest.approx(100 * SAID.probabilities[which] - 0.05, abs=0.0501)
    assert shown[wrong.predicted[7]] == wrong.percent[7]
    bars = dialog.locator(".bar").evaluate_all(BARS)
    assert bars == pytest.approx(shown, abs=1)
    picture = dialog.locator(".tile").first
    assert picture.evaluate("tile => getComputedStyle(tile).imageRendering") == "pixelated"
    assert picture.bounding_box()["width"] > 2 * page.locator(".wrong .tile").first.bounding_box()["width"]


BARS = "bars => bars.map(bar => 100 * bar.firstChild.getBoundingClientRect().width / bar.getBoundingClientRect().width)"


def test_an_open_tile_is_explained(visit, folder, wrong):
    """Light and shade as the run measured them, for the predicted class and for the true one; three training images."""
    page, found, names = visit(folder, "mistakes"), Run(paths.REFERENCE).explained, Run(paths.REFERENCE).config.classes
    dialog = dialog_of(page, 7)
    assert found.index[7] == wrong.index[7]
    said = [f"{'Lit: what' if h.any() else 'Nothing'} speaks for" for h in found.heat[7]]
    classes = names[wrong.predicted[7]], names[wrong.labels[7]]
    captions = dialog.locator(".heat figcaption").all_inner_texts()
    assert captions == [f"{one} {name}" for one, name in zip(said, classes, strict=True)]
    shades = np.array(dialog.locator("canvas").evaluate_all(SHADES), float).reshape(found.heat[7].shape)
    np.testing.assert_allclose(shades, 0.85 * 255 * (1 - found.heat[7] / 9), atol=1)
    assert dialog.locator(".near li").all_inner_texts() == [names[label] for label in found.nearest_labels[7]]
    labels = dialog.locator(".near .tile").evaluate_all("tiles => tiles.map(t => t.ariaLabel)")
    assert labels == [f"training image {i}" for i in found.nearest[7]]


SHADES = """every => every.map(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]
    .filter((_, i) => i % 4 === 3))"""


def test_a_mistake_that_was_not_explained_says_nothing(visit, folder, wrong):
    page, held = visit(folder, "mistakes"), len(Run(paths.REFERENCE).explained.index)
    assert held < len(wrong.index)
    page.evaluate(f"location.hash = '#image-{wrong.index[held]}'")
    page.reload()
    assert page.locator("dialog h2").inner_text().lower() == f"test image {wrong.index[held]}"
    assert not page.locator("dialog .why").is_visible()


def test_a_ring_on_the_map_leads_to_its_image(visit, folder):
    """By a click, and by Enter after an arrow key; past those that are shown at first."""
    first = np.flatnonzero(~SAID.right)[0]
    page = visit(folder, "02_second")
    figure, image = page.locator("[data-points]"), page.locator("[data-points] img")
    image.scroll_into_view_if_needed()
    (x, y), box = figure.evaluate("f => JSON.parse(f.dataset.points).svg[0]"), image.bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
    page.wait_for_url(f"**/mistakes.html#image-{first}")
    assert page.locator("dialog h2").inner_text().lower() == f"test image {first}"
    page.keyboard.press("Escape")
    page.locator(f':focus[aria-label^="test image {first},"]').wait_for()  # its tile is shown, and has the focus
    page = visit(folder, "02_second")
    page.locator("[data-points] a").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/mistakes.html#image-{first}")


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (NARROW, "dark")])
def test_epochs_can_be_gone_through(visit, validated, width, theme):
    """The last one first; with the keyboard back to the first; each cell in percent of its row."""
    page = visit(validated, "01_first", width, theme)
    slider, said = page.locator(".epochs input"), page.locator(".epochs output")
    assert said.inner_text() == "70: 100.0% right"
    cells = page.locator(".epochs td:not(thead td)").all_inner_texts()
    assert [cell for cell in cells if cell] == ["100"] * 10
    complete(page)
    assert barriers(page) == []
    slider.focus()
    page.keyboard.press("Home")
    assert said.inner_text() == "1: 0.0% right" and slider.evaluate("s => s.ariaValueText") == "epoch 1: 0.0% right"
    rows = page.locator(".epochs tbody tr")
    assert [rows.nth(i).locator("td").nth((i + 1) % 10).inner_text() for i in range(10)] == ["100"] * 10
    page.keyboard.press("ArrowRight")
    assert said.inner_text().startswith("2: ") and slider.get_attribute("max") == "59", "60 of the 70"


def test_epochs_play_and_stop(visit, validated):
    page = visit(validated, "01_first")
    button, said = page.locator(".epochs button"), page.locator(".epochs output")
    button.click()
    assert button.inner_text() == "Stop" and said.inner_text().startswith("1: ")
    page.get_by_text("3: ").wait_for()
    button.click()
    stopped = said.inner_text()
    page.wait_for_timeout(700)
    assert said.inner_text() == stopped and button.inner_text() == "Play"


def test_a_dialog_closes_and_gives_the_focus_back(visit, folder):
    page = visit(folder, "mistakes")
    for close in (lambda: page.keyboard.press("Escape"), lambda: page.click("dialog .close")):
        dialog = dialog_of(page, 3)
        close()
        dialog.wait_for(state="hidden")
        name = page.locator(f"{TILES} button").nth(3).get_attribute("aria-label")
        page.locator(f':focus[aria-label="{name}"]').wait_for()


@pytest.mark.parametrize("pair", [True, False], ids=["cat, dog", "cat"])
def test_arrows_go_through_the_tiles_that_fit(visit, folder, wrong, pair):
    """Round the end, past those shown, and to none that does not fit; the focus comes back to the last one seen."""
    page, fitting = visit(folder, "mistakes"), (wrong.labels == CAT) & ((wrong.predicted == DOG) | (not pair))
    page.select_option("[name=true]", label="cat")
    if pair:
        page.select_option("[name=predicted]", label="dog")
    count = fitting.sum()
    assert pair or count > STEP, "more than are shown at first"
    dialog = dialog_of(page, 0)
    place, said = dialog.locator(".turn span"), dialog.locator(".said")
    for key, expected in (("ArrowRight", 2), ("ArrowLeft", 1), ("ArrowLeft", count)):
        page.keyboard.press(key)
        predicted = NAMES[wrong.predicted[fitting][expected - 1]]
        assert place.inner_text() == f"{expected} of {count}"
        assert said.inner_text() == f"True class: cat. Predicted: {predicted}."
    page.click("dialog .previous")
    assert place.inner_text() == f"{count - 1} of {count}"
    page.keyboard.press("Escape")
    page.locator(f"{TILES} button:focus").wait_for()
    page.locator(TILES).nth(int(count) - 1).wait_for()  # the focus is on the tile that was opened for a moment first
    assert page.locator(TILES).count() == count, "the one seen last was not yet shown"
    name = page.locator(f"{TILES} button").nth(count - 2).get_attribute("aria-label")
    page.locator(f':focus[aria-label="{name}"]').wait_for()


def test_without_scripts_every_mistake_is_there_and_nothing_promises_more(visit, folder, wrong):
    page = visit(folder, "mistakes", java_script_enabled=False)
    assert page.locator(TILES).count() == len(wrong.index)
    assert not any(page.locator(one).first.is_visible() for one in ("button.more", "dialog", ".scripted"))
    page = visit(folder, "01_first", java_script_enabled=False)
    pairs = np.count_nonzero(MATRIX * (1 - np.eye(10, dtype=int)))
    assert not page.locator(".scripted").is_visible() and page.locator(".matrix a:not(.skip)").count() == pairs


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_curve_says_its_values(visit, folder, width):
    """Of the value under the mouse; along the curve with the arrow keys; and nothing far from it."""
    page, history = visit(folder, "01_first", width), Run(paths.REFERENCE).history
    figure = page.locator("[data-points]")
    said, image = figure.locator("output"), figure.locator("img")
    image.scroll_into_view_if_needed()
    box, places = image.bounding_box(), figure.evaluate("f => JSON.parse(f.dataset.points)")
    x, y = places["narrow" if width == NARROW else "svg"][4]
    page.mouse.move(box["x"] + x * box["width"] + 3, box["y"] + y * box["height"] + 3)
    assert said.inner_text() == f"training, epoch 5: {history.train_loss[4]:.3f}"
    mark = figure.locator(".mark").bounding_box()
    assert mark["x"] + mark["width"] / 2 == pytest.approx(box["x"] + x * box["width"], abs=1)
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 2)
    assert not said.is_visible() and not figure.locator(".mark").is_visible()
    figure.locator("a").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    assert said.inner_text() == f"training, epoch 2: {history.train_loss[1]:.3f}"
    complete(page)
    page.keyboard.press("Tab")
    assert not said.is_visible()

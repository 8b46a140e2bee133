"""The widget over mistakes: shows what was asked for; where no widget runs, the picture stands there."""

import numpy as np
import pytest
import sites

from cifar_lib.notebook import MIME
from cifar_lib.runs.predictions import Mistakes
from cifar_lib.site.browser import MOST, Browser

NAMES = [f"class {i}" for i in range(10)]


@pytest.fixture
def browser():
    return Browser(sites.mistakes(12), NAMES, sites.drawn())


def test_both_are_in_the_cell(browser):
    bundle = browser._repr_mimebundle_()
    assert MIME in bundle and "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/plain"] == "<Browser>", "which is the same on every machine"
    assert browser._repr_png_()[0].startswith(b"\x89PNG") and repr(browser) == "<Browser>"


def test_shown_is_what_fits(browser):
    wrong = browser.mistakes
    assert browser.shown(None, None, 0, 100) == list(range(12))
    assert browser.shown(1, None, 0, 100) == np.flatnonzero(wrong.labels == 1).tolist() == [1, 11]
    assert browser.shown(None, 2, 0, 100) == [1, 11] and browser.shown(1, 3, 0, 100) == []
    assert browser.shown(None, None, 70, 100) == np.flatnonzero(wrong.percent >= 70).tolist()


def test_widget_follows_its_controls(browser):
    controls, grid = browser.widget().children
    true, predicted, sure, _ = controls.children
    assert grid.value.count("<img") == 12
    true.value = 1
    assert grid.value.count("<img") == 2 and "class 1 → class 2" in grid.value
    sure.value = (99, 100)
    assert grid.value.count("<img") == 0 and "0 of 12 mistakes" in grid.value
    true.value, predicted.value, sure.value = None, 1, (0, 100)
    assert grid.value.count("class 0 → class 1") == 2


def test_many_can_be_paged_through():
    few = sites.mistakes(3)
    many = Mistakes(*(np.repeat(getattr(few, name), 50, axis=0) for name in few.__dataclass_fields__))
    controls, grid = Browser(many, NAMES, sites.drawn()).widget().children
    true, _, _, number = controls.children
    assert number.max == 3 and "150 of 150 mistakes, 1 to 60 shown" in grid.value and grid.value.count("<img") == MOST
    seen = grid.value.count('alt="test image')
    for page in (2, 3):
        number.value = page
        seen += grid.value.count('alt="test image')
    assert seen == 150 and "121 to 150 shown" in grid.value
    true.value = 1
    assert (number.value, number.max) == (1, 1) and "50 of 150 mistakes:" in grid.value

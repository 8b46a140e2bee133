"""Wrong images as one picture: each is found again where its facts say it is."""

import io
from dataclasses import replace

import numpy as np
import pytest
import sites
from PIL import Image

from cifar_lib import paths
from cifar_lib.runs import Run
from cifar_lib.runs.predictions import Mistakes
from cifar_lib.site import sprite_sheet


def tile(whole: np.ndarray, facts: dict) -> np.ndarray:
    top, left = 32 * facts["row"], 32 * facts["column"]
    return whole[top : top + 32, left : left + 32]


@pytest.mark.parametrize("n", [1, 40, 41, 95])
def test_every_image_is_found_without_loss(n, tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    run, wrong = sites.finished("some"), replace(sites.mistakes(n), index=np.arange(n) % 20)
    whole = np.asarray(Image.open(io.BytesIO(sprite_sheet.picture(wrong.images))).convert("RGB"))
    every = sprite_sheet.listed(wrong, run)["mistakes"]
    assert len(every) == n and all((tile(whole, facts) == wrong.images[i]).all() for i, facts in enumerate(every))


def test_no_confidence_is_rounded_up(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    first = sprite_sheet.listed(sites.mistakes(3), sites.finished("some"))["mistakes"][0]
    assert first["confidence"] == 99.9  # of 99.97
    sure = np.array([0.9997, 0.999, 1.0, 0.1234, 0.5], np.float32)
    assert replace(sites.mistakes(5), confidence=sure).percent.tolist() == [99.9, 99.9, 100.0, 12.3, 50.0]


def test_probabilities_are_those_of_the_run():
    run = Run(paths.REFERENCE)
    wrong = run.mistakes
    every = sprite_sheet.tenths(run.predictions, wrong)
    off, said = 1000 * run.predictions.probabilities[wrong.index] - every, np.arange(10) == wrong.predicted[:, None]
    assert every.shape == (len(wrong.index), 10) and ((off > -1e-6) & (off < 1))[~said].all()
    assert (every[said] / 10 == wrong.percent).all(), "the one that the tile says"
    assert np.abs(off[said]).max() < 1.5, "which is not of logits in half precision"
    listed = sprite_sheet.listed(wrong, run)["mistakes"]
    assert [one["tenths"] for one in listed] == [" ".join(map(str, row)) for row in every]


def test_a_predicted_class_is_as_probable_as_its_tile_says(tmp_path, monkeypatch):
    """Though the run keeps its logits in half precision, and its mistakes' confidence in full."""
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    wrong = sites.mistakes(3)
    every = sprite_sheet.tenths(sites.finished("some").predictions, wrong)
    assert every[np.arange(3), wrong.predicted].tolist() == [999, 749, 500]


@pytest.mark.parametrize(("shown", "stored"), [(2, True), (3, False)])
def test_whether_only_the_stored_ones_are_there(tmp_path, monkeypatch, shown, stored):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    run = sites.finished("some", wrong=3, kept=2)
    assert sprite_sheet.listed(sites.mistakes(shown), run)["stored"] is stored


def test_a_page_holds_so_many():
    many = sites.mistakes(3)
    many = Mistakes(*(np.repeat(getattr(many, name), 1000, axis=0) for name in many.__dataclass_fields__))
    assert len(sprite_sheet.first(many).index) == sprite_sheet.MOST < len(many.index)


def test_style_knows_how_many_stand_in_a_row():
    css = (paths.ROOT / "cifar_lib/site/templates/style.css").read_text(encoding="utf-8")
    assert f'url("{sprite_sheet.FILE}")' in css and f"calc({sprite_sheet.COLUMNS} * var(--side))" in css

"""The page to try a network on: in one file, only where there is a network, and every number read from its run."""

import base64
import hashlib
import io
import json
import re

import numpy as np
import pytest
import sites
from PIL import Image
from study_runs import made, with_weights

from cifar_lib import paths, site
from cifar_lib.evidence import networks
from cifar_lib.inference import activations
from cifar_lib.runs import Run, plain_network
from cifar_lib.runs.predictions import Mistakes
from cifar_lib.site import demo

NARROW = {"num_channels": 4, "num_blocks": [1, 1], "conv_kernel_sizes": [3, 3], "shortcut_kernel_sizes": [1, 1]}
NARROW |= {"avg_pool_kernel_size": 16, "drop": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A network that is small in a moment."""
    run = with_weights(made(tmp_path_factory.mktemp("runs") / "narrow-7", 0.625, **NARROW))
    return plain_network.read(run)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, narrow):
    """The site of a finished run, with that network to try."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paths, "RUNS", tmp_path_factory.mktemp("runs"))
        run = sites.finished("done", dataset="cifar10")
        books = sites.written(run.folder / "notebooks")
        return site.publish(run, books, sites.mistakes(3), network=narrow).parent


def test_it_is_one_file_and_runs_no_script_but_its_own(folder):
    page, text = sites.page(folder, "demo"), (folder / "demo.html").read_text(encoding="utf-8")
    assert not page.select("link[rel=stylesheet], script[src], iframe, object")
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.select("img"))
    policy = page.find("meta", attrs={"http-equiv": "Content-Security-Policy"})["content"]
    for kind in ("script", "style"):
        inline = re.search(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert not page.select("[style]"), "the policy would refuse it"


def test_every_page_leads_there_and_it_leads_back(folder):
    for path in folder.glob("*.html"):
        assert len(sites.page(folder, path.stem).select('.top a[href="demo.html"]')) == 1, path.name
    assert sites.page(folder, "index").select_one('.cards a[href="demo.html"]').get_text() == "Try it in your browser"
    assert sites.page(folder, "demo").select_one('.top [aria-current="page"]')["href"] == "demo.html"
    assert sites.page(folder, "demo").select_one('.top a[href="index.html"]').get_text().endswith("done")


def test_without_a_network_there_is_neither_page_nor_link(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    index = site.publish(sites.finished("done"), sites.written(tmp_path / "books"), sites.mistakes(3))
    assert not (index.parent / "demo.html").exists()
    assert not any("demo.html" in path.read_text(encoding="utf-8") for path in index.parent.glob("*.html"))


def test_numbers_are_those_of_its_run(folder, narrow):
    text = " ".join(sites.page(folder, "demo").main.get_text(" ").split())
    facts = ["narrow-7", "62.50%", "1,000 test images", "45,000 images", "4 epochs", "4 channels", "parameters 7 "]
    for fact in [*facts, f"{narrow.multiply_adds:,}", f"{narrow.multiply_adds / 1e6:.1f} million multiply-adds"]:
        assert fact in text, fact
    assert "the network of done" in text and all(name in text for name in narrow.run.config.classes)
    assert "narrow-7" in sites.page(folder, "demo").footer.get_text()
    assert "7 parameters, 62.50% right" in sites.page(folder, "index").select(".cards li")[-1].get_text()


def test_layers_and_numbers_are_in_the_page(folder, narrow):
    page = sites.page(folder, "demo")
    assert json.loads(page.find(id="layers").string) == narrow.layers
    assert base64.b64decode(page.find(id="numbers").string) == narrow.numbers


def test_code_to_read_is_the_code_that_runs(folder):
    page = sites.page(folder, "demo")
    shown = page.select_one("details.code pre").get_text().strip()
    assert shown in page.find_all("script")[-1].string and "function convolve" in shown
    assert f"Read the {len(shown.splitlines())} lines" in page.select_one("details.code summary").get_text()
    assert len(shown.splitlines()) < 130


def test_examples_are_the_stored_mistakes_after_the_first_notebooks_image(narrow):
    every = demo.examples(narrow.run, sites.mistakes(40))["examples"]
    assert len(every) == 1, "the run stored none"
    stored = sites.mistakes(40)
    folder = narrow.run.folder.parent / "stored"
    run = made(folder, 0.5, **NARROW)
    (folder / "SHA256SUMS").unlink()
    (folder / "mistakes.npz").write_bytes(stored.to_bytes())
    every = demo.examples(run, sites.mistakes(0))["examples"]
    assert len(every) == 1 + demo.MOST and [one["truth"] for one in every[1:4]] == stored.labels[:3].tolist()
    assert (pixels(every[2]["uri"]) == stored.images[1]).all()
    assert (pixels(every[0]["uri"]) == activations.example("cifar10").image).all()
    assert demo.EXAMPLE == activations.EXAMPLE and every[1]["words"] == "test image 0: airplane"


def pixels(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))


def test_a_run_that_stored_no_images_is_tried_on_the_reports(narrow, tmp_path):
    run = made(tmp_path / "tracked", 0.5, **NARROW)
    (run.folder / "mistakes.npz").unlink()
    shown = demo.examples(Run(run.folder), sites.mistakes(2))
    assert len(shown["examples"]) == 3 and "the network of this report gets wrong" in shown["about_examples"]
    none = Mistakes(*(getattr(sites.mistakes(2), name)[:0] for name in Mistakes.__dataclass_fields__))
    assert len(demo.examples(Run(run.folder), none)["examples"]) == 1


def test_page_of_the_real_width_is_below_three_megabytes(narrow, tmp_path):
    run = with_weights(made(tmp_path / "width-24", 0.5, num_channels=24, whitening=True, device="cpu"))
    parts = demo.parts(plain_network.read(run))
    assert sum(len(parts[name]) for name in ("numbers", "layers", "script", "style", "code")) < 2_800_000
    assert networks.SMALL * 4 / 3 < 2_800_000, "and none that is larger is taken"

"""The pages of a run: they stand alone, say whose they are, and are swapped in whole. In a browser: test_pages."""

import re
from pathlib import Path

import nbformat
import pytest
import sites
from bs4 import BeautifulSoup

from cifar_lib import paths, site
from cifar_lib.config import Config
from cifar_lib.notebook import MIME
from cifar_lib.site import sanitize
from cifar_lib.site.sanitize import SiteError
from cifar_lib.system.files import OutputError


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A site of a finished run: the run, its notebooks, the folder of the site."""
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    run = sites.finished("done")
    books = sites.written(run.folder / "notebooks")
    return run, books, site.publish(run, books, sites.mistakes(3)).parent


def test_every_file_named_is_there_and_no_other_host(made):
    folder = made[2]
    pages = [sites.page(folder, path.stem) for path in folder.glob("*.html")]
    assert len(pages) == 4
    for page in pages:
        named = [element[name] for name in ("href", "src", "srcset") for element in page.select(f"[{name}]")]
        files = {link.split("#")[0] for link in named if not link.startswith(("#", "data:"))}
        assert all((folder / file).is_file() for file in files), files
    text = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.suffix in (".css", ".js"))
    assert "//" not in re.sub(r"^// .*$", "", text, flags=re.M) and "@import" not in text


def test_code_is_folded_and_figures_have_numbers_captions_and_words(made):
    page = sites.page(made[2], "01_first")
    assert len(page.select("details.code:not([open])")) == 3
    assert page.figcaption.get_text().startswith("Figure 1.1. Loss by epoch. Training is measured")
    assert page.select_one("figure .source").get_text() == "mine: digits"
    assert page.img["alt"] == "Cross-entropy (nats): 1 in training, 1.5 in validation at the end."
    assert page.img["src"] == "figures/01_first-1.svg" and (made[2] / "figures/01_first-1.svg").stat().st_size > 1000
    assert page.picture.source["srcset"] == "figures/01_first-1-narrow.svg" and "max-width" in page.source["media"]
    assert all((made[2] / f"figures/01_first-1-{shape}.svg").stat().st_size > 1000 for shape in ("narrow", "thumbnail"))


def test_formulas_need_no_script(made):
    page = sites.page(made[2], "01_first")
    assert [math["display"] for math in page.find_all("math")] == ["inline", "block"]
    assert [math.get("tabindex") for math in page.find_all("math")] == [None, "0"]  # by keyboard too one can scroll
    assert "$" not in page.main.get_text().replace("$5", "") and page.code.get_text() == "$5"


def test_way_through_the_pages(made):
    first, second = sites.page(made[2], "01_first"), sites.page(made[2], "02_second")
    assert first.select_one("[rel=prev]") is None and first.select_one("[rel=next]")["href"] == "02_second.html"
    assert second.select_one("[rel=prev]")["href"] == "01_first.html"
    assert [a["href"] for a in first.select(".contents a")] == ["#A-part", "#What-we-saw"]
    assert len(first.main.select('a[href="02_second.html"]')) == 2  # in the text, and the next one
    assert "elsewhere" in first.main.get_text() and not first.select('a[href*="none"]')


def test_index_says_what_was_done_and_how_well(made):
    text = " ".join(sites.page(made[2], "index").main.get_text(" ").split())
    for fact in ("digits (not CIFAR-10)", "85.00%", "20 test images", "parameters 10", "machine cpu", "epochs 7"):
        assert fact in text, fact
    cards = sites.page(made[2], "index").select(".cards li")
    assert [card.h3.get_text() for card in cards] == ["1 · Is it so?", "2 · Is it so?", "Look at the mistakes"]
    assert [card.p.get_text() for card in cards[:2]] == ["It is 1.", "It is 2."]
    assert all(card.img["src"].endswith("-1-thumbnail.svg") for card in cards[:2])


def test_every_page_says_which_data_set(made):
    for path in made[2].glob("*.html"):
        page = sites.page(made[2], path.stem)
        assert "digits (not CIFAR-10)" in page.title.get_text() and page.select_one(".badge.digits"), path.name


def test_settings_that_differ_from_the_recipe():
    differing = {one["name"]: (one["value"], one["recipe"]) for one in site.settings(Config(drop=0)) if one["differs"]}
    assert differing == {"drop": (0.0, 0.2)} and len(site.settings(Config())) == len(Config.model_fields)


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        ({"dataset": "cifar10", "epochs": 1}, "One epoch: shows"),
        ({"dataset": "digits", "epochs": 4}, "4 epochs: shows"),
        ({"dataset": "cifar10", "epochs": 15}, "Short run: 15 of the recipe's 300 epochs, 16 of its 64 channels."),
        ({"dataset": "digits", "epochs": 15}, ""),
        ({"dataset": "cifar10", "epochs": 300}, ""),
    ],
)
def test_short_runs_are_called_so(summary, expected):
    text = site.short(summary | {"num_channels": 16})
    assert text.startswith(expected) and bool(text) == bool(expected)


def everything(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_notebooks_same_bytes(made):
    before = everything(made[2])
    site.publish(*made[:2], sites.mistakes(3))
    assert everything(made[2]) == before


@pytest.mark.parametrize("kind", ["error", "not run", "no notebook"])
def test_what_failed_leaves_the_earlier_site(made, kind):
    run, books, folder = made
    before, bad = everything(folder), sites.notebook(2)
    if kind == "error":
        bad.cells[3].outputs = [nbformat.v4.new_output("error", ename="E", evalue="no\nmore", traceback=[])]
    bad.cells[3].execution_count = None if kind == "not run" else 2
    books[1].write_text("{" if kind == "no notebook" else nbformat.writes(bad))
    refused = {"error": r"^02_second, cell 3: E: no; run", "not run": r"^02_second, cell 3: not executed; run"}
    with pytest.raises(SiteError if kind in refused else Exception, match=refused.get(kind, ".")):
        site.publish(run, books, sites.mistakes(3))
    assert everything(folder) == before and not list(run.folder.glob(".report*"))


@pytest.mark.parametrize("words", ["OSError", "KeyboardInterrupt"])
def test_a_stop_between_the_two_renames_brings_the_earlier_site_back(made, monkeypatch, words):
    run, books, folder = made
    before, rename = everything(folder), Path.rename
    stop = OSError(28, "No space left on device") if words == "OSError" else KeyboardInterrupt()

    def stopping(self, target):
        if self.name == ".report.new":
            raise stop
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stopping)
    with pytest.raises(OutputError if words == "OSError" else KeyboardInterrupt):
        site.publish(run, books, sites.mistakes(3))
    assert everything(folder) == before and not list(run.folder.glob(".report*"))


def test_a_death_there_is_mended_by_the_next_report(made):
    run, books, folder = made
    before = everything(folder)
    folder.rename(run.folder / ".report.earlier")
    (run.folder / ".report.new").mkdir()
    with pytest.raises(FileNotFoundError):
        site.publish(run, [run.folder / "none.ipynb"], sites.mistakes(3))
    assert everything(folder) == before and not list(run.folder.glob(".report*"))


def test_a_full_disk_is_one_line(made, monkeypatch):
    def full(self, data):
        raise OSError(28, "No space left on device")

    before = everything(made[2])
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\); earlier ones are kept$"):
        site.publish(*made[:2], sites.mistakes(3))
    assert everything(made[2]) == before


@pytest.mark.parametrize("name", ["device", "python", "packages", "threads", "revision"])
def test_an_environment_that_lacks_a_fact(tmp_path, monkeypatch, name):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    run = sites.finished("old")
    run.record("environment.json", {k: v for k, v in run.environment.items() if k != name})
    (run.folder / "SHA256SUMS").unlink()
    index = site.publish(run, sites.written(tmp_path / "books"), sites.mistakes(3))
    assert "85.00%" in index.read_text(encoding="utf-8")


def test_a_run_that_went_on_elsewhere_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    run = sites.finished("moved")
    moved = {"continued": [{"epoch": 3, "device": ["cpu", "cuda: H"]}]}
    run.record("environment.json", run.environment | moved)
    (run.folder / "SHA256SUMS").unlink()
    index = sites.page(site.publish(run, sites.written(tmp_path / "books"), sites.mistakes(3)).parent, "index")
    assert "after epoch 3 device cuda: H" in " ".join(index.footer.get_text().split())
    assert "cpu, and others" in index.main.get_text()


def test_one_mistake_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    index = site.publish(sites.finished("one", 1), sites.written(tmp_path / "books"), sites.mistakes(1))
    assert "The one wrongly classified of 20 test images." in sites.page(index.parent, "mistakes").main.get_text()


def test_what_is_no_formula_is_named(made):
    run, books, _ = made
    bad = sites.notebook(1)
    bad.cells[2].source += "\n\n$\\frac$"
    nbformat.write(bad, books[0])
    with pytest.raises(SiteError, match=r"^01_first: \$\\frac\$ cannot be set as a formula"):
        site.publish(run, books, sites.mistakes(3))


def test_a_picture_without_words_gets_those_of_its_heading(made):
    run, books, _ = made
    bare = sites.notebook(1)
    del bare.cells[3].outputs[0].data[MIME]
    nbformat.write(bare, books[0])
    page = sites.page(site.publish(run, books, sites.mistakes(3)).parent, "01_first")
    assert page.img["alt"].startswith("A part") and page.img["src"].startswith("data:image/png;base64,")


def test_prices_are_no_formulas():
    soup = BeautifulSoup("<p>Price $5 and $6, from $5 to $6.</p>", "html.parser")
    sanitize.formulas("any", soup)
    assert soup.math is None


def test_no_mistakes_are_a_page_too(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUNS", tmp_path)
    run = sites.finished("right", wrong=0)
    index = site.publish(run, sites.written(tmp_path / "books"), sites.mistakes(0))
    assert "all 20 test images are right" in sites.page(index.parent, "mistakes").main.get_text()
    assert "100.00%" in sites.page(index.parent, "index").main.get_text()

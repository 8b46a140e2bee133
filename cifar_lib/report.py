"""The notebooks of one run, executed in order without a screen, and a small static site made from them. No torch.

Pages stand alone: styles and figures are inside, nothing is asked of another host.
"""

import re
import shutil
import tempfile
import time
from pathlib import Path

import jinja2
import nbformat
import papermill
from bs4 import BeautifulSoup
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter

from cifar_lib import locks, metrics, paths, progress, runs
from cifar_lib.config import Config, did_you_mean, over_preset
from cifar_lib.errors import Refused

NAMES = ("01_architecture", "02_parameters", "03_train", "04_curves", "05_confusion", "06_submission")
TITLES = {"cifar10": "CIFAR-10", "digits": "digits (not CIFAR-10)"}
RECIPE_EPOCHS, RECIPE_CHANNELS = 300, 64  # of the published recipe, on CIFAR-10
QUIET = "--IPKernelApp.log_level=CRITICAL"  # a kernel of this machine alone need not warn that it talks in plain text
TEMPLATES = Path(__file__).parent / "templates"
NUMBER = re.compile(r"[-+−±]?[\d,]*\.?\d+(e[-+]?\d+)?\s?[%kMG×]?|nan|NaN|–|-?inf|", re.IGNORECASE)


class ReportError(Refused):
    """A report that cannot be made; the message is one line."""


class FailedNotebook(ReportError):
    """A notebook that did not come to its end; the message is one line, the executed copy shows the rest."""

    status = 1


def build(parameters: dict, names: tuple[str, ...] = NAMES) -> Path:
    """Run the notebooks in order, headless, each with those of `parameters` that it takes; the site's index.html.

    Executed copies are left in runs/<run>/notebooks, the site in runs/<run>/report. A name that no notebook takes, a
    bad value, and another training's run are refused before a kernel starts: `ReportError`, `ConfigError`, `RunError`.
    A notebook that fails raises `ReportError` and leaves an earlier site as it was.
    """
    takes = {name: papermill.inspect_notebook(str(paths.NOTEBOOKS / f"{name}.ipynb")) for name in names}
    config, values = check(parameters, takes)
    run = runs.start(str(parameters.get("run", "")), config)
    locks.release(run.folder)  # the notebook trains it, in a process of its own
    (run.folder / "notebooks").mkdir(exist_ok=True)
    for name in names:
        trained = run.complete or name >= "03"  # before the first training, 01 shows the network as it starts
        given = values | {"dataset": config.dataset, "run": run.name if trained else ""}
        _execute(name, run, {key: value for key, value in given.items() if key in takes[name]})
    return publish(run, names)


def check(parameters: dict, takes: dict[str, dict]) -> tuple[Config, dict]:
    """The settings that the training notebook makes of `parameters`, and these as values rather than text.

    `takes` is, by notebook, what papermill finds it to take. Raises `ReportError` for a name that none takes,
    `ConfigError` for a value that no training can have.
    """
    known = {key: about for notebook in takes.values() for key, about in notebook.items()}
    for name in parameters:
        if name not in known:
            raise ReportError(f"{name}: no notebook takes it{did_you_mean(name, known)}")
    fields = {"max_epochs" if name == "epochs" else name: name for name in takes.get("03_train", known)}
    config = Config(**{f: parameters[n] for f, n in fields.items() if n in parameters and f in Config.model_fields})
    config = over_preset(config, parameters.get("preset", ""))
    plain = config.model_dump(mode="json") | {"epochs": config.max_epochs}
    return config, {name: plain.get(name, _typed(name, value, known[name])) for name, value in parameters.items()}


def _typed(name: str, value, about: dict):
    """Text as the int or float that the notebook's parameter is annotated with; anything else as it is."""
    kind = {"int": int, "float": float}.get(about["inferred_type_name"])
    try:
        return kind(value) if kind and isinstance(value, str) and value != "None" else value
    except ValueError:
        raise ReportError(f"{name}: got {value!r}, expected {about['inferred_type_name']}") from None


def _execute(name: str, run: runs.Run, values: dict) -> None:
    source, target = paths.NOTEBOOKS / f"{name}.ipynb", run.folder / "notebooks" / f"{name}.ipynb"
    print(f"{name:16}", end="", flush=True)
    start = time.perf_counter()
    try:
        papermill.execute_notebook(str(source), str(target), values, progress_bar=False, extra_arguments=[QUIET])
    except papermill.PapermillExecutionError as error:
        print("failed")
        said = f"{error.ename}: {error.evalue}".strip().split("\n")[0]
        raise FailedNotebook(f"{name}, cell [{error.exec_count}]: {said}") from None
    except DeadKernelError:
        print("failed")
        raise FailedNotebook(f"{name}: its kernel died; was there enough memory?") from None
    print(f"{time.perf_counter() - start:5.0f} s", flush=True)


def publish(run: runs.Run, names: tuple[str, ...] = NAMES) -> Path:
    """The executed notebooks of `run` as runs/<run>/report: index.html and a page each. All of it, or none."""
    site = run.folder / "report"
    temporary = Path(tempfile.mkdtemp(dir=run.folder, prefix=".report."))
    try:
        (temporary / "new").mkdir()
        for name, html in _pages(run, names).items():
            (temporary / "new" / f"{name}.html").write_text(html, encoding="utf-8")
        if site.exists():
            site.rename(temporary / "earlier")
        (temporary / "new").rename(site)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return site / "index.html"


def _pages(run: runs.Run, names: tuple[str, ...]) -> dict[str, str]:
    """name -> HTML, of every notebook and the index."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.get_template("page.html.j2")
    cards = [_card(name, _cells(run.folder / "notebooks" / f"{name}.ipynb"), names) for name in names]
    common = facts(run) | {"style": (TEMPLATES / "style.css").read_text(encoding="utf-8"), "cards": cards}
    beside = zip([None, *cards], cards, [*cards[1:], None], strict=False)
    pages = {here["name"]: template.render(common, previous=p, here=here, next=n) for p, here, n in beside}
    return pages | {"index": template.render(common, here=None)}


def facts(run: runs.Run) -> dict:
    """What a reader must know of a run before any figure: data set, accuracy with its interval, how short it was."""
    summary = run.summary
    right = round(summary["test_accuracy"] * summary["test_images"])
    low, high = metrics.wilson(right, summary["test_images"])
    epochs, short = summary["epochs"], ""
    if epochs < 5:
        short = f"{'One epoch' if epochs == 1 else f'{epochs} epochs'}: shows that it runs, not how good it gets."
    elif summary["dataset"] == "cifar10" and epochs < RECIPE_EPOCHS:
        own, recipe = f"{epochs} epochs at {summary['num_channels']} channels", f"{RECIPE_EPOCHS} at {RECIPE_CHANNELS}"
        short = f"A short run: {own}, where the published recipe has {recipe}."
    title = TITLES[summary["dataset"]]
    return {
        "run": summary,
        "environment": run.environment,
        "title": title,
        "low": low,
        "high": high,
        "short": short,
        "time": progress.duration(summary["seconds"]),
    }


def _cells(path: Path) -> BeautifulSoup:
    """An executed notebook's cells as HTML: tables that scroll, numbers to the right, every image with words."""
    notebook = nbformat.read(path, 4)
    _describe(notebook)
    exporter = HTMLExporter(
        template_name="cells",
        extra_template_basedirs=[str(TEMPLATES)],
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        embed_images=True,
    )
    html, _ = exporter.from_notebook_node(notebook, {"metadata": {"path": str(paths.NOTEBOOKS)}})
    soup = BeautifulSoup(html, "html.parser")
    for anchor in soup.select("a.anchor-link"):  # the heading keeps its id
        anchor.decompose()
    for table in soup.find_all("table"):
        _align(table)
        del table["border"]
        scroll = {"class": "table", "tabindex": "0", "role": "region", "aria-label": "table"}
        table.wrap(soup.new_tag("div", attrs=scroll))
    return soup


def _describe(notebook) -> None:
    """Words for images that bring none: the heading above, and what the text before the cell says first."""
    heading = text = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            words = re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", re.sub(r"[*`]", "", cell.source))
            lines = [line.strip() for line in words.split("\n") if line.strip()]
            heading = next((line.lstrip("# ") for line in reversed(lines) if line.startswith("#")), heading)
            text = next((line.split(". ")[0] for line in lines if not line.startswith("#")), "")
        else:
            cell.metadata.setdefault("alt", f"{heading}: {text}"[:300].strip(": ") or "figure")


def _align(table) -> None:
    """Mark the columns, heads included, that hold numbers alone."""
    rows = [row.find_all(["th", "td"]) for row in table.select("tbody tr")]
    heads = [row.find_all(["th", "td"]) for row in table.select("thead tr")]
    for column, cells in enumerate(zip(*rows, strict=False)):
        if all(cell.name == "td" and NUMBER.fullmatch(cell.get_text(strip=True)) for cell in cells):
            for cell in [*cells, *(row[column] for row in heads if column < len(row))]:
                cell["class"] = [*cell.get("class", []), "number"]


def _card(name: str, soup: BeautifulSoup, names: tuple[str, ...]) -> dict:
    """A page's parts: title, first line, first figure, contents, and the body without its title."""
    for link in soup.select('a[href$=".ipynb"]'):
        to = link["href"].removesuffix(".ipynb")
        if to in names:
            link["href"] = f"{to}.html"
        else:
            link.unwrap()
    title = soup.h1.extract() if soup.h1 else None
    image = soup.find("img")
    return {
        "name": name,
        "title": title.get_text() if title else name,
        "line": soup.p.get_text() if soup.p else "",
        "figure": {"src": image["src"], "alt": image["alt"]} if image else None,
        "contents": [(head["id"], head.get_text()) for head in soup.find_all("h2", id=True)],
        "body": str(soup),
    }

"""An executed notebook as the parts of a page: figures as files with captions, formulas as MathML, tables with a CSV
each; nothing needs a script, or another host."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType

import nbformat
from bs4 import BeautifulSoup
from nbconvert import HTMLExporter

from cifar_lib import paths
from cifar_lib.notebook import MIME
from cifar_lib.site import overlay, sanitize, tables
from cifar_lib.site.rendering import TEMPLATES, render
from cifar_lib.site.sanitize import SiteError

ENDS = {"svg": "", "narrow": "-narrow", "thumbnail": "-thumbnail"}  # of the files of a figure's shapes
FAILURE_TAG = "papermill-error-cell-tag"  # of the cells in which papermill tells of a failure
SIZE = re.compile(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"')


@dataclass
class Page:
    """One notebook: its title, the line that answers it, the figure of its card, contents, HTML, and files."""

    name: str
    title: str = ""
    line: str = ""
    figure: dict | None = None
    failure: str = ""  # what stopped it
    of_run: bool = False  # whether it has a parameter `run`, so that the facts of the run hold for it
    contents: list[tuple[str, str]] = field(default_factory=list)
    body: str = ""
    files: dict[str, str] = field(default_factory=dict)

    @property
    def short(self) -> str:
        """`03_train` as a word: Train."""
        return self.name.partition("_")[2].capitalize()


def read(path: Path, names: Collection[str], failure: str = "", touch: Mapping = MappingProxyType({})) -> Page:
    """The page of an executed notebook, one of `names`, or of as much as ran before `failure`; `touch`:
    what lies over figures, as `overlay.of` gives it.

    Raises `SiteError` where it was not executed to its end and no `failure` says why."""
    page, notebook = Page(path.stem, failure=failure), nbformat.read(path, 4)
    if failure:
        cut(notebook)
    else:
        check(page.name, notebook)
    figures = _draw(page, notebook)
    if notebook.cells and ".ipynb)" in notebook.cells[-1].source:  # the link to the next notebook: a page has its own
        notebook.cells.pop()
    soup = BeautifulSoup(sanitize.clean(_html(notebook), partial(_link, page, names)), "html.parser")
    sanitize.formulas(page.name, soup)
    for anchor in soup.select("a.anchor-link"):  # the heading keeps its id
        anchor.decompose()
    sanitize.words(soup)
    overlay.lay(page.name, soup, figures, **touch)
    number = page.name[:2].lstrip("0")
    for i, table in enumerate(soup.find_all("table"), 1):
        page.files |= tables.finish(soup, table, f"tables/{page.name}-{i}.csv", f"Table {number}.{i}")
    page.of_run = any(_takes_run(cell) for cell in notebook.cells)
    page.figure = next((one for one in figures if one["thumbnail"]), figures[0] if figures else None)
    page.title = soup.h1.extract().get_text() if soup.h1 else page.name
    page.line = f"Failed: {failure}" if failure else answer(soup)
    page.contents = [(head["id"], head.get_text()) for head in soup.find_all("h2", id=True)]
    page.body = str(soup)
    return page


def _takes_run(cell: nbformat.NotebookNode) -> bool:
    """Whether the cell declares the parameter `run`."""
    return "parameters" in cell.metadata.get("tags", ()) and bool(re.search(r"^run\b", cell.source, re.MULTILINE))


def _link(page: Page, names: Collection[str], address: str) -> str | None:
    """Where an address of a notebook leads in the site; None where it has no such page or file."""
    file, hash_, place = address.partition("#")
    stem = file.removesuffix(".ipynb")
    return address if file in page.files else f"{stem}.html{hash_}{place}" if stem != file and stem in names else None


def check(name: str, notebook: nbformat.NotebookNode) -> None:
    """Raise `SiteError` for the first cell that failed or was not run."""
    for i, problem in _problems(notebook):
        raise SiteError(f"{name}, cell {i}: {problem}; run the notebook to its end")


def cut(notebook: nbformat.NotebookNode) -> None:
    """End a notebook with the first cell that failed or was not run; what papermill says of it is left out too."""
    notebook.cells = [cell for cell in notebook.cells if FAILURE_TAG not in cell.metadata.get("tags", [])]
    for i, _ in _problems(notebook):
        del notebook.cells[i + 1 :]
        break


def _problems(notebook: nbformat.NotebookNode) -> Iterator[tuple[int, str]]:
    for i, cell in enumerate(notebook.cells):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        wrong = [f"{o.ename}: {o.evalue}".split("\n")[0] for o in cell.outputs if o.output_type == "error"]
        if wrong or cell.execution_count is None:
            yield i, wrong[0] if wrong else "not executed"


def _html(notebook: nbformat.NotebookNode) -> str:
    options = {"exclude_input_prompt": True, "exclude_output_prompt": True, "embed_images": True}
    exporter = HTMLExporter(template_name="cells", extra_template_basedirs=[str(TEMPLATES)], **options)
    return exporter.from_notebook_node(notebook, {"metadata": {"path": str(paths.NOTEBOOKS)}})[0]


def _draw(page: Page, notebook: nbformat.NotebookNode) -> list[dict]:
    """Put the figures into the notebook as HTML; what `_figure` gives of each."""
    figures = []
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if drawn := output.get("data", {}).get(MIME):
            figures.append(_figure(page, drawn, len(figures) + 1))
            output.data = {"text/html": render("figure.html.j2", figure=figures[-1])}
    return figures


def _figure(page: Page, drawn: dict, number: int) -> dict:
    """Add a figure to the page's files, in each shape that it has; `svg`, `narrow`, `thumbnail`: file and size in
    pixels; its number, words, and places."""
    stem = f"{page.name}-{number}"
    kinds = {kind: _file(page, drawn[kind], stem + end) for kind, end in ENDS.items() if kind in drawn}
    about = dict.fromkeys(ENDS) | kinds | {"number": f"Figure {page.name[:2].lstrip('0')}.{number}"}
    about |= {name: drawn.get(name) for name in ("cells", "points", "by_epoch")}
    return about | {name: drawn[name] for name in ("title", "source", "note", "alt")}


def _file(page: Page, svg: str, stem: str) -> dict:
    file = f"figures/{stem}.svg"
    page.files[file] = sanitize.figure(page.name, svg)
    width, height = (round(float(points) * 4 / 3) for points in SIZE.search(page.files[file]).groups())
    return {"file": file, "width": width, "height": height}


def answer(soup: BeautifulSoup) -> str:
    """One line that answers the notebook: what its run computed of what was seen, or else its first paragraph."""
    seen = soup.find("h2", id="What-we-saw")
    computed = seen.find_next("div", class_="output_markdown") if seen else None
    line = computed.find("li") if computed else soup.p
    return line.get_text() if line else ""

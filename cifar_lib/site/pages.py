"""The pages of a run: an index, one for each notebook, and one to look at mistakes; opened from the disk, offline."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import numpy as np

from cifar_lib.config import Config
from cifar_lib.evidence import metrics
from cifar_lib.runs import Run
from cifar_lib.runs.plain_network import PlainNetwork
from cifar_lib.runs.predictions import Mistakes
from cifar_lib.site import demo, notebook_page, overlay, sprite_sheet
from cifar_lib.site.rendering import TEMPLATES, render
from cifar_lib.system import progress
from cifar_lib.system.files import OutputError

TITLES = {"cifar10": "CIFAR-10", "digits": "digits (not CIFAR-10)"}
UNKNOWN = {"device": "unknown", "threads": 0, "python": "unknown", "packages": {}, "revision": "", "continued": []}
NEW, EARLIER = ".report.new", ".report.earlier"  # where a site is made, and where the one before it waits meanwhile
RECIPE = Config()  # as published: 300 epochs, 64 channels
STATIC = ("style.css", "script.js", "mistakes.js", "epochs.js")
DOWNLOADS = {
    "history.csv": "losses and accuracies by epoch",
    "confusions.csv": "validation images by true and predicted class, by epoch",
    "shifts.csv": "accuracy on mirrored and corrupted images",
    "submission.csv": "labels of the unlabelled images",
    "submission_demo.csv": "labels of the test set, fed as if unlabelled",
    "config.json": "every setting",
    "environment.json": "machine, versions, revision",
}


def publish(
    run: Run,
    notebooks: list[Path],
    mistakes: Mistakes,
    failed: Mapping = MappingProxyType({}),
    network: PlainNetwork | None = None,
    to: Path | None = None,
    nearest: np.ndarray | None = None,
) -> Path:
    """The executed `notebooks` of `run` as the folder `to`, runs/<run>/report if None, whole or as it was before; its
    index.html.

    `mistakes`: the wrong test images to look at, the surest first. `failed`: by name, what stopped a notebook, to be
    shown above as much of it as ran. `network`: a small one, of any run, to try on a page of its own. `nearest`: the
    training images nearest to explained mistakes, as `inference.mistakes.nearest` gives them. Raises
    `SiteError` for any other notebook that failed or was not executed, `OutputError` where nothing can be written.
    """
    target = to or run.folder / "report"
    _recover(target)
    _swap(target, files(run, notebooks, mistakes, failed, network, nearest))
    return target / "index.html"


def _swap(target: Path, content: dict[str, str | bytes]) -> None:
    new, earlier = target.with_name(NEW), target.with_name(EARLIER)
    try:
        for name, data in content.items():
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            (new / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        if target.exists():
            target.rename(earlier)
        new.rename(target)
    except OSError as error:
        raise OutputError(f"{target}: the pages cannot be written ({error.strerror}); earlier ones are kept") from None
    finally:
        _recover(target)


def _recover(target: Path) -> None:
    """Put the earlier site back where a new one was not made to its end, and remove what is half made."""
    new, earlier = target.with_name(NEW), target.with_name(EARLIER)
    with suppress(OSError):  # where nothing can be written nothing can be removed either
        if earlier.exists() and not target.exists():
            earlier.rename(target)
        for folder in (new, earlier):
            shutil.rmtree(folder, ignore_errors=True)


def files(
    run: Run,
    notebooks: list[Path],
    mistakes: Mistakes,
    failed: Mapping,
    network: PlainNetwork | None,
    nearest: np.ndarray | None,
) -> dict[str, str | bytes]:
    """Everything the site holds: path in it to content."""
    names, touch = [path.stem for path in notebooks], overlay.of(run, sprite_sheet.first(mistakes))
    pages = [notebook_page.read(path, names, str(failed.get(path.stem, "")), touch) for path in notebooks]
    common = facts(run) | {"home": run.name, "pages": pages, "settings": settings(run.config)}
    common["demo"] = facts(network.run) | demo.examples(network.run, mistakes) if network else None
    common |= {"downloads": {name: about for name, about in DOWNLOADS.items() if run.has(name)}}
    made = {name: (run.folder / name).read_bytes() for name in common["downloads"]}
    made |= {name: (TEMPLATES / name).read_text(encoding="utf-8") for name in STATIC}
    made |= {name: text for page in pages for name, text in page.files.items()}
    for before, here, after in zip([None, *pages], pages, [*pages[1:], None], strict=False):
        place = {"current_page": here.name, "here": here, "before": before, "after": after}
        made[f"{here.name}.html"] = render("page.html.j2", **common, **place)
    shown = sprite_sheet.listed(mistakes, run) | {"nearest": nearest is not None}
    made |= _tiles(sprite_sheet.first(mistakes), nearest)
    own = {name: render(f"{name}.html.j2", **common, **shown, current_page=name) for name in ("mistakes", "index")}
    if network:
        tried = common | common["demo"] | demo.parts(network)
        own["demo"] = render("demo.html.j2", **tried, current_page="demo")
    return made | {f"{name}.html": text for name, text in own.items()}


def _tiles(mistakes: Mistakes, nearest: np.ndarray | None) -> dict[str, bytes]:
    """The pictures of the mistakes, and of the training images nearest to them; without any, no file."""
    sheets = {sprite_sheet.FILE: mistakes.images, sprite_sheet.NEAREST: nearest}
    return {
        name: sprite_sheet.picture(images.reshape(-1, *images.shape[-3:]))
        for name, images in sheets.items()
        if images is not None and images.size
    }


def facts(run: Run) -> dict:
    """What a reader must know of a run before any figure: data set, accuracy with its interval, how short it was."""
    summary = run.summary
    right = round(summary["test_accuracy"] * summary["test_images"])
    low, high = metrics.wilson(right, summary["test_images"])
    about = {"run": summary, "environment": UNKNOWN | run.environment, "title": TITLES[summary["dataset"]]}
    return about | {"low": low, "high": high, "short": short(summary), "time": progress.duration(summary["seconds"])}


def short(summary: dict) -> str:
    """What to say of a training that cannot show how good the network gets; else nothing."""
    epochs, channels = summary["epochs"], summary["num_channels"]
    if epochs < 5:
        return f"{'One epoch' if epochs == 1 else f'{epochs} epochs'}: shows that it runs, not how good it gets."
    if summary["dataset"] == "cifar10" and epochs < RECIPE.max_epochs:
        narrow = "" if channels == RECIPE.num_channels else f", {channels} of its {RECIPE.num_channels} channels"
        return f"Short run: {epochs} of the recipe's {RECIPE.max_epochs} epochs{narrow}."
    return ""


def settings(config: Config) -> list[dict]:
    """Every setting: name, value, the recipe's, and whether they differ."""
    recipe, own = RECIPE.model_dump(mode="json"), config.model_dump(mode="json")
    return [{"name": k, "value": v, "recipe": recipe[k], "differs": v != recipe[k]} for k, v in own.items()]

"""What people read is plain English: no phrase that CONTRIBUTING tells not to write."""

import re

import nbformat
import pytest

from cifar_lib import paths

NOT = {
    r"cannot be told": "inconclusive, or too small to measure",
    r"numbers? that (is|are) none|that is no number|a number that is none": "NaN",
    r"less the base\b": "difference from the baseline",
    r"\bthe base\b": "the baseline",
    r"not to be had": "not available",
    r"\b(s|seconds|images|multiply-adds|milliseconds|steps|rows?|means?|numbers?|gathers?) an? "
    r"(step|image|channel|epoch|batch|class|second)\b": "per",
    r"[Tt]he opposite was found": "contradicted",
    r"\bours less\b": "difference",
    r"\btrainings of\b": "training runs",
}
HISTORY = ("LOG.md", "CHANGELOG.md", "CONTRIBUTING.md")  # as it was written then, and the list itself
LINES = [*paths.ROOT.glob("*.md"), *paths.ROOT.glob("cifar_lib/*.md"), *paths.NOTEBOOKS.glob("*.md")]
LINES = [path for path in LINES if path.name not in HISTORY]
SOURCES = sorted(paths.ROOT.glob("cifar_lib/**/*.py"))
BOOKS = sorted(paths.NOTEBOOKS.glob("[0-9]*.ipynb"))


def texts() -> dict[str, str]:
    """Name -> text of every page, module and notebook; of a notebook its prose and code, not what it printed."""
    read = {str(path.relative_to(paths.ROOT)): path.read_text(encoding="utf-8") for path in (*LINES, *SOURCES)}
    return read | {path.name: "\n".join(cell.source for cell in nbformat.read(path, 4).cells) for path in BOOKS}


@pytest.mark.parametrize("phrase", NOT)
def test_no_page_says(phrase):
    found = {name: re.search(phrase, text) for name, text in texts().items()}
    found = {name: hit[0] for name, hit in found.items() if hit}
    assert not found, f"better: {NOT[phrase]}"


def test_such_words_are_seen():
    said = "its cost cannot be told from none; 3 images a second; less the base's; a loss that is no number"
    said += "; 9 s an epoch; the opposite was found of it; ours less plain"
    assert sum(bool(re.search(phrase, said)) for phrase in NOT) == 7

"""docs/ is what `make site` makes of the committed notebooks, byte for byte, and small enough for git."""

from cifar_lib import paths
from cifar_lib.inference import plain
from cifar_lib.runs import Run
from cifar_lib.site import pages, refresh_notebooks


def held() -> dict[str, bytes]:
    return {
        path.relative_to(paths.DOCS).as_posix(): path.read_bytes() for path in paths.DOCS.rglob("*") if path.is_file()
    }


def test_docs_are_those_of_the_committed_notebooks():
    run = Run(paths.REFERENCE)
    made = pages.files(run, refresh_notebooks.every(), run.mistakes, {}, plain.narrowest())
    made = {name: data if isinstance(data, bytes) else data.encode() for name, data in made.items()}
    have = held()
    assert made.keys() == have.keys()
    assert [name for name in made if made[name] != have[name]] == [], "make site, then commit docs/"


def test_docs_are_small():
    assert sum(map(len, held().values())) < 4_000_000

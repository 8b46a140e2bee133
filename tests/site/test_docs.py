"""docs/ is what `make site` makes of the committed notebooks, byte for byte, small, and without the large packages."""

import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata

import pytest

from cifar_lib import paths

INSTALLED = {one.metadata["Name"].lower() for one in metadata.distributions()}
# The site, where no package can be imported that its own requirements do not name.
MAKE = """
import sys
from pathlib import Path
for name in sys.argv[2:]:
    sys.modules[name] = None
import cifar_lib
run, notebooks = cifar_lib.runs.Run(cifar_lib.paths.REFERENCE), cifar_lib.notebook.committed()
network = cifar_lib.evidence.networks.narrowest()
cifar_lib.site.publish(run, notebooks, run.mistakes, network=network, to=Path(sys.argv[1]))
"""


def pins(name: str) -> dict[str, str]:
    """Distribution -> version, as a requirements file has them."""
    lines = (line.split("#")[0].strip() for line in (paths.ROOT / name).read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if "==" in line)


def needed(names: Iterable[str]) -> set[str]:
    """Those distributions, and all that they need in turn."""
    found, ahead = set(), list(names)
    while ahead:
        if (name := ahead.pop()) not in found:
            found.add(name)
            lines = metadata.requires(name) or [] if name in INSTALLED else []
            ahead += [re.match(r"[\w.-]+", line)[0].lower() for line in lines if "extra ==" not in line]
    return found


def held(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, bytes]:
    left_out = pins("requirements.txt").keys() - needed(pins("requirements-site.txt"))
    modules = [name for name, of in metadata.packages_distributions().items() if left_out.issuperset(of)]
    assert {"torch", "matplotlib", "scipy"} <= set(modules) and not {"numpy", "PIL"} & set(modules)
    folder = tmp_path_factory.mktemp("site") / "docs"
    subprocess.run([sys.executable, "-c", MAKE, folder, *modules], check=True, cwd=paths.ROOT)
    return held(folder)


def test_docs_are_those_of_the_committed_notebooks(made):
    have = held(paths.DOCS)
    assert made.keys() == have.keys()
    assert [name for name in made if made[name] != have[name]] == [], "make site, then commit docs/"


def test_docs_are_small():
    assert sum(map(len, held(paths.DOCS).values())) < 4_000_000


def test_the_sites_own_environment_has_the_versions_of_the_whole_one():
    assert pins("requirements-site.txt").items() <= pins("requirements.txt").items()

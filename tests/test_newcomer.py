"""A newcomer has no CIFAR-10: a test without it skips and says so, or is the very test that it is with it."""

import re

import pytest

from cifar_lib import paths

ASKS = re.compile(r"""(environ(\.get\(|\[)|getenv\()["']CIFAR10_ROOT["'](?!\]\s*=)|\.cifar10_root\(|if .*at_hand\(""")
OTHERS = sorted({*paths.ROOT.glob("tests/**/*.py")} - {paths.ROOT / "tests" / "test_newcomer.py"})


def having(pattern: str | re.Pattern) -> dict[str, int]:
    """The files of tests that have it, and how often."""
    found = {path.name: len(re.findall(pattern, path.read_text(encoding="utf-8"))) for path in OTHERS}
    return {name: count for name, count in found.items() if count}


def test_only_the_fixture_that_skips_asks_where_the_data_is():
    """What else asks could train on CIFAR-10 here and on digits there, under one name."""
    assert having(ASKS) == {"conftest.py": 1}


@pytest.mark.parametrize("line", ['os.environ["CIFAR10_ROOT"]', "root = data.cifar10_root()", "if at_hand(config):"])
def test_such_a_line_is_seen(line):
    assert ASKS.search(line)


def test_only_its_own_tests_ask_for_the_mistakes_that_are_at_hand():
    """All of a run's, or few of them: a page to test is made of as many everywhere. `conftest` asks for the digits'."""
    assert having(r"mistakes\.wrong\(").keys() == {"conftest.py", "test_mistakes.py"}

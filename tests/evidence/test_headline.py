"""README's first table and the model card say what the run's predictions say."""

import numpy as np
import pytest

from cifar_lib import paths
from cifar_lib.evidence import headline
from cifar_lib.evidence.published import PUBLISHED
from cifar_lib.runs import Run


@pytest.fixture(scope="module")
def reference() -> Run:
    return Run(paths.REFERENCE)


def test_ours_comes_first_and_every_other_row_has_its_source(reference):
    ours, *others = headline.result_lines(reference)
    assert "**ours**" in ours and f"{(reference.predictions.right).mean():.2%}" in ours
    assert len(others) == len(headline.OTHERS) and all(
        line.rstrip(" |").endswith(")") and "](https://" in line for line in others
    )
    assert "95.01%, averaged over 6 views |" in others[0]


@pytest.mark.parametrize(("device", "said"), [("cpu: A CPU", "3 CPU cores"), ("cuda: An H100", "An H100")])
def test_the_machine_is_the_run_s_own(device, said):
    assert headline._machine({"device": device, "threads": 3}) == said


def test_the_strongest_is_the_strongest():
    assert headline.STRONGEST.accuracy == max(one.accuracy for one in PUBLISHED)


def test_classes_are_counted_by_hand(reference):
    found = reference.predictions
    cats = found.labels == 3
    cells = next(line for line in headline.class_lines(reference) if line.startswith("| cat |")).split(" | ")
    assert cells[1].startswith(f"{(found.predicted[cats] == 3).mean():.1%} (")
    assert cells[2] == f"{(found.labels[found.predicted == 3] == 3).mean():.1%}"
    counts = np.bincount(found.predicted[cats & ~found.right], minlength=10)
    assert cells[3].startswith(f"{reference.config.classes[counts.argmax()]}, {counts.max()} of {cats.sum():,}")


def test_a_source_is_named_as_people_name_it():
    assert headline.BY_ITS_AUTHORS.cited == "arXiv 2306.12100"
    assert headline.STRONGEST.cited == "hysts/pytorch_image_classification"

"""What explains a run: of its surest mistakes, by its own weights, and refused where there is nothing to explain."""

import numpy as np
import pytest
import torch
from study_runs import made, with_weights
from test_embedding import SMALL

from cifar_lib import data, runs
from cifar_lib.data.batches import normalise
from cifar_lib.evidence import metrics
from cifar_lib.inference import classifier, embedding, explanations, grad_cam, mistakes
from cifar_lib.runs.predictions import Predictions


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> runs.Run:
    """One that has ended, with the predictions of its weights, explained."""
    run = with_weights(made(tmp_path_factory.mktemp("explained") / "run", 0.5, **SMALL))
    test = data.load(run.config).test
    logits = classifier.load(run).logits(data.Images(test.images, test.labels))
    said = Predictions(test.labels, logits.argmax(1), logits)
    run.finish(said, mistakes.most_confident(said, test.images, 25))
    explanations.measure(run)
    return run


def test_the_surest_mistakes_are_explained(run):
    found, said = run.explained, run.predictions
    wrong = metrics.most_confident_mistakes(said.confidence, said.right, explanations.MISTAKES)
    assert found.index.tolist() == wrong.tolist() and len(wrong) > 50
    assert len(found.places) == min(embedding.MOST, len(said.labels))


def test_heat_is_grad_cam_of_the_predicted_and_of_the_true_class(run):
    found, network, test = run.explained, classifier.load(run), data.load(run.config).test
    assert found.heat.shape == (len(found.index), 2, 16, 16)
    for row in (0, 7):
        i = found.index[row]
        x = normalise(torch.from_numpy(test.images[i : i + 1]).permute(0, 3, 1, 2), run.config)
        labels = int(run.predictions.predicted[i]), int(test.labels[i])
        both = np.stack([grad_cam.heat_map(network.network, x, label) for label in labels])
        assert (np.abs(found.heat[row] - 9 * both / both.max()) <= 0.5 + 1e-4).all() and found.heat[row].max() == 9


def test_the_nearest_training_images_are_the_nearest(run):
    """By the cosine of what the last layer gets, found again one by one."""
    found, network, dataset = run.explained, classifier.load(run), data.load(run.config)
    train = embedding.features(network, dataset.train)
    wrong = embedding.features(network, dataset.test[found.index])
    assert (found.nearest_labels == dataset.train.labels[found.nearest]).all()
    for row in range(0, len(wrong), 10):
        cosines = train @ wrong[row] / np.linalg.norm(train, axis=1) / np.linalg.norm(wrong[row])
        assert np.sort(cosines)[::-1][:3] == pytest.approx(cosines[found.nearest[row]], abs=1e-5)
    assert explanations.nearest(np.eye(3), 5 * np.eye(3)[[2, 0, 1]], 1).tolist() == [[1], [2], [0]], (
        "whatever its length"
    )
    assert (mistakes.nearest(run) == dataset.train.images[found.nearest]).all()


def test_a_network_without_mistakes_has_none_to_explain(tmp_path):
    perfect = with_weights(made(tmp_path / "run", 1.0, **SMALL))
    explanations.measure(perfect)
    found = perfect.explained
    assert len(found.index) == 0 and len(found.places) > 0
    assert mistakes.nearest(perfect).shape == (0, explanations.NEIGHBOURS, 32, 32, 3)


def test_explained_twice_is_the_same(run):
    before = run.read("explained.npz")
    explanations.measure(run)
    assert run.read("explained.npz") == before


def test_a_run_that_is_not_explained_says_how(run, tmp_path):
    other = made(tmp_path / "run", 0.5, **SMALL)
    assert mistakes.nearest(other) is None
    with pytest.raises(runs.RunError, match="missing: measure it with: python -m cifar_lib explain run$"):
        _ = other.explained
    (tmp_path / "run" / "explained.npz").write_bytes(run.read("explained.npz")[:99])
    with pytest.raises(runs.DamagedRun, match=r"explained\.npz is damaged") as refused:
        _ = other.explained
    assert "\n" not in str(refused.value)


def test_a_training_that_has_not_ended_is_refused(tmp_path):
    run = made(tmp_path / "run", 0.5, **SMALL)
    (run.folder / "predictions.npz").unlink()
    with pytest.raises(runs.RunError, match="its training has not ended"):
        explanations.measure(run)


def test_explanations_of_other_answers_are_refused(run, tmp_path):
    other = made(tmp_path / "other", 1.0, **SMALL)
    (other.folder / "explained.npz").write_bytes(run.read("explained.npz"))
    with pytest.raises(runs.DamagedRun, match="explains other answers than this run's; measure it again with: "):
        _ = other.explained

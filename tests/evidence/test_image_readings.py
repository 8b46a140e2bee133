"""Sentences about one image's way: each says what its numbers are, whatever they are."""

from types import SimpleNamespace

import numpy as np
import pytest

from cifar_lib.evidence import image_readings as readings

NAMES = ["cat", "dog", "ship"]


def test_architecture_counts_residual_blocks_alone():
    parts = [("image", 0, 0), ("stem", 10, 1), ("stage 1", 30, 2), ("stage 2", 60, 3), ("linear", 20, 0)]
    parts = [SimpleNamespace(name=name, parameters=own, blocks=[None] * blocks) for name, own, blocks in parts]
    assert readings.architecture(parts) == "5 residual blocks and 120 parameters, of which 50% lie in stage 2."


def test_doubt_says_how_rare_the_margin_is():
    said = np.array([[0.9, 0.1, 0], [0.45, 0.4, 0.15], [0.2, 0.3, 0.5]])
    assert readings.doubt(said, 0, 1) == (
        "By the stored predictions, the two most probable classes of test image 1 lie 5.0 points apart, the least of "
        "all 3; those of test image 0 lie 80.0 points apart."
    )
    assert "test image 2 lie 20.0 points apart, 1 of all 3 lie closer; those" in readings.doubt(said, 0, 2)
    assert "no predictions" in readings.doubt(None, 0, 1) and "no predictions" in readings.doubt(said, 0, 3)


def test_means_have_their_signs():
    channels = np.array([[[1.0, -0.5]], [[-1.0, -0.5]], [[0.0, 0.0]]])
    assert readings.normalised(channels, ["red", "green", "blue"]) == (
        "The means over this image are +0.25 (red), −0.75 (green), +0.00 (blue); 50% of its values lie below zero."
    )


def test_maps_have_their_share():
    every = np.zeros((4, 2, 2))
    every[1], every[2] = -3, 1
    assert readings.maps(every, np.array([1, 2])) == (
        "These 2 of 4 maps hold 100% of all activation, where an even share would be 50%; 50% of all values are zero."
    )
    assert "hold 75% of all" in readings.maps(every, np.array([1]))
    assert "hold 0% of all" in readings.maps(np.zeros((4, 2, 2)), np.array([1])), "of a network that is dead"


@pytest.mark.parametrize(
    ("trained", "said"),
    [
        ([0.1, 0.9], "training has spread the gates."),
        ([0.49, 0.51], "training has drawn the gates together."),
        ([0.45, 0.56], "training has hardly changed how far they spread."),
    ],
)
def test_gates_are_compared_by_their_distance_from_one_half(trained, said):
    networks = {"fresh": {"a": np.array([0.45]), "b": np.array([0.55])}, "trained": {"a": np.array(trained)}}
    sentence = readings.gates(networks)
    assert sentence.startswith("The mean distance of a gate from one half is 0.050 in the fresh network (all: 0.45 to")
    assert f"in the trained network (all: {min(trained):.2f} to {max(trained):.2f}): {said}" in sentence


def test_gates_of_a_network_alone_and_of_one_without():
    alone = readings.gates({"fresh": {"a": np.array([0.4, 0.5])}})
    assert alone == "The mean distance of a gate from one half is 0.050 in the fresh network (all: 0.40 to 0.50)."
    assert readings.gates({"fresh": {}, "trained": {}}) == "This network has no gates."


def test_answers_say_what_is_right_and_what_is_not():
    said = {"the ship": np.array([0.05, 0.1, 0.85]), "the doubtful cat": np.array([0.3, 0.4, 0.3])}
    assert readings.answers(said, [2, 0], NAMES) == (
        "Of the ship it says ship with 85.00%, ahead of dog with 10.00%, which is right. "
        "Of the doubtful cat it says dog with 40.00%, ahead of cat with 30.00%, which is wrong; the true class is cat."
    )
    third = readings.answers({"the ship": said["the ship"]}, [0], NAMES)
    assert third.endswith("ahead of dog with 10.00%, which is wrong; the true class is cat with 5.00%.")


def test_heat_is_measured_by_places_and_overlap():
    cat, dog = np.array([[6.0, 2], [2, 0]]), np.array([[0, 0], [5.0, 5]])
    assert readings.heat({"the ship": {"cat": cat, "dog": dog}}) == (
        "For the ship, half of the heat for cat lies in 1 of 4 places, and the heat for dog overlaps it by 20%."
    )
    flat = readings.heat({"a": {"cat": np.ones((2, 2)), "dog": np.ones((2, 2))}})
    assert "lies in 2 of 4 places" in flat and "by 100%" in flat
    cold = readings.heat({"a": {"cat": cat, "dog": 0 * dog}, "b": {"cat": 0 * cat, "dog": dog}})
    assert cold == "For a, no place raises the logit of dog. For b, no place raises the logit of cat."

"""Neighbours, methods by architecture, and pictures with a map over them."""

import io

import numpy as np
import pytest
from PIL import Image

from sortal.errors import UnknownName
from sortal.explanation.methods import METHODS, by_architecture, known
from sortal.explanation.neighbours import nearest
from sortal.explanation.overlay import SIDE, drawn, heat_of, pair, small


def test_the_nearest_training_images_are_those_in_the_same_direction() -> None:
    training = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    found = nearest(
        np.array([[0.9, 0.1]], np.float32), training, ["x.jpg"], ["e", "n", "w", "s"], ["ant", "bee", "cat", "dog"], shown=2
    )
    assert found == [
        [
            {"source": "e", "label": "ant", "similarity": pytest.approx(0.9939, abs=1e-4)},
            {"source": "n", "label": "bee", "similarity": pytest.approx(0.1104, abs=1e-4)},
        ]
    ]


def test_an_image_is_not_its_own_neighbour() -> None:
    training = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    (found,) = nearest(training[:1], training, ["a"], ["a", "b", "c"], ["x", "y", "z"])
    assert [row["source"] for row in found] == ["b", "c"]
    assert nearest(training, training[:0], ["a", "b", "c"], [], []) == [[], [], []]


def test_features_that_all_images_share_tell_none_apart() -> None:
    shared = np.array([[100, 1, 0], [100, 0, 1], [100, -1, -1]], np.float32)
    (found,) = nearest(np.array([[100, 0.9, 0.1]], np.float32), shared, ["x"], ["a", "b", "c"], ["k", "l", "m"])
    assert found[0]["source"] == "a"
    assert found[0]["similarity"] > 0.8
    assert found[-1]["similarity"] < 0


def test_a_method_that_there_is_not_is_named_with_the_nearest() -> None:
    assert known("grad_cam") == "grad_cam"
    with pytest.raises(UnknownName, match="there is no method called 'gradcam'") as raised:
        known("gradcam")
    assert "did you mean 'grad_cam'" in raised.value.hint


@pytest.mark.parametrize(
    ("possible", "expected"),
    [
        (("grad_cam", "integrated_gradients"), "grad_cam"),
        (("attention_rollout", "integrated_gradients"), "attention_rollout"),
        (("integrated_gradients",), "occlusion"),
        ((), "occlusion"),
    ],
)
def test_the_method_goes_by_the_architecture(possible: tuple[str, ...], expected: str) -> None:
    method, why = by_architecture(possible)
    assert method == expected
    assert method in METHODS
    assert why.startswith("the network")


def opened(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.mark.parametrize(("side", "channels"), [(28, 1), (64, 3), (224, 3), (500, 3)])
def test_a_pair_is_the_picture_and_beside_it_the_same_with_the_map(side: int, channels: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (side, side, channels), dtype=np.uint8)
    data = pair(image, np.eye(7))
    shown = max(SIDE, side)
    pixels = opened(data)
    assert data.startswith(b"\x89PNG")
    assert pixels.shape == (shown, 2 * shown + 8, 3)
    if side >= SIDE:
        assert (pixels[:, :side] == image).all()
    colourful = np.ptp(pixels[:, shown + 8 :], axis=2)
    assert colourful[5, 5] > 40  # in the corner of the map's diagonal, 0 in the other
    assert colourful[5, -5] == 0


def test_colour_grows_with_the_map_and_what_was_not_looked_at_has_none() -> None:
    image = np.full((100, 100, 3), 128, np.uint8)
    ramp = np.tile(np.linspace(0, 1, 10), (10, 1))
    pixels = np.asarray(drawn(image, ramp, 100)).astype(int)
    colourful = np.ptp(pixels, axis=2)[50]
    assert colourful[2] == 0
    assert colourful[50] > 20
    brightness = pixels.mean(axis=2)[50]
    assert brightness[-1] > brightness[55]


@pytest.mark.parametrize("values", [np.zeros((7, 7)), np.full((7, 7), np.nan), -np.ones((7, 7))])
def test_a_map_that_names_no_place_leaves_the_picture_grey(values: np.ndarray) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert heat_of(values, 64).max() == 0
    assert np.ptp(np.asarray(drawn(image, values, 64)).astype(int), axis=2).max() == 0


def test_a_map_as_fine_as_the_picture_is_smoothed_not_dusted() -> None:
    random = np.random.default_rng(0)
    dust = random.random((112, 112)) * (random.random((112, 112)) > 0.9)
    dust[40:60, 40:60] += 0.5
    heat = heat_of(dust, 112)
    assert heat[50, 50] > 0.7
    assert np.abs(np.diff(heat, axis=0)).max() < 0.2


def test_one_hot_pixel_does_not_darken_the_rest_of_a_map() -> None:
    values = np.full((40, 40), 0.5)
    values[0, 0] = 100
    assert heat_of(values, 160)[100, 100] > 0.9


def test_a_small_map_is_a_small_file() -> None:
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert small(image, np.eye(7), 192).startswith(b"\xff\xd8")
    smooth = np.broadcast_to(np.arange(224, dtype=np.uint8)[:, None, None], (224, 224, 3)).copy()
    assert len(small(smooth, np.eye(7), 192)) < 10_000

"""Hiding and deleting, with functions for models whose reasons are known."""

import numpy as np
import pytest

from sortal.events import Progress
from sortal.explanation.deletion import alike, deletion
from sortal.explanation.occlusion import PLACES, hidden, occlusion


def by_corner(images: np.ndarray) -> np.ndarray:
    """A model that looks at the upper left quarter alone: the brighter it is, the likelier class 1."""
    side = images.shape[1] // 2
    share = images[:, :side, :side].mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - share, share], axis=1).astype(np.float32)


def picture(side: int = 40, channels: int = 3) -> np.ndarray:
    """Bright in the upper left quarter, dark elsewhere."""
    image = np.full((side, side, channels), 20, np.uint8)
    image[: side // 2, : side // 2] = 240
    return image


def test_what_the_model_looks_at_is_found_and_nothing_else() -> None:
    (found,) = occlusion(by_corner, picture()[None], np.array([1]))
    assert found.shape == (PLACES, PLACES)
    quarter = np.zeros((PLACES, PLACES), bool)
    quarter[:5, :5] = True
    assert found[quarter].min() > 0
    assert found[7:].max() == found[:, 7:].max() == 0


def test_what_speaks_against_a_label_does_not_count_for_it() -> None:
    (found,) = occlusion(by_corner, picture()[None], np.array([0]))
    assert found.max() == 0  # hiding the bright quarter makes 'dark' likelier everywhere


@pytest.mark.parametrize(("side", "channels"), [(4, 1), (9, 3), (10, 3), (33, 1)])
def test_images_of_any_size_have_a_map_of_as_many_places_as_fit(side: int, channels: int) -> None:
    images = np.stack([picture(side, channels)] * 2)
    before = images.copy()
    found = occlusion(by_corner, images, np.array([1, 1]))
    places = min(PLACES, side)
    assert found.shape == (2, places, places)
    assert (found[0] == found[1]).all()
    assert (images == before).all()
    assert hidden(images[0], places).shape == (places**2, side, side, channels)


def test_every_pixel_is_hidden_at_some_place() -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 37, 3), dtype=np.uint8)
    image[18, 18] = 0
    assert (hidden(image, 10) != image).any(axis=(0, 3)).all()


def test_no_images_have_no_maps_and_progress_counts_the_others() -> None:
    events: list[Progress] = []
    assert occlusion(by_corner, np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int64)).shape == (0, 8, 8)
    occlusion(by_corner, picture()[None], np.array([1]), observe=events.append)
    assert [(event.done, event.total) for event in events] == [(1, 1)]


def test_deleting_what_the_model_needs_costs_more_than_deleting_at_random() -> None:
    image = picture()
    (found,) = occlusion(by_corner, image[None], np.array([1]))
    by_map = deletion(by_corner, image, 1, found)
    random = np.random.default_rng(0)
    at_random = [deletion(by_corner, image, 1, random.random(found.shape)) for _ in range(5)]
    assert by_map < min(at_random) - 0.05


def test_deletion_begins_with_the_whole_image_and_ends_with_none_of_it() -> None:
    seen: list[np.ndarray] = []

    def watch(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return by_corner(images)

    image = picture()
    value = deletion(watch, image, 1, np.arange(16.0).reshape(4, 4), steps=4)
    (images,) = seen
    assert len(images) == 5
    assert (images[0] == image).all()
    assert np.ptp(images[-1].astype(int)) == 0
    assert (images[1][:30] == image[:30]).all()  # the highest quarter of the map, its last row, goes first
    assert np.ptp(images[1][30:].astype(int)) == 0
    assert 0 <= value <= 1


def test_maps_are_alike_by_the_order_of_their_places() -> None:
    one = np.arange(9.0).reshape(3, 3)
    assert alike(one, one**3) == pytest.approx(1)
    assert alike(one, -one) == pytest.approx(-1)
    assert alike(one, np.zeros((3, 3))) == 0

import numpy as np
import pytest
from PIL import Image, ImageOps

from sortal.health.twins import Nearest, nearest, twins
from tests.health.test_same import picture, thumbs

pytest.importorskip("usearch")


def found(images, *, like=0.9) -> list[int]:
    """Twins of a few pictures where features call all of them alike, as they are and mirrored."""
    count = len(images)
    rows = np.array([[other for other in range(count) if other != row] for row in range(count)])
    likeness = np.full(rows.shape, like, np.float32)
    hashes = np.random.default_rng(0).integers(0, 2**64, count, dtype=np.uint64)
    return twins(Nearest(rows, likeness, rows, likeness), thumbs(*images), hashes).tolist()


def test_copies_of_every_kind_join_and_strangers_stay_apart():
    image = picture(1)
    copies = [image, picture(2), ImageOps.mirror(image), image.crop((0, 10, 145, 155)), picture(3)]
    assert found(copies) == [0, 1, 0, 0, 4]


def test_what_features_do_not_call_alike_is_not_compared():
    assert found([picture(1), picture(1)], like=0.1) == [0, 1]


def test_equal_hashes_are_compared_whatever_the_features_say():
    none = np.full((2, 1), -1)
    nobody = Nearest(none, none.astype(np.float32), none, none.astype(np.float32))
    hashes = np.array([7, 7], np.uint64)
    assert twins(nobody, thumbs(picture(1), picture(1)), hashes).tolist() == [0, 0]
    assert twins(nobody, thumbs(picture(1), picture(2)), hashes).tolist() == [0, 1]


def test_pictures_in_company_of_the_nearly_alike_need_more_likeness():
    """Shoes from the left: each is like several others and the copy of none."""
    random = np.random.default_rng(0)

    def noisy(image: Image.Image, deviation: float) -> Image.Image:
        pixels = np.asarray(image.resize((32, 32))) + random.normal(0, deviation, (32, 32))
        return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

    shoes = [noisy(picture(1), 17) for _ in range(6)]
    nearly = noisy(shoes[0], 15)
    assert found([shoes[0], nearly]) == [0, 0]
    assert found([*shoes, nearly]) == [0, 1, 2, 3, 4, 5, 6]
    assert found([*shoes, shoes[0]]) == [0, 1, 2, 3, 4, 5, 0]


def test_nobody_is_a_neighbour_of_itself():
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    result = nearest(vectors, vectors)
    assert (result.rows_NC != np.arange(40)[:, None]).all()
    assert result.rows_NC.shape == (40, 8)


def test_no_pictures_and_one_picture_are_no_mistake():
    assert found([picture(1)]) == [0]

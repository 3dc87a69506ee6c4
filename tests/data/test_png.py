import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from sortal.data.png import encode


@given(
    arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=9)),
    st.sampled_from([None, 1, 2, 3, 4]),
    st.sampled_from([0, 6]),
)
def test_pictures_come_back_as_they_were(images, channels, compression):
    if channels is not None:
        images = np.repeat(images[..., None], channels, axis=3) ^ np.arange(channels, dtype=np.uint8)
    files = encode(images, compression=compression)
    assert len(files) == len(images)
    for file, image in zip(files, images, strict=True):
        with Image.open(io.BytesIO(file)) as opened:
            assert opened.format == "PNG"
            opened.load()
            np.testing.assert_array_equal(np.asarray(opened), image[..., 0] if channels == 1 else image)


def test_a_picture_larger_than_one_stored_block_comes_back_too():
    image = np.random.default_rng(0).integers(0, 256, (1, 300, 400, 3), dtype=np.uint8)  # deflate stores 65,535 bytes a block
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode(image)[0]))), image[0])


def test_arrays_in_any_memory_order_are_taken():
    image = np.arange(24, dtype=np.uint8).reshape(1, 4, 6)
    assert encode(np.asfortranarray(image)) == encode(image)
    assert encode(image[:, ::-1])[0] == encode(image[:, ::-1].copy())[0]


def test_no_pictures_make_no_files():
    assert encode(np.zeros((0, 4, 4), np.uint8)) == []


@pytest.mark.parametrize("images", [np.zeros((1, 4, 4)), np.zeros((1, 4, 4, 5), np.uint8), np.zeros((1, 0, 4), np.uint8)])
def test_what_is_no_picture_is_a_programmers_mistake(images):
    with pytest.raises(AssertionError):
        encode(images)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sortal.data.arrays import natural_range, shaped, to_uint8
from sortal.errors import DataError


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.int64, 255), (bool, 1), (np.float32, 1), (np.float16, 1)])
def test_white_is_one_for_floats_and_booleans_and_255_for_whole_numbers(dtype, white):
    assert natural_range(np.zeros(1, dtype)) == (0, white)
    assert to_uint8(np.array([0, white]).astype(dtype), (0, white)).tolist() == [0, 255]


@given(arrays(np.uint8, 20))
def test_pixels_survive_the_way_over_floats(pixels):
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(to_uint8(pixels.astype(dtype) / 255, (0, 1)), pixels)


@given(arrays(np.float64, 10, elements=st.floats(-5, 9)))
def test_brighter_numbers_never_become_darker_pixels_and_all_lie_in_range(values):
    pixels = to_uint8(np.sort(values), (-3, 7), clip=True).astype(int)
    assert (np.diff(pixels) >= 0).all()


def test_numbers_outside_are_a_mistake_unless_clipped():
    with pytest.raises(DataError, match=r"float64 hold values from 0 to 255, expected 0 to 1") as caught:
        to_uint8(np.array([0.0, 255.0]), (0, 1))
    assert "value_range" in caught.value.hint
    assert to_uint8(np.array([-9.0, 0.5, 9.0]), (0, 1), clip=True).tolist() == [0, 128, 255]


def test_uint8_is_passed_on_without_a_copy():
    pixels = np.zeros((1, 2, 2, 1), np.uint8)
    assert to_uint8(pixels, (0, 255)) is pixels


def test_no_images_have_no_range_to_break():
    assert to_uint8(np.zeros((0, 4, 4)), (0, 1)).shape == (0, 4, 4)


def test_shapes_end_with_channels():
    assert shaped(np.zeros((5, 4, 6))).shape == (5, 4, 6, 1)
    assert shaped(np.zeros((5, 4, 6, 3))).shape == (5, 4, 6, 3)
    assert shaped(np.zeros((5, 49))).shape == (5, 7, 7, 1)
    assert shaped(np.zeros((5, 48)), (2, 8, 3)).shape == (5, 2, 8, 3)
    assert shaped(np.zeros((5, 48)), (6, -1)).shape == (5, 6, 8, 1)

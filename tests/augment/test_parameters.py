import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.augment import parameters
from sortal.augment.parameters import Position

MANY = Position(seed=1, epoch=2, keys_N=np.arange(5000, dtype=np.uint64))


def test_coins_fall_as_often_as_asked():
    for probability in (0.0, 0.25, 1.0):
        assert abs(parameters.coins(MANY, "flip", probability).mean() - probability) < 0.03


def test_an_alternating_coin_is_thrown_once_and_then_turned_over_from_epoch_to_epoch():
    epochs = [parameters.alternating(replace(MANY, epoch=epoch), "flip") for epoch in range(4)]
    assert (epochs[0] == epochs[2]).all()
    assert (epochs[0] == ~epochs[1]).all()
    assert (epochs[1] == epochs[3]).all()
    assert abs(epochs[0].mean() - 0.5) < 0.03
    assert (epochs[0] != parameters.alternating(replace(MANY, epoch=0, seed=2), "flip")).any()


def test_factors_are_never_negative_and_reach_both_ends():
    weak, strong = parameters.factors(MANY, "b", 0.2), parameters.factors(MANY, "b", 1.5)
    assert 0.8 <= weak.min() < 0.81
    assert 1.19 < weak.max() <= 1.2
    assert 0 <= strong.min() < 0.01
    assert 2.4 < strong.max() <= 2.5


def test_shifts_go_both_ways_by_each_number_of_pixels():
    shifts_N2 = parameters.shifts(MANY, 2)
    assert set(shifts_N2[:, 0]) == set(shifts_N2[:, 1]) == {-2, -1, 0, 1, 2}
    assert abs(np.corrcoef(shifts_N2.T)[0, 1]) < 0.1


@given(
    st.integers(8, 300),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)).map(sorted),
    st.tuples(st.floats(0.2, 5), st.floats(0.2, 5)).map(sorted),
)
def test_crop_boxes_lie_inside_the_image(side, scale, ratio):
    at = Position(0, 0, np.arange(50, dtype=np.uint64))
    top, left, height, width = parameters.crop_boxes(at, side, tuple(scale), tuple(ratio)).T
    assert min(top.min(), left.min()) >= 0
    assert min(height.min(), width.min()) >= 1
    assert (top + height).max() <= side
    assert (left + width).max() <= side


def test_crop_boxes_have_the_areas_and_shapes_asked_for():
    _, _, height, width = parameters.crop_boxes(MANY, 1000, (0.2, 0.6), (0.5, 2.0)).T
    area = height * width / 1e6
    assert 0.195 < area.min() < 0.21
    assert 0.55 < area.max() < 0.605
    assert abs(area.mean() - 0.39) < 0.02  # a little below 0.4, since large elongated boxes do not fit and are drawn again
    assert 0.49 < (width / height).min() < 0.52
    assert 1.94 < (width / height).max() < 2.02
    assert abs(np.log(width / height).mean()) < 0.05


def test_where_no_crop_fits_the_largest_centred_box_of_the_nearest_shape_is_taken():
    at = Position(0, 0, np.arange(3, dtype=np.uint64))
    # Width is at least twice the height and the area is all: it cannot fit a square.
    assert parameters.crop_boxes(at, 100, (1.0, 1.0), (2.0, 3.0)).tolist() == [[25, 0, 50, 100]] * 3
    assert parameters.crop_boxes(at, 100, (1.0, 1.0), (0.25, 0.5)).tolist() == [[0, 25, 100, 50]] * 3


def test_erased_boxes_have_the_areas_asked_for_and_stay_inside():
    top, left, height, width = parameters.erase_boxes(MANY, 1000, 1.0, (0.02, 0.33)).T
    area = height * width / 1e6
    assert 0.019 < area.min() < 0.03
    assert 0.3 < area.max() < 0.335
    assert (top + height).max() <= 1000
    assert (left + width).max() <= 1000
    assert (height / width).min() > 0.29
    assert (height / width).max() < 3.4


def test_some_images_are_erased_and_the_rest_are_left_alone():
    boxes_N4 = parameters.erase_boxes(MANY, 32, 0.25, (0.02, 0.33))
    erased_N = (boxes_N4[:, 2] > 0) & (boxes_N4[:, 3] > 0)
    assert abs(erased_N.mean() - 0.25) < 0.03
    assert not boxes_N4[~erased_N, 2:].any()


def test_nothing_is_erased_where_no_box_fits():
    assert not parameters.erase_boxes(MANY, 32, 1.0, (1.0, 1.0))[:, 2:].any()


@pytest.mark.parametrize(
    ("angle", "share", "zoom", "shear"),
    [(30, (0, 0), 1, 0), (0, (0.1, -0.2), 1, 0), (0, (0, 0), 1.5, 0), (12, (0.1, 0.3), 0.8, 20)],
)
def test_affine_matrices_are_the_inverse_of_the_motion_they_name(angle, share, zoom, shear):
    a, s = math.radians(angle), math.tan(math.radians(shear))
    # Forwards: shear along rows, turn, zoom, move.
    forward = zoom * np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]) @ np.array([[1, -s], [0, 1]])
    inverse = parameters.inverse_affine(*(np.array([v], dtype=float) for v in (angle, share, zoom, shear)))[0]
    place = np.array([0.3, -0.6])
    moved = forward @ place + 2 * np.array(share)
    assert np.allclose(inverse @ [*moved, 1], [*place, 1])


def test_a_box_matrix_leads_corners_to_corners():
    matrix = parameters.box_matrices(np.array([[2, 4, 6, 8]]), 16)[0]  # rows 2..8, columns 4..12 of 16
    assert np.allclose(matrix @ [-1, -1, 1], [4 / 8 - 1, 2 / 8 - 1, 1])
    assert np.allclose(matrix @ [1, 1, 1], [12 / 8 - 1, 8 / 8 - 1, 1])


def test_cutmix_boxes_cover_on_average_what_their_shares_say():
    _, _, height, width = parameters.cutmix_boxes(MANY, 1.0, 64, 64).T
    # With alpha 1 the unclipped area is even on 0..1; clipping at the border takes some of it.
    assert 0.25 < (height * width / 64**2).mean() < 0.4
    assert (height * width == 0).any()


def test_mixup_with_a_small_alpha_leaves_most_images_nearly_as_they_are():
    share_N = parameters.mixup_weights(MANY, 0.2)
    assert ((share_N < 0.05) | (share_N > 0.95)).mean() > 0.5
    assert abs(share_N.mean() - 0.5) < 0.03


def test_quarter_turns_are_drawn_evenly_as_often_as_asked():
    turns_N = parameters.quarter_turns(MANY, 0.8)
    assert np.allclose(np.bincount(turns_N) / len(MANY), [0.4, 0.2, 0.2, 0.2], atol=0.03)
    assert not parameters.quarter_turns(MANY, 0.0).any()


@pytest.mark.parametrize(("longest", "lengths"), [(3, {3}), (6, {3, 5}), (9, {3, 5, 7, 9})])
def test_lengths_are_odd_and_reach_the_longest(longest, lengths):
    assert set(parameters.odd_lengths(MANY, "motion", longest)) == lengths


@given(st.integers(2, 20), st.floats(0, 0.99))
def test_lines_of_a_grid_never_cross_and_end_at_the_borders(steps, strength):
    knots_N2K = parameters.grid_knots(Position(0, 0, np.arange(30, dtype=np.uint64)), steps, strength)
    assert knots_N2K.shape == (30, 2, steps + 1)
    assert (np.diff(knots_N2K, axis=2) > 0).all()
    np.testing.assert_allclose(knots_N2K[:, :, [0, -1]], [[[-1, 1], [-1, 1]]] * 30)


def test_cells_of_a_grid_widen_by_as_much_as_asked():
    width_N2S = np.diff(parameters.grid_knots(MANY, 5, 0.3), axis=2)
    ratio_N2 = width_N2S.max(axis=2) / width_N2S.min(axis=2)
    assert 1.7 < ratio_N2.max() <= 1.3 / 0.7 + 1e-9
    assert abs(np.corrcoef(width_N2S[:, 0, 0], width_N2S[:, 1, 0])[0, 1]) < 0.05


def test_some_of_a_position_draws_what_the_whole_draws():
    rows = np.array([7, 1])
    for draw in (lambda at: at.uniform("a"), lambda at: at.normals("a", 3), lambda at: at.grains("a", 3)):
        assert np.array_equal(draw(MANY.only(rows)), draw(MANY)[rows])

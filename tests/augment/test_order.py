import numpy as np
import pytest

from sortal.augment import order
from sortal.augment.parameters import Position
from sortal.recipe import Augment

MANY = Position(3, 1, np.arange(6000, dtype=np.uint64))
ON = {"crop": "padded", "flip": 0.5, "rotate": 10, "zoom": 0.1, "brightness": 0.2, "blur": (1, 2), "noise": (0.1, 0.1)}


def test_neighbours_that_move_images_without_bending_them_are_one_stage_and_the_rest_stand_alone():
    assert order.stages(Augment(**ON)) == [("crop", "flip", "rotate", "zoom"), ("brightness",), ("blur",), ("noise",)]


def test_stages_come_in_the_order_of_the_recipe():
    mine = Augment(**ON, order=("noise", "flip", "crop", "brightness", "zoom", "blur", "rotate"))
    # A padded crop copies bytes, so it begins a stage.
    assert order.stages(mine) == [("noise",), ("flip",), ("crop",), ("brightness",), ("zoom",), ("blur",), ("rotate",)]


def test_the_crop_of_the_centre_comes_first_where_the_order_does_not_name_it():
    assert order.stages(Augment(noise=(0.1, 0.1), order=("noise",))) == [("crop",), ("noise",)]
    assert order.stages(Augment(noise=(0.1, 0.1), order=("noise", "crop"))) == [("noise",), ("crop",)]


@pytest.mark.parametrize(
    ("words", "copying"),
    [
        ({"crop": "padded", "flip": 0.5, "quarter_turns": 0.5}, True),
        ({"vertical_flip": 0.5}, True),
        ({"crop": "resized", "flip": 0.5}, False),
        ({"flip": 0.5, "rotate": 5}, False),
    ],
)
def test_pixels_are_copied_where_no_interpolation_is_needed(words, copying):
    spec = Augment(**words)
    assert order.by_copying(order.stages(spec)[0], spec) == copying


def test_affine_operations_that_stand_as_usual_and_move_all_images_are_one_matrix():
    stage = ("crop", "shear", "rotate", "zoom", "translate")
    assert order.stretches(stage, {}) == [("crop",), stage[1:]]
    assert order.stretches(("zoom", "rotate", "translate"), {}) == [("zoom",), ("rotate", "translate")]
    some = {"rotate": np.array([True])}
    assert order.stretches(stage[1:], some) == [("shear",), ("rotate",), ("zoom", "translate")]


def test_every_image_gets_exactly_one_of_a_group_and_each_equally_often():
    spec = Augment(**ON, one_of=(("blur", "noise", "brightness"),))
    chosen = order.chosen(MANY, spec)
    counts = np.sum([chosen[name] for name in ("blur", "noise", "brightness")], axis=0)
    assert (counts == 1).all()
    assert all(abs(chosen[name].mean() - 1 / 3) < 0.03 for name in ("blur", "noise", "brightness"))


def test_groups_draw_for_themselves_and_with_the_chance_of_groups():
    spec = Augment(**ON, one_of=(("blur", "noise"), ("brightness", "zoom")), one_of_chance=0.5)
    chosen = order.chosen(MANY, spec)
    first_N, second_N = chosen["blur"] | chosen["noise"], chosen["brightness"] | chosen["zoom"]
    assert abs(first_N.mean() - 0.5) < 0.03
    assert abs(second_N.mean() - 0.5) < 0.03
    assert abs(np.corrcoef(first_N, second_N)[0, 1]) < 0.05
    assert not (chosen["blur"] & chosen["noise"]).any()


def test_chances_are_kept_and_independent():
    chosen = order.chosen(MANY, Augment(**ON, chance={"blur": 0.2, "noise": 0.7}))
    assert abs(chosen["blur"].mean() - 0.2) < 0.03
    assert abs(chosen["noise"].mean() - 0.7) < 0.03
    assert abs(np.corrcoef(chosen["blur"], chosen["noise"])[0, 1]) < 0.05

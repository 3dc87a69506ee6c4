from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from sortal.augment import parameters
from sortal.augment.parameters import Position
from sortal.engines.torch.augment import augment
from sortal.recipe import Augment
from sortal.recipe.augment import ORDER, PROBABILITIES

EVERYTHING = Augment(
    crop="resized", flip=0.5, vertical_flip=0.5, rotate=20, translate=0.1, shear=10, zoom=0.2, fill="reflect",
    brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, rand_augment=2, rand_magnitude=9, erase=0.5,
)  # fmt: skip
DISTORTED = Augment(
    flip=0.5, quarter_turns=0.7, optical=0.3, grid=0.4, elastic=20, elastic_sigma=3, fill="nearest", grey=0.3,
    auto_augment="imagenet", trivial_augment=True, blur=(0.1, 2), motion_blur=7, noise=(0, 0.1), erase=0.5,
    chance={"optical": 0.5, "elastic": 0.5, "auto_augment": 0.5}, one_of=(("blur", "motion_blur", "noise"),), one_of_chance=0.8,
)  # fmt: skip
BACKWARDS = EVERYTHING.model_copy(update={"order": ORDER[::-1], "chance": {"rotate": 0.5, "brightness": 0.5, "crop": 0.7}})
BYTES = Augment(crop="padded", padding=3, flip=0.5, vertical_flip=0.5, brightness=0.2)
EACH = {
    "padded": Augment(crop="padded"),
    "resized": Augment(crop="resized"),
    "flip": Augment(flip=1.0),
    "vertical_flip": Augment(vertical_flip=1.0),
    "rotate": Augment(rotate=30),
    "translate": Augment(translate=0.2),
    "shear": Augment(shear=30),
    "zoom": Augment(zoom=0.3),
    "brightness": Augment(brightness=0.5),
    "contrast": Augment(contrast=0.5),
    "saturation": Augment(saturation=0.5),
    "hue": Augment(hue=0.5),
    "optical": Augment(optical=0.8),
    "grid": Augment(grid=0.5),
    "elastic": Augment(elastic=30, elastic_sigma=2),
    "rand_augment": Augment(rand_augment=2),
    "blur": Augment(blur=(0.5, 3)),
    "motion_blur": Augment(motion_blur=15),
    "noise": Augment(noise=(0.1, 0.3)),
    "erase": Augment(erase=1.0),
}


BEFORE = {
    "nothing": {},
    "padded": {"crop": "padded", "padding": 3, "padding_mode": "reflect", "flip": 0.5, "vertical_flip": 0.5},
    "resized": {"crop": "resized", "flip": 0.5, "vertical_flip": 0.5},
    "turned": {"crop": "padded", "padding": 2, "flip": 0.5, "rotate": 20, "translate": 0.1, "shear": 10, "zoom": 0.2,
               "fill": "reflect"},
    "coloured": {"crop": "padded", "flip": 0.5, "brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.2},
    "rand": {"crop": "padded", "rand_augment": 2, "erase": 0.5},
    "everything": EVERYTHING.model_dump(exclude_unset=True),
}  # fmt: skip


def pixels(n=6, side=20, channels=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.rand(n, channels, 5, 5, generator=generator)
    images = torch.nn.functional.interpolate(smooth, size=(side, side), mode="bilinear", align_corners=False)
    return (images * 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def keys(n):
    return np.arange(1000, 1000 + n, dtype=np.uint64)


def run(batch, spec, size=16, seed=0, epoch=0, rows=slice(None), **options):
    return augment(batch[rows], keys(len(batch))[rows], spec=spec, size=size, seed=seed, epoch=epoch, **options)


def test_nothing_asked_for_gives_the_centre_of_the_stored_pixels_exactly():
    batch = pixels()
    expected = batch[:, 2:18, 2:18].permute(0, 3, 1, 2).to(torch.float32) / 255
    assert torch.equal(run(batch, Augment()), expected)


@pytest.mark.parametrize("spec", [Augment(), BYTES, EVERYTHING, DISTORTED, BACKWARDS])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("channels_last", [False, True])
def test_images_are_float32_in_0_to_1_of_the_size_and_layout_asked_for(spec, channels, channels_last):
    images = run(pixels(channels=channels), spec, channels_last=channels_last)
    assert images.shape == (6, channels, 16, 16)
    assert images.dtype == torch.float32
    assert images.min() >= 0
    assert images.max() <= 1
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert images.is_contiguous(memory_format=wanted)


@pytest.mark.parametrize("spec", [BYTES, EVERYTHING, DISTORTED, BACKWARDS])
def test_the_layout_in_memory_does_not_change_the_images(spec):
    assert torch.equal(run(pixels(), spec), run(pixels(), spec, channels_last=True))


@pytest.mark.parametrize("name", EACH)
def test_each_field_changes_images_and_differs_between_samples_epochs_and_seeds(name):
    batch = pixels(1).expand(6, -1, -1, -1).contiguous()
    plain, varied = run(batch, Augment()), run(batch, EACH[name])
    assert (plain - varied).abs().amax(dim=(1, 2, 3)).gt(0.01).sum() >= 5
    if "flip" in name:
        return  # certain mirrors are the same for all
    assert len({images.numpy().tobytes() for images in varied}) >= 5
    assert not torch.equal(varied, run(batch, EACH[name], epoch=1))
    assert not torch.equal(varied, run(batch, EACH[name], seed=1))
    assert torch.equal(varied, run(batch, EACH[name]))


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(6)), st.integers(1, 6), st.sampled_from([BYTES, EVERYTHING, DISTORTED, BACKWARDS]))
def test_what_happens_to_an_image_depends_neither_on_its_place_nor_on_its_company(order, count, spec):
    batch, rows = pixels(), list(order)[:count]
    assert torch.equal(run(batch, spec, rows=rows), run(batch, spec)[rows])


@pytest.mark.parametrize("name", ["saturation", "hue"])
def test_grey_images_have_neither_saturation_nor_hue(name):
    batch = pixels(channels=1)
    assert torch.equal(run(batch, EACH[name]), run(batch, Augment()))


def test_flips_of_half_probability_mirror_about_half_the_images():
    batch = pixels(1).expand(400, -1, -1, -1).contiguous()
    plain = run(batch[:1], Augment())[0]
    varied = run(batch, Augment(flip=0.5))
    mirrored = torch.tensor([torch.equal(image, plain.flip(2)) for image in varied])
    same = torch.tensor([torch.equal(image, plain) for image in varied])
    assert (mirrored ^ same).all()
    assert 160 < mirrored.sum() < 240


def test_a_mirror_inside_the_resampling_is_the_mirror_outside_of_it():
    batch = pixels()
    # A zoom too small to see sends the images through the interpolation.
    through_grid = run(batch, Augment(flip=1.0, vertical_flip=1.0, zoom=1e-9))
    assert torch.allclose(through_grid, run(batch, Augment(flip=1.0, vertical_flip=1.0)), atol=1e-4)


def test_padded_crops_join_with_turns():
    batch = pixels()
    through_grid = run(batch, Augment(crop="padded", padding=2, zoom=1e-9))
    assert torch.allclose(through_grid, run(batch, Augment(crop="padded", padding=2)), atol=1e-4)


def test_erased_rectangles_have_the_mean_colour():
    varied = run(pixels(), Augment(erase=1.0), mean=(0.1, 0.2, 0.3))
    plain = run(pixels(), Augment())
    changed = (varied != plain).any(dim=1)
    assert changed.any(dim=(1, 2)).all()
    for channel, colour in enumerate((0.1, 0.2, 0.3)):
        assert torch.allclose(varied[:, channel][changed], torch.tensor(colour))


@pytest.mark.parametrize(
    "spec", [BYTES, EVERYTHING, DISTORTED, BACKWARDS], ids=["bytes", "everything", "distorted", "backwards"]
)
def test_a_single_pixel_of_a_grey_image_is_enough(spec):
    images = augment(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), keys(1), spec=spec, size=1, seed=0, epoch=0)
    assert images.shape == (1, 1, 1, 1)


# Words whose results are few, so that images can be alike: what they do to images is compared with doing nothing.
RARE = {
    "quarter_turns": Augment(quarter_turns=1.0),
    "grey": Augment(grey=1.0),
    "auto_augment": Augment(auto_augment="cifar10"),
    "trivial_augment": Augment(trivial_augment=True),
}
OPTIONS = [
    ({"crop": "padded"}, {"padding_mode": "nearest"}),
    ({"crop": "padded"}, {"padding_mode": "reflect"}),
    ({"crop": "padded"}, {"padding": 7}),
    ({"crop": "resized"}, {"scale": (0.9, 1.0)}),
    ({"crop": "resized"}, {"ratio": (1.0, 1.0)}),
    ({"rand_augment": 2}, {"rand_magnitude": 30}),
    ({"erase": 1.0}, {"erase_scale": (0.5, 0.6)}),
    ({"rotate": 30}, {"fill": "nearest"}),
    ({"rotate": 30}, {"fill": "reflect"}),
    ({"optical": 0.9}, {"fill": "nearest"}),
    ({"elastic": 30}, {"fill": "nearest"}),
    ({"elastic": 30}, {"elastic_sigma": 2.0}),
    ({"grid": 0.4}, {"grid_steps": 3}),
    ({"auto_augment": "cifar10"}, {"auto_augment": "imagenet"}),
    ({"noise": (0.1, 0.1)}, {"noise": (0.0, 0.1)}),
    ({"blur": (1, 1)}, {"blur": (1, 2)}),
    ({"noise": (0.1, 0.1)}, {"chance": {"noise": 0.5}}),
    ({"noise": (0.1, 0.1), "blur": (1, 2)}, {"one_of": (("noise", "blur"),)}),
    ({"noise": (0.1, 0.1), "blur": (1, 2), "one_of": (("noise", "blur"),)}, {"one_of_chance": 0.5}),
    ({"noise": (0.1, 0.1), "blur": (1, 2)}, {"order": ("noise", "blur")}),
    ({"brightness": 0.9, "contrast": 0.9}, {"order": ("contrast", "brightness")}),
    ({"crop": "resized", "rotate": 30}, {"order": ("rotate", "crop")}),
]


@pytest.mark.parametrize("name", RARE)
def test_each_rare_word_changes_about_as_many_images_as_it_should(name):
    batch = pixels(1).expand(60, -1, -1, -1).contiguous()
    changed = (run(batch, RARE[name]) - run(batch, Augment())).abs().amax(dim=(1, 2, 3)).gt(0.01).float().mean()
    assert changed == 1 if name == "grey" else 0.6 < changed < 0.98, changed


@pytest.mark.parametrize(("words", "option"), OPTIONS, ids=str)
def test_each_option_changes_images(words, option):
    batch = pixels(12)
    assert not torch.equal(run(batch, Augment(**words)), run(batch, Augment(**words | option)))


def test_every_word_stands_in_one_of_these_tests():
    tried = {key for words, option in OPTIONS for key in (words | option)} | (EACH.keys() - {"padded", "resized"}) | RARE.keys()
    others = {"views", "mixup", "cutmix", "alternate_flip"}  # in test_frozen.py, test_augment_mixing.py, and below
    assert tried | others == set(Augment.model_fields)


@pytest.mark.parametrize("name", [*EACH, *RARE])
def test_no_chance_is_the_identity(name):
    spec, operation = (EACH | RARE)[name], "crop" if name in ("padded", "resized") else name
    never = {operation: 0.0} if operation in PROBABILITIES else {"chance": {operation: 0.0}}
    off = Augment.model_validate(spec.model_dump() | never)
    assert torch.allclose(run(pixels(), off), run(pixels(), Augment()), atol=1e-5)


@pytest.mark.parametrize("name", ["noise", "blur", "rotate", "brightness", "rand_augment"])
def test_a_chance_of_half_leaves_about_half_the_images_alone_and_does_to_the_rest_what_a_chance_of_one_does(name):
    batch = pixels(1).expand(200, -1, -1, -1).contiguous()
    plain, always = run(batch, Augment()), run(batch, EACH[name])
    half = run(batch, EACH[name].model_copy(update={"chance": {name: 0.5}}))
    left = (half - plain).abs().amax(dim=(1, 2, 3)) < 1e-5
    assert 70 < left.sum() < 130
    assert torch.allclose(half[~left], always[~left], atol=1e-5)


def test_of_a_group_each_image_gets_one_operation_as_it_would_alone():
    strengths = {"noise": (0.1, 0.1), "blur": (1.0, 1.0), "optical": 0.8}
    batch = pixels(90)
    varied = run(batch, Augment(**strengths, one_of=(tuple(strengths),)))
    alone = [run(batch, Augment(**{name: strength})) for name, strength in strengths.items()]
    same = torch.stack([(varied - images).abs().amax(dim=(1, 2, 3)) < 1e-6 for images in alone])
    assert (same.sum(dim=0) == 1).all()
    assert same.sum(dim=1).min() > 15


def test_operations_are_applied_in_the_order_of_the_recipe():
    batch = pixels()
    words = {"crop": "padded", "noise": (0.2, 0.2), "blur": (1.0, 1.0)}
    noise_first = run(batch, Augment(**words, order=("crop", "noise", "blur")))
    noise_last = run(batch, Augment(**words, order=("crop", "blur", "noise")))
    roughness = [(images[:, :, 1:] - images[:, :, :-1]).std() for images in (noise_first, noise_last)]
    assert roughness[0] < 0.5 * roughness[1]


@pytest.mark.parametrize("crop", ["none", "padded", "resized"])
def test_a_crop_after_something_else_crops_the_result_of_it(crop):
    batch = pixels()
    # Grey is a matter of single pixels, so it may come before or after a crop.
    early, late = (run(batch, Augment(crop=crop, grey=1.0, order=order)) for order in (("grey", "crop"), ("crop", "grey")))
    assert early.shape == late.shape == (6, 3, 16, 16)
    assert torch.allclose(early, late, atol=1e-5)


def test_a_turn_before_a_crop_turns_the_whole_image():
    batch = pixels(1, side=24)
    turned_first = run(batch, Augment(quarter_turns=1.0, order=("quarter_turns", "crop")))
    assert torch.equal(turned_first, run(batch, Augment(quarter_turns=1.0)))  # the centre turns with the image
    moved = run(batch, Augment(translate=1.0, order=("translate",)))
    assert not torch.equal(moved, run(batch, Augment(translate=1.0, order=("translate", "crop"))))


def test_straight_operations_in_another_order_are_done_one_after_the_other():
    at = Position(0, 0, keys(1))
    angle = parameters.between(at, "rotate", -30, 30)[0]
    zoom = parameters.between(at, "zoom", 0.7, 1.3)[0]
    shear = parameters.between(at, "shear", -20, 20)[0]
    batch = pixels(1, side=16)
    ours = run(batch, Augment(rotate=30, zoom=0.3, shear=20, fill="nearest", order=("zoom", "rotate", "shear")))
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    forward = np.array([[1, -np.tan(np.deg2rad(shear))], [0, 1]]) @ np.array([[cos, -sin], [sin, cos]]) * zoom
    theta = torch.from_numpy(np.concatenate([np.linalg.inv(forward), np.zeros((2, 1))], axis=1)).float()[None]
    grid = torch.nn.functional.affine_grid(theta, [1, 3, 16, 16], align_corners=False)
    expected = torch.nn.functional.grid_sample(
        run(batch, Augment()), grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    assert torch.allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("name", [*EACH, *RARE])
def test_what_was_grey_in_three_channels_stays_grey(name):
    spec = (EACH | RARE)[name]
    batch = pixels(12, channels=1).expand(-1, -1, -1, 3).contiguous()
    varied = run(batch, spec)
    spread = (varied.amax(dim=1) - varied.amin(dim=1)).max()
    # Noise is drawn for each channel; torchvision's weights of grey sum to 0.9999, so that saturation moves by a shade.
    assert spread > 0.05 if name == "noise" else spread < 1.01 / 255


@pytest.mark.parametrize(
    "spec", [EVERYTHING, DISTORTED, BACKWARDS, BYTES], ids=["everything", "distorted", "backwards", "bytes"]
)
def test_images_stay_on_their_device(spec):
    # Fake tensors have a device and no numbers: an operation that mixes them with one of the processor is an error.
    with FakeTensorMode(allow_non_fake_inputs=True):
        there = torch.zeros(6, 20, 20, 3, dtype=torch.uint8, device="cuda")
        assert run(there, spec).device.type == "cuda"


def test_recipes_of_before_there_was_an_order_give_the_images_that_they_gave():
    """Golden images, taken before. On the machine where they were taken all are equal to the last bit."""
    golden = np.load(Path(__file__).with_name("golden.npz"))
    for name, words in BEFORE.items():
        ours = run(pixels(), Augment(**words), epoch=1, mean=(0.1, 0.2, 0.3)).numpy()
        # Elsewhere sums may be rounded otherwise, and a policy, which acts on bytes, makes a shade of that.
        assert abs(ours - golden[name]).max() < (1.01 / 255 if "rand_augment" in words else 1e-6), name


def test_two_epochs_with_alternating_mirrors_show_each_image_both_ways() -> None:
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), dtype=np.uint8))
    keys = np.arange(20, dtype=np.uint64) * 31
    spec = Augment(flip=0.5, alternate_flip=True)
    first, second, third = (augment(pixels, keys, spec=spec, size=8, seed=3, epoch=epoch) for epoch in range(3))
    assert torch.equal(first, second.flip(-1))
    assert torch.equal(first, third)
    plain = pixels.permute(0, 3, 1, 2) / 255
    shown = (first == plain).flatten(1).all(1)
    assert 0 < shown.sum() < 20

import pytest
import torch

from sortal.engines.torch.models import spellings, table
from sortal.errors import NotSupported, UnknownName

OURS = [entry.name for entry in table.OURS]
# Side of images, channels, and parameters of the body: the tutorials' own counts without the classifier.
PARAMETERS = {
    "lenet5": (28, 1, 6 * 26 + 16 * (6 * 25 + 1) + (256 + 1) * 120 + (120 + 1) * 84),
    "simple_cnn": (32, 3, 1_149_770 - 2_570),
    "resnet_cifar": (32, 3, 2_777_674 - 2_570),
}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 28, 64])
def test_our_networks_take_grey_and_colour_of_16_to_64_pixels(name, channels, size):
    body = table.create(name, channels=channels, image_size=size)
    features = body(torch.rand(2, channels, size, size))
    assert features.shape == (2, body.dimensions)
    assert features.isfinite().all()


@pytest.mark.parametrize("name", [*OURS, "resnet18", "vit_tiny_patch16_224", "tf_efficientnet_lite0"])
def test_stages_hold_every_parameter_once_from_the_input_to_the_head(name):
    body = table.create(name, channels=3, image_size=32)
    named = [name for stage in body.stages() for name in stage]
    assert sorted(named) == sorted(name for name, _ in body.named_parameters())
    assert len(body.stages()) >= 3
    first = next(name for name, _ in body.named_parameters())
    assert first in body.stages()[0]


@pytest.mark.parametrize("name", OURS)
def test_every_parameter_of_ours_learns(name):
    body = table.create(name, channels=1, image_size=28)
    body(torch.rand(4, 1, 28, 28)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in body.named_parameters() if not n.endswith("bias"))


def test_lenet_on_28_pixels_has_256_inputs_to_its_first_dense_layer():
    assert dict(table.create("lenet5", channels=1, image_size=28).named_parameters())["blocks.dense1.0.weight"].shape == (
        120,
        256,
    )


@pytest.mark.parametrize("name", ["lenet5", "simple_cnn", "resnet_cifar"])
def test_tutorial_networks_have_as_many_parameters_as_the_tutorials(name):
    size, channels, expected = PARAMETERS[name]
    assert sum(p.numel() for p in table.create(name, channels=channels, image_size=size).parameters()) == expected


def test_the_residual_network_of_the_keras_article_has_three_blocks_in_each_stage_and_biases():
    body = table.create("resnet_333", channels=3, image_size=32)
    assert [key for key in body.blocks if key.startswith("stage")] == [f"stage{s}_{b}" for s in (1, 2, 3) for b in (1, 2, 3)]
    assert all(m.bias is not None for m in body.modules() if isinstance(m, torch.nn.Conv2d))
    assert body.blocks["stage2_1"].conv1.stride == (2, 2)


def test_the_same_seed_makes_the_same_network():
    def make():
        torch.manual_seed(3)
        return table.create("compact_s", channels=1, image_size=28).state_dict()

    first, second = make(), make()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_an_unknown_name_is_answered_with_the_nearest_of_ours_and_timms():
    with pytest.raises(UnknownName) as ours:
        table.create("compakt", channels=3, image_size=32)
    with pytest.raises(UnknownName) as theirs:
        table.create("resnet_18", channels=3, image_size=32)
    assert "compact" in ours.value.hint
    assert "resnet18" in theirs.value.hint


@pytest.mark.parametrize(
    ("elsewhere", "here"),
    [
        ("mobilenet_v2", "mobilenetv2_100"),
        ("MobileNet-V3", "mobilenetv3_large_100"),
        ("mobilenet_v3_large", "mobilenetv3_large_100"),
        ("vit_b_16", "vit_base_patch16_224"),
        ("vit_l_16", "vit_large_patch16_224"),
        ("swin_t", "swin_tiny_patch4_window7_224"),
        ("ResNet50", "resnet50"),
        ("EfficientNetB7", "efficientnet_b7"),
        ("InceptionV3", "inception_v3"),
        ("GoogLeNet", "googlenet"),
        ("LeNet-5", "lenet5"),
    ],
)
def test_another_spelling_is_answered_with_the_name_it_has_here(elsewhere, here):
    with pytest.raises(UnknownName, match=elsewhere) as caught:
        table.known(elsewhere)
    assert f"model = '{here}'" in caught.value.hint
    assert table.known(here) == here


def test_every_name_that_another_spelling_leads_to_exists():
    assert not set(spellings.ELSEWHERE.values()) - set(table.names())
    assert not set(spellings.ELSEWHERE) & set(table.names()), "a name that is one already needs no answer"


@pytest.mark.parametrize(
    ("name", "size", "smallest"),
    [("lenet5", 12, 16), ("compact", 5, 8), ("keras_cnn", 7, 8), ("vgg11", 31, 32), ("vit_tiny_patch16_224", 15, 16)],
)
def test_a_size_too_small_is_answered_with_the_smallest_that_works(name, size, smallest):
    with pytest.raises(NotSupported, match=f"{name} does not take images of {size} pixels") as caught:
        table.create(name, channels=3, image_size=size)
    assert f"image_size = {smallest}" in caught.value.hint
    table.create(name, channels=3, image_size=smallest)


def test_networks_made_for_one_size_are_made_for_the_one_asked_for():
    body = table.create("vit_tiny_patch16_224", channels=3, image_size=48)
    assert body(torch.rand(1, 3, 48, 48)).shape == (1, 192)


@pytest.mark.parametrize(
    "name", ["resnet18", "mobilenetv2_050", "convnext_atto", pytest.param("densenet121", marks=pytest.mark.slow)]
)
def test_a_small_stem_keeps_the_size_of_the_image(name):
    def side_after_stem(stem):
        body = table.create(name, channels=1, image_size=32, stem=stem)
        sides = []
        for module in body.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda m, i, output: sides.append(output.shape[-1]))
        body(torch.rand(2, 1, 32, 32))
        return sides[:2]

    assert side_after_stem("small") == [32, 32]
    assert side_after_stem("default")[1] < 32


@pytest.mark.parametrize("stem", ["small", "small_random"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_tiny_patch16_224", "attends to patches"),
        ("swin_tiny_patch4_window7_224", "attends to patches"),
        ("compact", "has a small stem already"),
        ("vgg11", "has a small stem already"),
        pytest.param("repvgg_a0", "at no size", marks=pytest.mark.slow),
    ],
)
def test_a_network_without_a_stem_to_make_small_says_why(name, reason, stem):
    with pytest.raises(NotSupported, match=f"{name}.*{reason}"):
        table.create(name, channels=3, image_size=32, stem=stem)


def test_a_small_stem_makes_smaller_images_fit_and_the_smallest_is_told():
    with pytest.raises(NotSupported) as default:
        table.create("inception_v3", channels=3, image_size=32)
    with pytest.raises(NotSupported) as small:
        table.create("inception_v3", channels=3, image_size=32, stem="small")
    assert "image_size = 75" in default.value.hint
    assert "image_size = 37" in small.value.hint


def test_pretrained_networks_expect_what_their_weights_were_trained_with():
    grey = table.expects("resnet50.tv_in1k", pretrained=True, image_size=224, channels=1)
    assert (grey.mean, grey.std) == ((pytest.approx(0.449),), (pytest.approx(0.226),))
    lite = table.expects("tf_efficientnet_lite0", pretrained=True, image_size=224)
    assert (lite.resize, lite.interpolation, lite.mean, lite.std) == (256, "bicubic", (0.5,) * 3, (0.5,) * 3)
    half = table.expects("tf_efficientnet_lite0", pretrained=True, image_size=112)
    assert half.resize == 128
    resnet = table.expects("resnet50.tv_in1k", pretrained=True, image_size=224)
    assert resnet.interpolation == "bilinear"
    assert resnet.mean == (0.485, 0.456, 0.406)


def test_networks_from_scratch_leave_normalisation_to_be_measured():
    for name in ("compact", "resnet18"):
        found = table.expects(name, pretrained=False, image_size=32)
        assert (found.size, found.resize, found.mean, found.std) == (32, 32, None, None)
    with pytest.raises(UnknownName):
        table.expects("resnet_18", pretrained=False, image_size=32)

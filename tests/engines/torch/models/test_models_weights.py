import hashlib
import pickle

import pytest
import torch
from safetensors.torch import save_file

from sortal.engines.torch.models import table, weights
from sortal.errors import WeightsError

NAME = "resnet10t"  # the smallest of timm's residual networks


def make(name=NAME, channels=3, size=32, **options):
    return table.create(name, channels=channels, image_size=size, **options)


@pytest.fixture(scope="module")
def state():
    import timm

    torch.manual_seed(5)
    return timm.create_model(NAME, num_classes=7).state_dict()


def test_the_embedded_weights_see_what_they_were_trained_to_see():
    body = make("tf_efficientnet_lite0", size=64)
    if weights.embedded_file() is None:
        pytest.skip("the package with the weights is not installed")
    loaded = weights.load_weights(body, "tf_efficientnet_lite0", "default")
    assert loaded.source == "embedded"
    assert loaded.dropped == ("classifier.bias", "classifier.weight")
    first, last = body.net.conv_stem.weight, body.net.conv_head.weight
    stored = weights.read_file(weights.embedded_file())
    assert torch.equal(first, stored["_conv_stem.weight"])
    assert torch.equal(last, stored["_conv_head.weight"])


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_a_file_of_weights_fits_and_its_classifier_is_left_out(suffix, tmp_path, state):
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    body = make()
    loaded = weights.load_weights(body, NAME, str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    assert loaded.dropped == ("fc.bias", "fc.weight")
    assert all(torch.equal(value, state[key]) for key, value in body.net.state_dict().items())


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {f"module.{k}": v for k, v in s.items()}])
def test_checkpoints_of_common_trainers_are_unwrapped(wrap, tmp_path, state):
    torch.save(wrap(state), tmp_path / "checkpoint.pth")
    body = make()
    weights.load_weights(body, NAME, str(tmp_path / "checkpoint.pth"))
    assert torch.equal(body.net.conv1[0].weight, state["conv1.0.weight"])


@pytest.mark.parametrize("name", ["compact_s", NAME])
def test_the_weights_of_a_bundle_of_ours_start_another_training(name, tmp_path):
    first, second = make(name), make(name)
    saved = {f"body.{key}": value for key, value in first.state_dict().items()} | {"head.1.weight": torch.zeros(2, 3)}
    save_file(saved, tmp_path / "weights.safetensors")
    loaded = weights.load_weights(second, name, str(tmp_path / "weights.safetensors"))
    assert loaded.dropped == ("head.1.weight",)
    assert all(torch.equal(value, first.state_dict()[key]) for key, value in second.state_dict().items())


def test_every_misfit_is_listed_and_nothing_is_changed(tmp_path, state):
    bad = dict(state)
    del bad["layer1.0.conv1.weight"]
    bad["layer1.0.bn1.weight"] = torch.zeros(3)
    bad["extra"] = torch.zeros(2, 2)
    torch.save(bad, tmp_path / "bad.pth")
    body = make()
    before = {key: value.clone() for key, value in body.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        weights.load_weights(body, NAME, str(tmp_path / "bad.pth"))
    message = str(caught.value)
    assert "layer1.0.conv1.weight: missing" in message
    assert "layer1.0.bn1.weight: expected 64, found 3" in message
    assert "extra: unexpected, of shape 2 x 2" in message
    assert all(torch.equal(value, before[key]) for key, value in body.state_dict().items())


def test_weights_of_another_architecture_are_refused_in_a_few_lines(tmp_path, state):
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"and \d+ more") as caught:
        weights.load_weights(make("mobilenetv2_050"), "mobilenetv2_050", str(tmp_path / "w.pth"))
    assert len(str(caught.value).splitlines()) < 12


def test_a_changed_byte_is_found_before_the_file_is_parsed(tmp_path, state):
    path = tmp_path / "w.safetensors"
    save_file(state, path)
    with pytest.raises(WeightsError, match="has SHA-256"):
        weights.load_weights(make(), NAME, str(path), sha256="0" * 64)


class Evil:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path, capsys):
    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"weight": Evil()}))
    with pytest.raises(WeightsError, match="is not a file of weights"):
        weights.load_weights(make(), NAME, str(tmp_path / "evil.pth"))
    assert "code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["half.safetensors", "half.pth"])
def test_a_truncated_file_is_a_named_error(name, tmp_path, state):
    path = tmp_path / name
    save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=name):
        weights.load_weights(make(), NAME, str(path))


def test_a_missing_file_and_a_file_of_something_else_are_named_errors(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        weights.load_weights(make(), NAME, str(tmp_path / "nothing.pth"))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds no table of tensors"):
        weights.load_weights(make(), NAME, str(tmp_path / "list.pth"))


def test_no_weights_at_hand_is_an_error_that_names_the_ways_out(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "cached_file", lambda name: None)
    with pytest.raises(WeightsError, match="no pretrained weights for resnet18 on this machine") as caught:
        weights.load_weights(make("resnet18"), "resnet18", "default")
    assert "weights = 'hub'" in caught.value.hint
    with pytest.raises(WeightsError) as caught:
        weights.load_weights(make("compact_s"), "compact_s", "default")
    assert "scratch" in caught.value.hint


def test_weights_in_the_local_cache_are_the_default(monkeypatch, tmp_path, state):
    save_file(state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}, tmp_path / "model.safetensors")
    monkeypatch.setattr(weights, "cached_file", lambda name: tmp_path / "model.safetensors")
    body = make()
    assert weights.available(NAME) == "cache"
    assert weights.load_weights(body, NAME, "default").source == "cache"
    assert torch.equal(body.net.layer4[0].conv1.weight, state["layer4.0.conv1.weight"])


def test_a_hash_for_downloaded_weights_is_refused():
    with pytest.raises(WeightsError, match="files only"):
        weights.load_weights(make(), NAME, "hub", sha256="0" * 64)


def test_a_grey_first_convolution_answers_to_grey_as_the_colour_one_did(tmp_path, state):
    torch.save(state, tmp_path / "w.pth")
    grey, colour = make(channels=1).eval(), make().eval()
    for body in (grey, colour):
        weights.load_weights(body, NAME, str(tmp_path / "w.pth"))
    image = torch.rand(1, 1, 32, 32)
    assert torch.allclose(grey(image), colour(image.expand(1, 3, 32, 32)), atol=1e-5)


def test_a_small_stem_answers_to_an_even_area_as_the_large_one_did():
    kernel = torch.randn(4, 3, 7, 7)
    small = weights.fit_kernel(kernel, torch.empty(4, 3, 3, 3))
    assert small.shape == (4, 3, 3, 3)
    assert torch.allclose(small.sum(dim=(2, 3)), kernel.sum(dim=(2, 3)), atol=1e-4)
    ramp = torch.linspace(-1, 1, 7).expand(1, 1, 7, 7)
    smaller = weights.fit_kernel(ramp, torch.empty(1, 1, 3, 3))[0, 0]
    assert smaller[1, 0] < -0.5 < 0.5 < smaller[1, 2], "an edge detector stays one"


def test_a_small_stem_takes_pretrained_weights(tmp_path):
    import timm

    torch.save(timm.create_model("resnet18").state_dict(), tmp_path / "w.pth")
    body = make("resnet18", stem="small")
    weights.load_weights(body, "resnet18", str(tmp_path / "w.pth"))
    assert body.net.conv1.weight.shape == (64, 3, 3, 3)


@pytest.mark.parametrize(("stem", "pretrained"), [("small", True), ("small_random", False)])
def test_the_first_convolution_of_a_small_stem_is_resampled_or_stays_random(stem, pretrained, tmp_path):
    import timm

    torch.manual_seed(4)
    state = timm.create_model("resnet18").state_dict()
    torch.save(state, tmp_path / "w.pth")
    torch.manual_seed(5)
    body = make("resnet18", stem=stem)
    before = body.net.conv1.weight.clone()
    weights.load_weights(body, "resnet18", str(tmp_path / "w.pth"))
    resampled = weights.fit_kernel(state["conv1.weight"], before)
    assert torch.equal(body.net.conv1.weight, resampled if pretrained else before)
    assert torch.equal(body.net.layer4[0].conv1.weight, state["layer4.0.conv1.weight"])
    if not pretrained:
        assert float(before.detach().abs().max()) <= 27**-0.5, "as torch starts any convolution of 3 x 3 x 3"

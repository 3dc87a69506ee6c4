"""torchvision's architectures that timm does not have."""

import pytest
import timm
import torch
import torchvision

from sortal.engines.torch.models import table, torchvision_body, weights
from sortal.errors import NotSupported, WeightsError

NAMES = list(torchvision_body.ARCHITECTURES)
SMALL = "shufflenet_v2_x0_5"


def test_timm_has_none_of_them():
    assert not set(NAMES) & set(timm.list_models())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["alexnet", "googlenet", SMALL])
def test_they_take_grey_and_colour(name, channels):
    body = table.create(name, channels=channels, image_size=64)
    assert body.eval()(torch.rand(2, channels, 64, 64)).shape == (2, body.dimensions)


@pytest.mark.parametrize("name", ["alexnet", "googlenet", SMALL])
def test_stages_hold_every_parameter_once_in_order(name):
    body = table.create(name, channels=3, image_size=64)
    named = [name for stage in body.stages() for name in stage]
    assert named == [name for name, _ in body.named_parameters()]
    assert len(body.stages()) >= 7
    assert all(any(dict(body.named_parameters())[name].ndim > 1 for name in stage) for stage in body.stages())


@pytest.mark.parametrize(("name", "size", "smallest"), [("alexnet", 62, 63), ("googlenet", 14, 15)])
def test_a_size_too_small_is_answered_with_the_smallest_that_torchvision_names_too(name, size, smallest):
    assert torchvision.models.get_model_weights(name)["DEFAULT"].meta["min_size"] == (smallest, smallest)
    with pytest.raises(NotSupported, match=f"does not take images of {size} pixels") as caught:
        table.create(name, channels=3, image_size=size)
    assert f"image_size = {smallest}" in caught.value.hint


@pytest.mark.parametrize("name", ["alexnet", "googlenet", SMALL])
def test_a_small_stem_sees_every_pixel(name):
    body = table.create(name, channels=3, image_size=32, stem="small")
    sides = []
    for module in body.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda m, i, output: sides.append(output.shape[-1]))
    body(torch.rand(2, 3, 32, 32))
    assert sides[0] == 32


def test_alexnet_computes_what_torchvisions_does():
    torch.manual_seed(0)
    whole = torchvision.models.alexnet().eval()
    torch.manual_seed(0)
    body = table.create("alexnet", channels=3, image_size=96).eval()
    images = torch.rand(2, 3, 96, 96)
    with torch.inference_mode():
        assert torch.allclose(whole.classifier[6](body(images)), whole(images), atol=1e-5)


def test_googlenets_weights_are_fed_as_torchvision_feeds_them():
    fed = table.expects("googlenet", pretrained=True, image_size=224)
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32)
    given = torchvision.models.get_model_weights("googlenet")["DEFAULT"].transforms()
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (given.mean, given.std))
    # With its weights torchvision converts inside the network what was normalised outside of it.
    net = torchvision.models.googlenet(aux_logits=False, init_weights=False, transform_input=True)
    theirs = net._transform_input((image - mean) / std)
    ours = (image - torch.tensor(fed.mean).reshape(1, 3, 1, 1)) / torch.tensor(fed.std).reshape(1, 3, 1, 1)
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert (fed.resize, fed.interpolation) == (256, "bilinear")


def test_weights_are_the_default_where_torchs_cache_has_them(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert weights.available(SMALL) == "hub"
    with pytest.raises(WeightsError, match="no pretrained weights for shufflenet_v2_x0_5 on this machine"):
        weights.load_weights(table.create(SMALL, channels=3, image_size=64), SMALL, "default")
    torch.manual_seed(1)
    state = torchvision.models.get_model(SMALL).state_dict()
    url = torchvision.models.get_model_weights(SMALL)["DEFAULT"].url
    (tmp_path / "checkpoints").mkdir()
    torch.save(state, tmp_path / "checkpoints" / url.rpartition("/")[2])
    body = table.create(SMALL, channels=3, image_size=64)
    assert weights.available(SMALL) == "cache"
    loaded = weights.load_weights(body, SMALL, "default")
    assert (loaded.source, loaded.dropped) == ("cache", ("fc.bias", "fc.weight"))
    assert all(torch.equal(value, state[key]) for key, value in body.net.state_dict().items())
    with pytest.raises(WeightsError, match="has SHA-256"):
        weights.load_weights(body, SMALL, "default", sha256="0" * 64)


def test_a_file_with_auxiliary_classifiers_fits_without_them(tmp_path):
    state = torchvision.models.googlenet(aux_logits=True, init_weights=False).state_dict()
    torch.save(state, tmp_path / "googlenet.pth")
    body = table.create("googlenet", channels=3, image_size=32)
    loaded = weights.load_weights(body, "googlenet", str(tmp_path / "googlenet.pth"))
    assert {name.partition(".")[0] for name in loaded.dropped} == {"aux1", "aux2", "fc"}
    assert torch.equal(body.net.inception5b.branch1.conv.weight, state["inception5b.branch1.conv.weight"])


def test_a_download_that_fails_names_the_way_out(monkeypatch):
    def offline(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(WeightsError, match="no route to host") as caught:
        weights.load_weights(table.create(SMALL, channels=3, image_size=64), SMALL, "hub")
    assert "FILE.pth" in caught.value.hint

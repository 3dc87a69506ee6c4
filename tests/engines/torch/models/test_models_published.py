"""Every architecture that the project names: builds, has the published number of parameters, learns, and exports.

Images are small, so that the whole table takes minutes on two cores. The largest are counted on torch's meta device, which
has shapes but no memory, and learn and export at reduced depth, as said beside them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from sortal.engines.onnx import OnnxGraph
from sortal.engines.torch.export import to_onnx
from sortal.engines.torch.losses import summed_loss
from sortal.engines.torch.models import listing, table, timm_body
from sortal.engines.torch.models.body import Body
from sortal.engines.torch.network import FromBytes, NetworkInTraining, make_head
from sortal.evaluation.calibrators import Calibrator
from sortal.preprocess import Preprocess
from sortal.recipe import Head

CLASSES = 3


@dataclass(frozen=True)
class Row:
    name: str
    parameters: int
    """With 1,000 classes. Published by torchvision with its weights (`num_params`), unless said otherwise."""
    size: int = 64
    shallow: dict[str, Any] | None = None
    """Options that make it as shallow as memory and time allow, where the whole one is counted alone."""


ROWS = [
    Row("alexnet", 61_100_840),
    Row("vgg11", 132_863_336, 32),
    Row("vgg13", 133_047_848, 32),
    Row("vgg16", 138_357_544, 32),
    Row("vgg19", 143_667_240, 32),
    Row("googlenet", 6_624_904),
    Row("inception_v3", 27_161_264 - 3_326_696, 96),  # less its auxiliary classifier, which is not counted here
    Row("resnet18", 11_689_512),
    Row("resnet34", 21_797_672),
    Row("resnet50", 25_557_032),
    Row("resnet101", 44_549_160),
    Row("resnet152", 60_192_808),
    Row("efficientnet_b0", 5_288_548),
    Row("efficientnet_b1", 7_794_184),
    Row("efficientnet_b2", 9_109_994),
    Row("efficientnet_b3", 12_233_232),
    Row("efficientnet_b4", 19_341_616),
    Row("efficientnet_b5", 30_389_784),
    Row("efficientnet_b6", 43_040_704),
    Row("efficientnet_b7", 66_347_960),
    Row("mobilenetv2_100", 3_504_872),
    Row("mobilenetv3_small_100", 2_542_856),
    Row("mobilenetv3_large_100", 5_483_032),
    Row("convnext_tiny", 28_589_128),
    Row("convnext_small", 50_223_688),
    Row("convnext_base", 88_591_464),
    Row("convnext_large", 197_767_336, shallow={"depths": (1, 1, 1, 1)}),
    Row("vit_base_patch16_224", 86_567_656, 32),
    Row("vit_large_patch16_224", 304_326_632, 32, shallow={"depth": 2}),
    Row("vit_huge_patch14_224", 632_045_800, 28, shallow={"depth": 2}),
    # Touvron et al. 2021 print 5, 22 and 86 million; these are the counts of ViT with their widths of 192, 384 and 768.
    Row("deit_tiny_patch16_224", 5_717_416, 32),
    Row("deit_small_patch16_224", 22_050_664, 32),
    Row("deit_base_patch16_224", 86_567_656, 32),
    Row("swin_tiny_patch4_window7_224", 28_288_354),
    Row("swin_small_patch4_window7_224", 49_606_258),
    Row("swin_base_patch4_window7_224", 87_768_224),
]
SAMPLE = {"mobilenetv3_small_100", "googlenet"}
EVERY = [pytest.param(row, id=row.name, marks=[] if row.name in SAMPLE else [pytest.mark.slow]) for row in ROWS]
OURS = [
    pytest.param(Row(entry.name, 0, 32), id=entry.name, marks=[] if entry.name == "lenet5" else [pytest.mark.slow])
    for entry in table.OURS
]


def body_of(row: Row) -> Body:
    torch.manual_seed(0)
    if row.shallow is None:
        return table.create(row.name, channels=3, image_size=row.size)
    body = timm_body.TimmBody(timm_body.timm_net(row.name, 3, row.size, **row.shallow), row.name, row.size)
    body.dimensions = body.net.num_features
    return body


def network_of(row: Row) -> NetworkInTraining:
    body = body_of(row)
    geometry = Preprocess(row.size, row.size, 3, mean=(0.5,) * 3, std=(0.25,) * 3)
    return NetworkInTraining(body, make_head(Head(), body.dimensions, CLASSES), geometry, CLASSES)


@pytest.mark.parametrize("row", EVERY)
def test_it_has_as_many_parameters_as_published(row):
    module, size = listing._whole(row.name)  # on the meta device
    assert sum(p.numel() for p in module.parameters()) == row.parameters
    assert next(module.parameters()).is_meta
    assert size >= 224


@pytest.mark.parametrize("row", [*EVERY, *OURS])
def test_a_step_down_the_gradient_lowers_the_loss_of_its_batch(row):
    network = network_of(row).train()
    images = torch.rand(4, 3, row.size, row.size)
    labels = torch.arange(4) % CLASSES

    def loss():
        torch.manual_seed(1)  # the same units are dropped each time
        return summed_loss(functional.cross_entropy, network(images), labels)

    before = loss()
    before.backward()
    parameters = [p for p in network.parameters() if p.grad is not None]
    steepness = sum(p.grad.square().sum() for p in parameters)
    with torch.no_grad():
        for parameter in parameters:
            # As far as a straight line would fall by a hundredth of the loss.
            parameter -= 0.01 * before / steepness * parameter.grad
    assert len(parameters) == len(list(network.parameters())), "every parameter learns"
    assert loss() < before


@pytest.mark.parametrize("row", [*EVERY, *OURS])
def test_its_graph_answers_as_the_network_does(row):
    network = network_of(row)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # statistics of one batch, without which some networks answer the same to everything
    images = np.random.default_rng(0).integers(0, 256, (4, row.size, row.size, 3), dtype=np.uint8)
    as_seen = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        network.train()(as_seen)
        logits = network.eval()(as_seen)
    whole = FromBytes(network).eval()
    # Logits of random weights can be of any size; probabilities of 0 and 1 would hide what differs and blow up the rest.
    calm = Calibrator("temperature", "softmax", scale_K=np.array(1 / float(logits.std())))
    graph = OnnxGraph(to_onnx(whole, size=row.size, channels=3, outputs=["logits", "features"]), threads=1).padded
    with torch.inference_mode():
        expected = calm(whole(torch.from_numpy(images))[0].numpy())
    assert np.abs(calm(graph(images)) - expected).max() < 1e-3  # what a bundle allows
    assert np.ptp(expected, axis=0).max() > 1e-5, "answers depend on the image"


@pytest.mark.parametrize("name", [row.name for row in ROWS])
def test_the_list_says_what_it_reached_and_when_to_use_it(name):
    (row,) = listing.rows(name)
    assert 0.5 < row["top1"] < 0.9
    assert row["top1_source"]
    assert row["use"]

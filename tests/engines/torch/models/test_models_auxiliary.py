"""Auxiliary classifiers: there in training, with their published weights, and nowhere else."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from sortal.data.samples import Samples
from sortal.engines.torch.engine import ENGINE
from sortal.engines.torch.losses import summed_loss
from sortal.engines.torch.models import table
from sortal.engines.torch.models.body import PoolTo
from sortal.engines.torch.network import NetworkInTraining, make_head
from sortal.preprocess import Preprocess
from sortal.recipe import Head, Recipe

GEOMETRY = Preprocess(32, 32, 3, mean=(0.5,) * 3, std=(0.25,) * 3)
RECIPE = Recipe(
    model="googlenet",
    weights="none",
    strategy="scratch",
    image_size=32,
    batch_size=4,
    precision="float32",
    layout="nchw",
    runtime="torch",
    threads=1,
)


class Held:
    """Pixels in memory."""

    def read(self, rows_B):
        return np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)[rows_B]


def samples():
    rows = np.arange(8)
    return Samples(("a", "b"), rows % 2, rows.astype(np.uint64), {"train": rows[:6], "val": rows[6:]}, Held())


def network(name, size, classes=2):
    torch.manual_seed(0)
    body = table.create(name, channels=3, image_size=size)
    geometry = Preprocess(size, size, 3, mean=(0.5,) * 3, std=(0.25,) * 3)
    return NetworkInTraining(body, make_head(Head(), body.dimensions, classes), geometry, classes)


@pytest.mark.parametrize(("name", "size", "weights"), [("googlenet", 32, [1, 0.3, 0.3]), ("inception_v3", 75, [1, 0.4])])
def test_in_training_there_are_logits_of_each_classifier_with_its_published_weight(name, size, weights):
    outputs = network(name, size).train()(torch.rand(2, 3, size, size))
    assert [weight for weight, _ in outputs] == weights
    assert all(logits.shape == (2, 2) for _, logits in outputs)


def test_the_loss_is_the_weighted_sum():
    outputs = [(1.0, torch.tensor([[2.0, 0.0]])), (0.3, torch.tensor([[0.0, 1.0]]))]
    labels = torch.tensor([0])
    alone = [functional.cross_entropy(logits, labels) for _, logits in outputs]
    assert torch.allclose(summed_loss(functional.cross_entropy, outputs, labels), alone[0] + 0.3 * alone[1])
    assert torch.equal(summed_loss(functional.cross_entropy, outputs[0][1], labels), alone[0])


def test_they_pull_on_what_is_before_them_and_not_on_what_is_after():
    net = network("googlenet", 32).train()
    outputs = net(torch.rand(2, 3, 32, 32))
    outputs[1][1].sum().backward()
    assert net.body.net.inception4a.branch1.conv.weight.grad is not None
    assert net.body.net.inception4b.branch1.conv.weight.grad is None


@pytest.mark.parametrize(
    ("name", "published"), [("googlenet", 13_004_888 - 6_624_904), ("inception_v3", 27_161_264 - 23_834_568)]
)
def test_they_have_as_many_parameters_as_torchvisions(name, published):
    # torchvision's own networks with and without them, at 1,000 classes.
    with torch.device("meta"):
        taps = table._from_library(name, 3, 299).taps
        classifiers = [tap.make(1000) for tap in taps]
    assert sum(p.numel() for classifier in classifiers for p in classifier.parameters()) == published


def test_inceptions_takes_the_published_pooling_at_its_published_size_and_any_size_besides():
    with torch.device("meta"):
        (tap,) = table._from_library("inception_v3", 3, 299).taps
    classifier = tap.make(5).eval()
    maps = torch.rand(2, 768, 17, 17)
    assert torch.equal(classifier[0](maps), functional.avg_pool2d(maps, 5, 3))
    assert classifier(torch.rand(2, 768, 3, 3)).shape == (2, 5)


def test_in_evaluation_and_for_a_lone_image_there_is_one_answer():
    net = network("googlenet", 64)
    assert net.eval()(torch.rand(2, 3, 64, 64)).shape == (2, 2)
    assert net.train()(torch.rand(1, 3, 64, 64)).shape == (1, 2)


def test_a_session_trains_them_keeps_them_in_its_state_and_does_not_ship_them():
    session = ENGINE.open(RECIPE, GEOMETRY, samples())
    before = session.state()
    batch = next(iter(session.batches(0)))
    session.train_step(batch, 1.0, 0.0)
    after = session.state()
    moved = [key for key in before if key.startswith("model/auxiliary") and not np.array_equal(before[key], after[key])]
    assert any(key.startswith("model/auxiliary.0.") for key in moved)
    assert any(key.startswith("model/auxiliary.1.") for key in moved)
    assert not any("auxiliary" in key for key in session.weights())
    assembled = ENGINE.assemble(RECIPE, GEOMETRY, 2, session.weights())
    assert not any("auxiliary" in key for key in assembled.tensors())
    images = Held().read(np.array([6, 7]))
    assert np.isfinite(assembled.logits(images)).all()


def test_the_loss_of_a_session_is_more_than_that_of_its_head():
    session = ENGINE.open(RECIPE, GEOMETRY, samples())
    batch = next(iter(session.batches(0)))
    loss = float(session.train_step(batch, 0.0, 0.0))
    # At the start each classifier answers nearly evenly: ln 2 for each, weighted by 1, 0.3 and 0.3.
    assert loss == pytest.approx(1.6 * np.log(2), rel=0.15)


@pytest.mark.parametrize("side", [1, 4, 6, 7, 9])
def test_pooling_to_a_grid_gives_torchs_adaptive_means(side):
    maps = torch.rand(2, 3, 7, 7)
    assert torch.allclose(PoolTo(side)(maps), functional.adaptive_avg_pool2d(maps, side), atol=1e-6)

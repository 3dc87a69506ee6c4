import numpy as np
import pytest
import torch
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from sortal.augment import parameters
from sortal.augment.parameters import Position
from sortal.engines.torch.augment import erasing, mix, mixing
from sortal.recipe import Augment

LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
KEYS = np.arange(8, dtype=np.uint64)


def flat_images():
    """Image n is n / 10 everywhere, so a pixel tells where it came from."""
    return (torch.arange(8) / 10).reshape(8, 1, 1, 1).expand(8, 3, 16, 16).contiguous()


def run(step=0, epoch=0, keys=KEYS, rows=slice(None), **alphas):
    return mix(flat_images()[rows], LABELS[rows], 3, spec=Augment(**alphas), seed=0, epoch=epoch, keys_N=keys[rows], step=step)


def test_with_nothing_on_images_stay_and_targets_are_one_hot():
    images, targets = run()
    assert torch.equal(images, flat_images())
    assert torch.equal(targets, torch.eye(3)[LABELS])


def test_mixup_blends_images_and_targets_by_the_same_share_of_each_sample():
    images, targets = run(mixup=1.0)
    share = torch.from_numpy(parameters.mixup_weights(Position(0, 0, KEYS), 1.0)).float()
    assert torch.allclose(
        images[:, 0, 0, 0], share * torch.arange(8) / 10 + (1 - share) * torch.arange(8).roll(1) / 10, atol=1e-6
    )
    one_hot = torch.eye(3)[LABELS]
    assert torch.allclose(targets, share[:, None] * one_hot + (1 - share[:, None]) * one_hot.roll(1, 0), atol=1e-6)
    assert len(set(share.tolist())) == 8


def test_cutmix_takes_a_rectangle_of_the_neighbour_and_as_much_of_its_label():
    images, targets = run(cutmix=1.0)
    pasted_NHW = images[:, 0] != flat_images()[:, 0]
    assert pasted_NHW.any()
    for n in range(8):
        assert set(images[n].unique().tolist()) <= {flat_images()[n, 0, 0, 0].item(), flat_images()[n - 1, 0, 0, 0].item()}
        share = 1 - pasted_NHW[n].float().mean()
        expected = share * torch.eye(3)[LABELS[n]] + (1 - share) * torch.eye(3)[LABELS[n - 1]]
        assert torch.allclose(targets[n], expected, atol=1e-6)


def photographs():
    return torch.rand((8, 3, 16, 12), generator=torch.Generator().manual_seed(0))


def test_mixup_at_one_share_is_torchvisions():
    share, images, targets = 0.3, photographs(), torch.eye(3)[LABELS]
    theirs = v2.MixUp(num_classes=3)
    expected = theirs.transform(images, {"lam": share, "labels": LABELS, "batch_size": 8, "num_classes": 3})
    found, shared = mixing.mixup(images, targets, torch.full((8,), share))
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(shared, theirs._mixup_label(LABELS, lam=share), atol=1e-6)


def test_cutmix_of_one_box_is_torchvisions():
    (top, left, height, width), images, targets = (3, 2, 6, 5), photographs(), torch.eye(3)[LABELS]
    theirs, share = v2.CutMix(num_classes=3), 1 - 6 * 5 / (16 * 12)
    box = (left, top, left + width, top + height)
    expected = theirs.transform(
        images, {"box": box, "lam_adjusted": share, "labels": LABELS, "batch_size": 8, "num_classes": 3}
    )
    found, shared = mixing.cutmix(images, targets, np.tile(np.array([top, left, height, width]), (8, 1)))
    assert torch.equal(found, expected)
    assert torch.allclose(shared, theirs._mixup_label(LABELS, lam=share), atol=1e-6)


def test_erasing_is_torchvisions():
    images, colour = photographs(), (0.1, 0.2, 0.3)
    boxes_N4 = np.array([[row, 1, 4, 3 + row % 3] for row in range(8)])
    found = erasing.blank(images.clone(), boxes_N4, colour)
    for image, box, ours in zip(images, boxes_N4.tolist(), found, strict=True):
        assert torch.equal(ours, tv.erase(image, *box, torch.tensor(colour)[:, None, None]))


@pytest.mark.parametrize("alphas", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}])
def test_targets_are_shares_that_sum_to_one(alphas):
    _, targets = run(**alphas)
    assert targets.dtype == torch.float32
    assert torch.allclose(targets.sum(dim=1), torch.ones(8))
    assert targets.min() >= 0


def test_with_both_on_a_step_draws_one_of_them():
    kinds = set()
    for step in range(20):
        images, _ = run(step=step, mixup=1.0, cutmix=1.0)
        blended = (images.amax(dim=(1, 2, 3)) == images.amin(dim=(1, 2, 3))).all().item()
        alone, _ = run(step=step, **({"mixup": 1.0} if blended else {"cutmix": 1.0}))
        assert torch.equal(images, alone)
        kinds.add(blended)
    assert kinds == {True, False}


def test_an_image_alone_mixes_with_itself_and_stays():
    images, targets = run(rows=slice(3, 4), mixup=1.0)
    assert torch.allclose(images, flat_images()[3:4])
    assert torch.allclose(targets, torch.eye(3)[LABELS[3:4]])


def test_other_epochs_and_other_keys_mix_otherwise():
    assert not torch.equal(run(mixup=1.0)[1], run(mixup=1.0, epoch=1)[1])
    assert not torch.equal(run(mixup=1.0)[1], run(mixup=1.0, keys=KEYS + np.uint64(8))[1])


def test_box_masks_are_true_inside_and_false_outside():
    mask = erasing.box_mask(np.array([[1, 0, 2, 3], [0, 0, 0, 4]]), 4, 5, torch.device("cpu"))
    expected = torch.zeros(2, 1, 4, 5, dtype=torch.bool)
    expected[0, 0, 1:3, 0:3] = True
    assert torch.equal(mask, expected)


def test_a_box_over_all_is_the_neighbour_whole():
    images, targets = mixing.cutmix(flat_images(), torch.eye(3)[LABELS], np.array([[0, 0, 16, 16]] * 8))
    assert torch.equal(images, flat_images().roll(1, 0))
    assert torch.equal(targets, torch.eye(3)[LABELS].roll(1, 0))


def test_several_labels_are_shared_like_the_images_they_are_on():
    labels = torch.tensor([[1, 1, 0], [0, 0, 0]] * 4)
    _, targets = mix(flat_images(), labels, 3, spec=Augment(mixup=1.0), seed=0, epoch=0, keys_N=KEYS, step=0)
    share = torch.from_numpy(parameters.mixup_weights(Position(0, 0, KEYS), 1.0)).float()[:, None]
    assert torch.allclose(targets, share * labels + (1 - share) * labels.roll(1, 0), atol=1e-6)
    _, plain = mix(flat_images(), labels, 3, spec=Augment(), seed=0, epoch=0, keys_N=KEYS, step=0)
    assert torch.equal(plain, labels.float())

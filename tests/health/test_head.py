import numpy as np
import pytest

from sortal.health.head import fit, folds_of, out_of_fold


def clusters(each=60, classes=3, dimensions=5, apart=4.0, seed=0):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    middles = random.normal(0, apart, (classes, dimensions))
    return (middles[labels] + random.normal(size=(len(labels), dimensions))).astype(np.float32), labels


def test_classes_that_lie_apart_are_told_by_a_head_that_did_not_see_the_image():
    inputs, labels = clusters()
    probs = out_of_fold(inputs, labels, 3, np.arange(len(labels)))
    assert probs.shape == (180, 3)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert (probs.argmax(axis=1) == labels).mean() > 0.97


def test_labels_without_any_reason_are_not_learnt():
    inputs, _ = clusters()
    labels = np.random.default_rng(1).integers(0, 2, len(inputs))
    probs = out_of_fold(inputs, labels, 2, np.arange(len(labels)))
    assert 0.35 < (probs.argmax(axis=1) == labels).mean() < 0.65


def test_a_head_agrees_with_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    inputs, labels = clusters(apart=1.0)
    inputs -= inputs.mean(axis=0)
    inputs /= inputs.std()
    ours = fit(inputs, labels, 3, decay=0.01, steps=500)(inputs)
    theirs = linear_model.LogisticRegression(C=1 / (0.01 * len(labels)), tol=1e-8, max_iter=5000).fit(inputs, labels)
    np.testing.assert_allclose(ours, theirs.predict_proba(inputs), atol=2e-3)


def test_copies_of_an_image_never_help_to_judge_it():
    inputs = np.random.default_rng(0).normal(size=(100, 200)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 2, 100)
    twice, both = np.concatenate([inputs, inputs]), np.concatenate([labels, labels])
    apart = out_of_fold(twice, both, 2, np.arange(200))
    together = out_of_fold(twice, both, 2, np.tile(np.arange(100), 2))
    assert (apart.argmax(axis=1) == both).mean() > 0.75  # it has learnt the copies by heart
    assert (together.argmax(axis=1) == both).mean() < 0.65


def test_a_unit_has_one_fold_and_folds_are_of_one_size():
    units = np.repeat(np.arange(50), 2)
    folds = folds_of(units)
    assert all(len(set(folds[units == unit])) == 1 for unit in range(50))
    assert np.bincount(folds).tolist() == [20] * 5
    assert folds_of(np.array([0, 1])).tolist() in ([0, 1], [1, 0])


def test_one_unit_cannot_be_held_out():
    with pytest.raises(ValueError, match="two units"):
        folds_of(np.zeros(5, int))


def test_inputs_that_are_all_the_same_give_the_shares_of_the_classes():
    labels = np.repeat([0, 1], [30, 10])
    probs = fit(np.zeros((40, 3), np.float32), labels, 2, decay=1e-3)(np.zeros((1, 3), np.float32))
    np.testing.assert_allclose(probs, [[0.75, 0.25]], atol=0.01)


def test_the_same_rows_give_the_same_bits():
    inputs, labels = clusters()
    one, other = (out_of_fold(inputs, labels, 3, np.arange(180)).tobytes() for _ in range(2))
    assert one == other


def test_inputs_that_say_the_same_many_times_over_do_not_make_the_steps_grow():
    random = np.random.default_rng(2)
    inputs = np.repeat(random.integers(0, 2, (300, 4)), 200, axis=1).astype(np.float32)
    inputs *= random.normal(1, 0.3, 800).astype(np.float32)
    assert np.abs(fit(inputs, random.integers(0, 2, 300), 2, decay=1e-4).weights_DK).max() < 0.1

import sys

import numpy as np
import pytest

from sortal.errors import MissingExtra
from sortal.health.neighbours import Index, axes_of


def features(count=300, dimensions=40, seed=0):
    return np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32) * np.linspace(3, 0.1, dimensions)


def test_axes_taken_in_parts_are_those_of_the_whole():
    whole = features().astype(np.float32)
    one, other = axes_of([whole], 10), axes_of(np.array_split(whole, 7), 10)
    np.testing.assert_allclose(one.variances_A, other.variances_A, rtol=1e-3)
    np.testing.assert_allclose(np.abs(one.main(whole, 10)), np.abs(other.main(whole, 10)), atol=1e-2)


def test_the_main_axes_come_first_and_whitened_ones_have_length_one():
    whole = features()
    axes = axes_of([whole], 40)
    spread = axes.main(whole, 40).std(axis=0)
    assert (np.diff(spread) <= 1e-4).all()
    np.testing.assert_allclose(np.linalg.norm(axes.white(whole), axis=1), 1, atol=1e-5)


def test_few_images_have_few_axes():
    assert axes_of([features(5)], 256).axes_DA.shape == (40, 2)
    assert axes_of([features(1)], 256).white(features(1)).shape == (1, 1)


def test_the_index_finds_what_comparing_all_would_find():
    pytest.importorskip("usearch")
    vectors = axes_of([features(1_000)], 40).white(features(1_000))
    rows, likeness = Index(vectors).nearest(vectors, 5)
    products = vectors @ vectors.T
    exact = np.argsort(-products, axis=1)[:, :5]
    assert np.mean([len(set(a) & set(b)) for a, b in zip(rows, exact, strict=True)]) > 4.9
    np.testing.assert_allclose(likeness[:, 0], 1, atol=2e-3)
    again, _ = Index(vectors).nearest(vectors, 5)
    assert (rows == again).all()


def test_an_index_of_few_gives_what_there_is():
    pytest.importorskip("usearch")
    vectors = np.eye(2, dtype=np.float32)
    rows, _ = Index(vectors).nearest(vectors[:1], 9)
    assert rows.tolist() == [[0, 1]]


def test_without_usearch_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MissingExtra) as caught:
        Index(np.eye(2, dtype=np.float32))
    assert "sortal[check]" in caught.value.hint

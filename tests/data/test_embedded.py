import io
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sortal.data import embedded
from sortal.data.embedded import TEST_EACH, TRAIN_EACH, sample_path
from sortal.data.mnist import SETS
from sortal.errors import DataError


@pytest.fixture(scope="module")
def table():
    return pq.read_table(sample_path())


def test_the_sample_is_at_most_three_megabytes():
    assert sample_path().stat().st_size <= 3_000_000


def test_it_holds_the_same_number_of_images_of_each_class(table):
    counts = Counter(zip(table["split"].to_pylist(), table["label"].to_pylist(), strict=True))
    classes = SETS["fashion-mnist"].classes
    assert counts == {("train", name): TRAIN_EACH for name in classes} | {("test", name): TEST_EACH for name in classes}
    assert counts.total() == 5_500


def test_every_image_opens_as_28_by_28_grey_and_none_occurs_twice(table):
    files = table["image"].to_pylist()
    assert len(set(files)) == len(files)
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            assert (image.format, image.size, image.mode) == ("PNG", (28, 28), "L")
            assert np.asarray(image).any()


def test_the_licence_travels_with_it(table):
    licence = table.schema.metadata[b"licence"].decode()
    assert licence.startswith("The MIT License (MIT) Copyright (c) 2017 Zalando SE")
    assert 'THE SOFTWARE IS PROVIDED "AS IS"' in licence


def test_the_classes_come_mixed(table):
    labels = table["label"].to_pylist()
    assert all(len(set(labels[start : start + 500])) == 10 for start in range(0, 5_500, 500))


def test_a_package_without_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "__file__", str(tmp_path / "embedded.py"))
    with pytest.raises(DataError, match="is missing"):
        sample_path()

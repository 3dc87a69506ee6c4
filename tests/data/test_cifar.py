import io
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sortal.data import cifar, official
from sortal.data.cifar import pictures
from sortal.errors import DataError
from tests.data.cifar_files import CIFAR_10, FINE, batches, pack, python_2, small, write_binary, write_python


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """All sets with few images."""
    sets = {name: small(name) for name in cifar.SETS}
    for name, wanted in sets.items():
        monkeypatch.setitem(cifar.SETS, name, wanted)


def rows(name, source, labels=None, observe=lambda event: None):
    """All rows: pixels of shape (N, 32, 32, 3), labels, splits."""
    labels = labels or next(iter(cifar.SETS[name].labels))
    groups = list(pictures(name, source, labels, observe))
    images = [np.asarray(Image.open(io.BytesIO(file))) for group in groups for file in group[0]]
    return (
        np.stack(images),
        [label for group in groups for label in group[1]],
        [split for group in groups for split in group[2]],
    )


FORMS = {"binary": write_binary, "python": write_python}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("name", "count"), [("cifar-10", (100, 20)), ("cifar-100", (1_000, 200))])
def test_both_versions_hold_every_picture_with_its_class_and_split(tmp_path, name, count, form):
    images, labels, splits = rows(name, FORMS[form](tmp_path / "x", name))
    assert splits == ["train"] * count[0] + ["test"] * count[1]
    wanted = np.concatenate([batch["images"] for batch in batches(name).values()])
    np.testing.assert_array_equal(images, np.moveaxis(wanted, 1, -1))
    names = CIFAR_10 if name == "cifar-10" else FINE
    assert labels == [names[image[0, 0, 0]] for image in images]


@pytest.mark.parametrize("form", FORMS)
def test_the_coarse_labels_of_cifar_100_are_the_groups_of_the_fine_ones(tmp_path, form):
    images, labels, _ = rows("cifar-100", FORMS[form](tmp_path / "x", "cifar-100"), "coarse")
    assert labels == [f"coarse_{image[0, 0, 0] // 5}" for image in images]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", cifar.SETS)
def test_archive_folder_and_the_folder_around_either_are_the_same(tmp_path, name, form):
    shape = getattr(cifar.SETS[name], form)
    folder = FORMS[form](tmp_path / "around" / shape.folder, name)
    wanted = rows(name, folder)
    (tmp_path / "packed").mkdir()
    archive = pack(folder, tmp_path / "packed" / shape.archive)
    for place in (folder.parent, archive, archive.parent):
        found = rows(name, place)
        np.testing.assert_array_equal(found[0], wanted[0])
        assert found[1:] == wanted[1:]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_binary_records_come_back_as_they_were_written(tmp_path_factory, seed):
    folder = write_binary(tmp_path_factory.mktemp("cifar"), "cifar-10")
    random = np.random.default_rng(seed)
    records = random.integers(0, 256, (100, 3073), dtype=np.uint8)
    records[:, 0] = random.permutation(np.repeat(np.arange(10), 10))
    for number, file in enumerate(small("cifar-10").binary.files["train"]):
        (folder / file).write_bytes(records[number * 20 : number * 20 + 20].tobytes())
    images, labels, _ = rows("cifar-10", folder)
    np.testing.assert_array_equal(np.moveaxis(images[:100], -1, 1).reshape(100, -1), records[:, 1:])
    assert labels[:100] == [CIFAR_10[label] for label in records[:, 0]]


def refused(name, place, words, labels=None):
    with pytest.raises(DataError, match=words) as caught:
        rows(name, place, labels)
    assert caught.value.hint
    return str(caught.value)


def test_a_truncated_file_is_named(tmp_path):
    folder = write_binary(tmp_path, "cifar-10")
    whole = (folder / "data_batch_3.bin").read_bytes()
    (folder / "data_batch_3.bin").write_bytes(whole[:-1])
    refused("cifar-10", folder, r"data_batch_3\.bin holds 61,459 bytes, expected 20 records of 3,073")
    folder = write_python(tmp_path / "python", "cifar-10")
    whole = (folder / "test_batch").read_bytes()
    (folder / "test_batch").write_bytes(whole[:-1000])
    refused("cifar-10", folder, r"test_batch is damaged or no pickle")


@pytest.mark.parametrize("cut", [20, 5_000, -9])
def test_a_truncated_archive_is_named(tmp_path, cut):
    archive = pack(write_binary(tmp_path / "cifar-10-batches-bin", "cifar-10"), tmp_path / "cifar-10-binary.tar.gz")
    archive.write_bytes(archive.read_bytes()[:cut])
    assert "cifar-10-binary.tar.gz" in refused("cifar-10", archive, "cut short|damaged|lacks|ended")


def test_a_missing_file_is_named(tmp_path):
    folder = write_binary(tmp_path, "cifar-10")
    (folder / "data_batch_4.bin").unlink()
    (folder / "batches.meta.txt").unlink()
    refused("cifar-10", folder, r"lacks data_batch_4\.bin, batches\.meta\.txt of CIFAR-10")


@pytest.mark.parametrize("form", FORMS)
def test_training_and_test_files_that_changed_places_are_told(tmp_path, form):
    folder = FORMS[form](tmp_path, "cifar-10")
    one, other = (folder / getattr(small("cifar-10"), form).files[split][0] for split in ("train", "test"))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    words = "data_batch_1.bin: looks like the test batch" if form == "binary" else "data_batch_1 calls itself 'testing batch"
    refused("cifar-10", folder, words)


def test_the_test_file_of_cifar_100_in_the_place_of_the_training_file_is_told(tmp_path):
    folder = write_binary(tmp_path, "cifar-100")
    shutil.copy(folder / "test.bin", folder / "train.bin")
    refused("cifar-100", folder, r"train\.bin holds 614,800 bytes, expected 1,000 records of 3,074")


def test_one_batch_twice_is_told(tmp_path):
    folder = write_binary(tmp_path, "cifar-10")
    shutil.copy(folder / "data_batch_2.bin", folder / "data_batch_5.bin")
    refused("cifar-10", folder, r"data_batch_5\.bin holds the same images as data_batch_2\.bin")


def test_the_other_cifar_is_told(tmp_path):
    folder = write_binary(tmp_path / "cifar-100-binary", "cifar-100")
    refused("cifar-10", folder, "holds CIFAR-100, not CIFAR-10")
    refused("cifar-10", pack(folder, tmp_path / "cifar-10-binary.tar.gz"), r"cifar-10-binary\.tar\.gz holds CIFAR-100")


def test_a_file_with_the_published_checksum_of_another_is_told(tmp_path, monkeypatch):
    folder = write_python(tmp_path, "cifar-10")
    monkeypatch.setitem(official.CONTENTS, official.md5_of(folder / "data_batch_2"), ("CIFAR-10", "data_batch_4"))
    refused("cifar-10", folder, "data_batch_2 is data_batch_4 of CIFAR-10, not data_batch_2 of CIFAR-10")


def test_a_file_that_is_not_the_published_one_is_read_with_a_warning(tmp_path):
    told = []
    rows("cifar-10", write_python(tmp_path, "cifar-10"), observe=told.append)
    assert sorted(event.text.split(" is not the published ")[1].split(" ")[0] for event in told) == [
        "data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch",
    ]  # fmt: skip
    assert {event.severity for event in told} == {"warning"}


def test_a_label_out_of_range_and_lists_of_different_lengths_are_named(tmp_path):
    folder = write_binary(tmp_path / "b", "cifar-10")
    data = bytearray((folder / "data_batch_1.bin").read_bytes())
    data[3073] = 10
    (folder / "data_batch_1.bin").write_bytes(data)
    refused("cifar-10", folder, r"data_batch_1\.bin: label 10 of image 1 is not in 0\.\.9")
    folder = write_python(tmp_path / "p", "cifar-10")
    images = np.zeros((20, 3072), np.uint8)
    for content, words in (
        ({"data": images, "labels": [0] * 19}, "has 20 images and 19 labels"),
        ({"data": images[:, :-1], "labels": [0] * 20}, "'data' is 20 x 3071"),
        ({"labels": [0] * 20}, "'data' is nothing"),
        ({"data": images, "labels": ["a"] * 20}, "has no list of numbers called 'labels'"),
        ({"data": images, "fine_labels": [0] * 20}, "has no list of numbers called 'labels'"),
        ({"data": images[:19], "labels": [0] * 19}, "holds 19 images, expected 20"),
    ):
        (folder / "data_batch_1").write_bytes(python_2(content))
        refused("cifar-10", folder, words)


def test_names_of_classes_that_are_too_few_are_told(tmp_path):
    folder = write_binary(tmp_path, "cifar-10")
    (folder / "batches.meta.txt").write_text("airplane\nbird\n")
    refused("cifar-10", folder, r"batches\.meta\.txt does not hold 10 names of classes")
    folder = write_python(tmp_path / "python", "cifar-10")
    for content in ({}, {"label_names": 10}, {"label_names": ["cat"] * 10}, {"label_names": [*"abcdefghi", "j|k"]}):
        (folder / "batches.meta").write_bytes(python_2(content))
        refused("cifar-10", folder, "batches.meta does not hold 10 names of classes")


def test_a_place_that_is_not_there_or_no_archive_is_named(tmp_path):
    refused("cifar-10", tmp_path / "nowhere", "nowhere does not exist")
    refused("cifar-10", tmp_path, "holds no files of CIFAR-10")
    (tmp_path / "notes.txt").write_text("x")
    refused("cifar-10", tmp_path / "notes.txt", "is no archive")

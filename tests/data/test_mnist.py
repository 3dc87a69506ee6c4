import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sortal.data import mnist
from sortal.data.mnist import SETS, pictures
from sortal.data.standard import INSTALLED, STANDARD
from sortal.errors import DataError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def write_idx(folder: Path, name: str) -> Path:
    """Four official files of a data set that is full in number, with pictures that all show their row."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, counts in zip(("train", "t10k"), SETS[name].counts.values(), strict=True):
        labels = np.repeat(np.arange(10, dtype=np.uint8), counts)
        images = np.zeros((len(labels), 28, 28), np.uint8)
        images[:, 0, :4] = np.arange(len(labels), dtype=">u4").view(np.uint8).reshape(-1, 4)
        images[:, 27, 27] = labels
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
        packed = gzip.compress(struct.pack(">2I", 0x801, len(labels)) + labels.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(packed)
    return folder


@pytest.fixture(scope="module")
def fashion(tmp_path_factory):
    return write_idx(tmp_path_factory.mktemp("fashion"), "fashion-mnist")


def linked(folder: Path, source: Path, places: tuple[str, ...] = FILES) -> Path:
    """The four files under other names."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, place in zip(FILES, places, strict=True):
        for suffix in ("", ".gz"):
            if (source / (name + suffix)).exists():
                (folder / (place + suffix)).symlink_to(source / (name + suffix))
    return folder


def read(name: str, source: Path, observe=lambda event: None) -> int:
    return sum(len(group[0]) for group in pictures(name, source, observe))


@pytest.mark.parametrize("name", SETS)
def test_the_class_counts_sum_to_the_numbers_of_the_table(name):
    entry, wanted = STANDARD[name], SETS[name]
    assert {split: sum(counts) for split, counts in wanted.counts.items()} == {"train": entry.train, "test": entry.test}
    assert len(wanted.classes) == len(wanted.counts["train"]) == entry.classes


def test_every_picture_comes_with_its_label_and_split(fashion):
    groups = list(pictures("fashion-mnist", fashion))
    assert [len(group[0]) for group in groups] == [1_000] * 70
    files, labels, splits = ([value for group in groups for value in group[column]] for column in range(3))
    assert splits == ["train"] * 60_000 + ["test"] * 10_000
    for row in (0, 59_999, 60_000, 69_999):
        image = np.asarray(Image.open(io.BytesIO(files[row])))
        assert image.shape == (28, 28)
        assert int.from_bytes(image[0, :4].tobytes(), "big") == row % 60_000
        assert labels[row] == SETS["fashion-mnist"].classes[image[27, 27]]


@pytest.mark.parametrize("below", [".", "raw", "FashionMNIST/raw"])
def test_the_files_are_found_where_torchvision_puts_them(fashion, tmp_path, below):
    linked(tmp_path / below, fashion)
    assert read("fashion-mnist", tmp_path) == 70_000


def test_of_torchvisions_root_each_set_takes_its_own_folder(fashion, tmp_path):
    linked(tmp_path / "FashionMNIST" / "raw", fashion)
    write_idx(tmp_path / "MNIST" / "raw", "mnist")
    assert [read(name, tmp_path) for name in SETS] == [70_000, 70_000]


def test_mnist_in_the_place_of_fashion_mnist_is_told_by_its_class_counts(tmp_path):
    write_idx(tmp_path, "mnist")
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.* does not hold the labels of Fashion-MNIST"):
        read("fashion-mnist", tmp_path)


def test_images_of_another_set_are_told_by_their_published_checksum(fashion, tmp_path, monkeypatch):
    content = (fashion / FILES[0]).read_bytes()
    monkeypatch.setitem(mnist.official.CONTENTS, mnist.official.md5_of(fashion / FILES[0]), ("MNIST", FILES[0]))
    packed = linked(tmp_path, fashion)
    (packed / FILES[0]).unlink()
    (packed / f"{FILES[0]}.gz").write_bytes(gzip.compress(content, 1))  # packed anew it is the same
    with pytest.raises(DataError, match=r"idx3-ubyte\.gz is train-images-idx3-ubyte of MNIST, not .* of Fashion-MNIST"):
        read("fashion-mnist", packed)


def test_files_that_are_not_the_published_ones_are_read_with_a_warning(fashion):
    told = []
    assert read("fashion-mnist", fashion, told.append) == 70_000
    assert [event.text.partition(" is not the published ")[2].partition(" ")[0] for event in told] == list(FILES)


def test_training_and_test_files_that_changed_places_are_told(fashion, tmp_path):
    linked(tmp_path, fashion, FILES[2:] + FILES[:2])
    with pytest.raises(DataError, match="announces 10,000 x 28 x 28 images, expected 60,000 x 28 x 28"):
        read("fashion-mnist", tmp_path)


def test_labels_of_the_other_split_are_told(fashion, tmp_path):
    linked(tmp_path, fashion)
    (tmp_path / f"{FILES[1]}.gz").unlink()
    (tmp_path / f"{FILES[1]}.gz").symlink_to(fashion / f"{FILES[3]}.gz")
    with pytest.raises(DataError, match=r"train-labels.*announces 10,000 labels, expected 60,000"):
        read("fashion-mnist", tmp_path)


def test_a_missing_file_and_a_missing_folder_are_named(fashion, tmp_path):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"):
        (tmp_path / name).symlink_to(fashion / name)
    with pytest.raises(DataError, match="there is no t10k-images-idx3-ubyte"):
        read("fashion-mnist", tmp_path)
    with pytest.raises(DataError, match=r"there is no folder .*nowhere"):
        read("fashion-mnist", tmp_path / "nowhere")
    with pytest.raises(DataError, match="train-images-idx3-ubyte is no folder") as caught:
        read("fashion-mnist", fashion / FILES[0])
    assert "name the folder that holds the four files of Fashion-MNIST" in caught.value.hint


@pytest.mark.skipif(not INSTALLED["fashion-mnist"].is_dir(), reason="the package dataset-fashion-mnist is not installed")
def test_debians_package_is_the_published_fashion_mnist():
    told = []
    assert read("fashion-mnist", INSTALLED["fashion-mnist"], told.append) == 70_000
    assert told == []
    first = next(pictures("fashion-mnist", INSTALLED["fashion-mnist"]))
    assert first[1][:3] == ["Ankle boot", "T-shirt/top", "T-shirt/top"]

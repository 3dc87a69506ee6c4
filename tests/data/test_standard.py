import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from sortal.data import standard
from sortal.data.standard import DEBIAN_FASHION_MNIST, STANDARD, find, read, write_parquet
from sortal.errors import DataError, NotSupported, RunExists, UnknownName

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def write_idx(folder: Path, name: str) -> None:
    """Four official files of a data set that is full in number, with pictures that all show their row."""
    for stem, counts in zip(("train", "t10k"), standard.IDX_SETS[name].counts.values(), strict=True):
        labels = np.repeat(np.arange(10, dtype=np.uint8), counts)
        images = np.zeros((len(labels), 28, 28), np.uint8)
        images[:, 0, :4] = np.arange(len(labels), dtype=">u4").view(np.uint8).reshape(-1, 4)
        images[:, 27, 27] = labels
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
        packed = gzip.compress(struct.pack(">2I", 0x801, len(labels)) + labels.tobytes())
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(packed)


@pytest.fixture(scope="module")
def fashion(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fashion")
    write_idx(folder, "fashion-mnist")
    return folder


def test_the_table_holds_the_six_sets_of_the_tutorials():
    assert list(STANDARD) == ["mnist", "fashion-mnist", "cifar-10", "cifar-100", "imagenet", "inaturalist"]
    assert [entry.name for entry in STANDARD.values() if entry.readable] == list(standard.IDX_SETS)[::-1]
    told = STANDARD["cifar-100"].to_json()
    assert told | {"classes": 100, "train": 50_000, "test": 10_000, "resolution": "32 x 32", "difficulty": "hard"} == told


@pytest.mark.parametrize("name", standard.IDX_SETS)
def test_the_class_counts_sum_to_the_numbers_of_the_table(name):
    entry, wanted = STANDARD[name], standard.IDX_SETS[name]
    assert {split: sum(counts) for split, counts in wanted.counts.items()} == {"train": entry.train, "test": entry.test}
    assert len(wanted.classes) == len(wanted.counts["train"]) == entry.classes


def test_the_parquet_holds_every_picture_with_its_label_and_split(fashion, tmp_path):
    seen = []
    to = write_parquet("fashion-mnist", source=fashion, to=tmp_path / "new" / "fm.parquet", observe=seen.append)
    assert to == tmp_path / "new" / "fm.parquet"
    file = pq.ParquetFile(to)
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (70_000, 70)
    assert file.schema_arrow.metadata[b"licence"] == b"MIT"
    table = file.read()
    assert table["split"].to_pylist() == ["train"] * 60_000 + ["test"] * 10_000
    for row in (0, 59_999, 60_000, 69_999):
        image = np.asarray(Image.open(io.BytesIO(table["image"][row].as_py())))
        assert image.shape == (28, 28)
        assert int.from_bytes(image[0, :4].tobytes(), "big") == row % 60_000
        assert table["label"][row].as_py() == standard.IDX_SETS["fashion-mnist"].classes[image[27, 27]]
    assert (seen[-1].done, seen[-1].total) == (70_000, 70_000)


def test_a_file_that_exists_is_never_overwritten(fashion, tmp_path):
    to = tmp_path / "mine.parquet"
    to.write_text("precious")
    with pytest.raises(RunExists, match=r"mine\.parquet already exists"):
        write_parquet("fashion-mnist", source=fashion, to=to)
    assert to.read_text() == "precious"


def test_mnist_in_the_place_of_fashion_mnist_is_told_by_its_class_counts(tmp_path):
    write_idx(tmp_path, "mnist")
    assert {split: len(labels) for split, (_, labels) in read("mnist", source=tmp_path).items()} == {
        "train": 60_000,
        "test": 10_000,
    }
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte.* does not hold the labels of Fashion-MNIST"):
        write_parquet("fashion-mnist", source=tmp_path, to=tmp_path / "x.parquet")
    assert not (tmp_path / "x.parquet").exists()


def test_training_and_test_files_that_changed_places_are_told(fashion, tmp_path):
    for name, place in zip(FILES, FILES[2:] + FILES[:2], strict=True):
        for suffix in ("", ".gz"):
            if (fashion / (name + suffix)).exists():
                (tmp_path / (place + suffix)).symlink_to(fashion / (name + suffix))
    with pytest.raises(DataError, match="announces 10,000 x 28 x 28 images, expected 60,000 x 28 x 28"):
        read("fashion-mnist", source=tmp_path)


def test_a_missing_file_and_a_missing_folder_are_named(fashion, tmp_path):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"):
        (tmp_path / name).symlink_to(fashion / name)
    with pytest.raises(DataError, match="there is no t10k-images-idx3-ubyte"):
        read("fashion-mnist", source=tmp_path)
    with pytest.raises(DataError, match=r"there is no folder .*nowhere") as caught:
        read("fashion-mnist", source=tmp_path / "nowhere")
    assert "apt install dataset-fashion-mnist" in caught.value.hint


def test_mnist_has_no_place_of_its_own_and_says_so():
    with pytest.raises(DataError, match="nothing says where the files of MNIST are") as caught:
        read("mnist")
    assert "name the folder" in caught.value.hint


def test_a_set_that_cannot_be_read_says_what_can(tmp_path):
    with pytest.raises(NotSupported, match="CIFAR-10") as caught:
        write_parquet("cifar-10", to=tmp_path / "x.parquet")
    assert "fashion-mnist, mnist" in caught.value.hint


def test_a_name_that_is_nearly_right_is_guessed():
    with pytest.raises(UnknownName) as caught:
        find("fashion_mnist")
    assert "did you mean 'fashion-mnist'" in caught.value.hint


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.is_dir(), reason="the package dataset-fashion-mnist is not installed")
def test_debians_package_is_read_where_it_lies():
    images, labels = read("fashion-mnist")["test"]
    assert (images.shape, int(images.sum()), labels[:5].tolist()) == ((10_000, 28, 28), 573_469_082, [9, 2, 1, 1, 6])

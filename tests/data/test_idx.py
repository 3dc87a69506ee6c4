import gzip
import hashlib
import os
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sortal.data.idx import find, is_in, md5, read_images, read_labels
from sortal.errors import DataError

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([0, 2], np.uint8)


def image_file(images=IMAGES) -> bytes:
    return struct.pack(">4I", 0x803, *images.shape) + images.tobytes()


def label_file(labels=LABELS) -> bytes:
    return struct.pack(">2I", 0x801, len(labels)) + labels.tobytes()


def images_of(path):
    return read_images(path, count=2, height=3, width=4)


def labels_of(path):
    return read_labels(path, count=2, classes=3)


@pytest.fixture
def write(tmp_path):
    def write(data: bytes, name: str = "file"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_plain_and_gzipped_files_are_read_whatever_their_name(write, pack):
    np.testing.assert_array_equal(images_of(write(pack(image_file()))), IMAGES)
    np.testing.assert_array_equal(labels_of(write(pack(label_file()))), LABELS)


@given(
    st.integers(0, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([bytes, gzip.compress])
)
def test_what_was_written_is_read_and_has_the_checksum_of_its_plain_file(tmp_path_factory, count, height, width, seed, pack):
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (count, height, width), dtype=np.uint8)
    labels = random.integers(0, 10, count, dtype=np.uint8)
    folder = tmp_path_factory.mktemp("idx")
    (folder / "images").write_bytes(pack(image_file(images)))
    (folder / "labels").write_bytes(pack(label_file(labels)))
    np.testing.assert_array_equal(read_images(folder / "images", count=count, height=height, width=width), images)
    np.testing.assert_array_equal(read_labels(folder / "labels", count=count, classes=10), labels)
    assert md5(images) == hashlib.md5(image_file(images)).hexdigest()
    assert md5(labels) == hashlib.md5(label_file(labels)).hexdigest()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is not an IDX file of images .it begins with nothing"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), "is not an IDX file of images .it begins with 89504e47"),
        (label_file(), "holds labels, not images"),
        (image_file()[:10], "cut short inside its header"),
        (image_file()[:-1], "only 23 of the 24 bytes"),
        (image_file() + b"x", "more than the 24 bytes"),
        (image_file(IMAGES[:1]), "announces 1 x 3 x 4 images, expected 2 x 3 x 4"),
        (image_file(IMAGES.reshape(2, 4, 3)), "announces 2 x 4 x 3 images, expected 2 x 3 x 4"),
        (gzip.compress(image_file())[:-9], "damaged or cut short"),
        (gzip.compress(image_file())[:-8] + bytes(8), "damaged or cut short"),  # its checksum
        (gzip.compress(image_file())[:10] + b"\xff" * 40, "damaged or cut short"),  # its body
        (gzip.compress(image_file()[:-1]), "only 23 of the 24 bytes"),
    ],
    ids=range(12),
)
def test_a_file_that_does_not_fit_is_named_with_what_is_wrong(write, data, words):
    path = write(data, "train-images")
    with pytest.raises(DataError, match=words) as caught:
        images_of(path)
    assert str(path) in str(caught.value)
    assert caught.value.hint


def test_a_label_out_of_range_is_named_with_its_image(write):
    with pytest.raises(DataError, match=r"label 3 of image 1 is not in 0\.\.2"):
        labels_of(write(label_file(np.array([0, 3], np.uint8))))


def test_images_where_labels_belong_are_told_apart(write):
    with pytest.raises(DataError, match="holds images, not labels"):
        labels_of(write(image_file()))


def test_a_gzip_that_would_unpack_to_gigabytes_is_not_unpacked(write, monkeypatch):
    bomb = gzip.compress(image_file() + bytes(50_000_000))
    read = []
    plain = gzip.GzipFile.read
    monkeypatch.setattr(gzip.GzipFile, "read", lambda self, size=-1: read.append(size) or plain(self, size))
    with pytest.raises(DataError, match="more than the 24 bytes"):
        images_of(write(bomb))
    assert max(read) == 25


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(write):
    path = write(image_file())
    path.chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        images_of(path)


def test_a_folder_in_a_files_place_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        images_of(tmp_path)


def test_a_file_is_found_plain_first_then_gzipped(write, tmp_path):
    packed = write(b"", "t10k-images-idx3-ubyte.gz")
    assert find(tmp_path, "t10k-images-idx3-ubyte") == packed
    assert is_in(tmp_path, "t10k-images-idx3-ubyte")
    assert not is_in(tmp_path, "train-images-idx3-ubyte")
    plain = write(b"", "t10k-images-idx3-ubyte")
    assert find(tmp_path, "t10k-images-idx3-ubyte") == plain
    with pytest.raises(DataError, match=r"no train-labels-idx1-ubyte or train-labels-idx1-ubyte\.gz"):
        find(tmp_path, "train-labels-idx1-ubyte")

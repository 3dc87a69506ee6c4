import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from sortal.data import imagenet
from sortal.data.imagenet import Sizes, images
from sortal.errors import DataError

scipy_io = pytest.importorskip("scipy.io")

SYNSETS = {"n01440764": "tench, Tinca tinca", "n01443537": "goldfish, Carassius auratus", "n02012849": "crane"}
# The devkit counts classes in an order of its own, and describes groups of classes too.
NUMBERS = {"n01440764": 3, "n01443537": 1, "n02012849": 2}
COUNTS = {"n01440764": 2, "n01443537": 1, "n02012849": 3}
VALIDATION = ["n02012849", "n01440764", "n01443537", "n02012849"]


@pytest.fixture(autouse=True)
def little(monkeypatch):
    monkeypatch.setattr(imagenet, "WHOLE", Sizes(classes=3, train=6, validation=4))


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def meta_mat() -> bytes:
    """As the devkit's: one entry a class, then groups of them."""
    names = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"]
    rows = [(NUMBERS[synset], synset, SYNSETS[synset], "a fish", 0, np.zeros(0), 0, COUNTS[synset]) for synset in SYNSETS]
    rows.sort()
    rows.append((4, "n00001740", "entity", "all", 2, np.array([1, 3]), 1, 0))
    entries = np.empty((len(rows), 1), [(name, object) for name in names])
    for number, row in enumerate(rows):
        entries[number, 0] = row
    file = io.BytesIO()
    scipy_io.savemat(file, {"synsets": entries})
    return file.getvalue()


def devkit() -> dict[str, bytes]:
    truth = "".join(f"{NUMBERS[synset]}\n" for synset in VALIDATION).encode()
    return {"meta.mat": meta_mat(), "ILSVRC2012_validation_ground_truth.txt": truth}


def write_devkit(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in devkit().items():
        (folder / name).write_bytes(data)


def write_training(folder: Path) -> Path:
    for synset, count in COUNTS.items():
        for number in range(count):
            touch(folder / synset / f"{synset}_{number}.JPEG")
    return folder


def write_flat(folder: Path) -> Path:
    for number in range(1, 5):
        touch(folder / f"ILSVRC2012_val_{number:08}.JPEG")
    return folder


@pytest.fixture
def root(tmp_path):
    """train/ and a flat val/, nothing else."""
    write_training(tmp_path / "train")
    write_flat(tmp_path / "val")
    return tmp_path


def listed(root, labels="synset", to=None, observe=lambda event: None):
    return list(images(root, to or root / "imagenet.csv", labels, observe))


TRAINED = [(f"train/{synset}/{synset}_{number}.JPEG", synset, "train") for synset in COUNTS for number in range(COUNTS[synset])]
VALIDATED = [(f"val/ILSVRC2012_val_{number:08}.JPEG", synset, "test") for number, synset in enumerate(VALIDATION, start=1)]


@pytest.mark.parametrize("place", ["ILSVRC2012_devkit_t12/data", "data", "."])
def test_flat_validation_images_are_labelled_by_the_devkit(root, place):
    write_devkit(root / place)
    assert listed(root) == TRAINED + VALIDATED


def test_the_devkit_is_read_from_its_archive(root):
    with tarfile.open(root / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as tar:
        for name, data in devkit().items():
            info = tarfile.TarInfo(f"ILSVRC2012_devkit_t12/data/{name}")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert listed(root) == TRAINED + VALIDATED
    assert listed(root, "words")[0][1] == "n01440764 tench"


def test_validation_images_in_class_folders_need_no_devkit(tmp_path):
    write_training(tmp_path / "train")
    for path, synset, _ in VALIDATED:
        touch(tmp_path / "val" / synset / Path(path).name)
    rows = listed(tmp_path)
    assert rows[:6] == TRAINED
    assert {(path.split("/")[1], label, split) for path, label, split in rows[6:]} == {(s, s, "test") for s in VALIDATION}


def test_kaggles_layout_is_read_with_its_solution_and_its_names(tmp_path):
    inner = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    write_training(inner / "train")
    write_flat(inner / "val")
    boxes = [f"ILSVRC2012_val_{number:08},{synset} 1 2 3 4 \n" for number, synset in enumerate(VALIDATION, start=1)]
    (tmp_path / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "".join(boxes[::-1]))
    (tmp_path / "LOC_synset_mapping.txt").write_text("".join(f"{synset} {words}\n" for synset, words in SYNSETS.items()))
    prefix = "ILSVRC/Data/CLS-LOC/"
    assert listed(tmp_path) == [(prefix + path, label, split) for path, label, split in TRAINED + VALIDATED]
    assert {row[1] for row in listed(tmp_path, "words")} == {"n01440764 tench", "n01443537 goldfish", "n02012849 crane"}


def test_without_names_classes_are_called_by_their_synsets_and_that_is_said(tmp_path, monkeypatch):
    write_training(tmp_path / "train")
    write_training(tmp_path / "val")
    touch(tmp_path / "val" / "n01443537" / "more.JPEG")
    monkeypatch.setattr(imagenet, "WHOLE", Sizes(classes=3, train=6, validation=7))
    told = []
    assert {row[1] for row in listed(tmp_path, "words", observe=told.append)} == set(SYNSETS)
    assert "classes are called by their synsets alone" in told[0].text


def test_a_table_elsewhere_names_the_images_by_their_whole_paths(root, tmp_path_factory):
    write_devkit(root)
    rows = listed(root, to=tmp_path_factory.mktemp("lists") / "imagenet.csv")
    assert rows[0][0] == f"{root}/train/n01440764/n01440764_0.JPEG"


def refused(root, words):
    with pytest.raises(DataError, match=words) as caught:
        listed(root)
    assert "image-net.org" in caught.value.hint


def test_what_is_missing_is_named(root):
    refused(root, "nothing says what the images in .*val are")
    write_devkit(root)
    (root / "val" / "ILSVRC2012_val_00000003.JPEG").rename(root / "val" / "3.txt")
    refused(root, r"val lacks 1 validation images: ILSVRC2012_val_00000003\.JPEG")
    (root / "val" / "3.txt").rename(root / "val" / "ILSVRC2012_val_00000003.JPEG")
    (root / "train" / "n02012849" / "n02012849_1.JPEG").unlink()
    refused(root, r"train holds 5 images, expected 6\n  n02012849/ has 2 of 3")
    (root / "ILSVRC2012_validation_ground_truth.txt").unlink()
    refused(root, "has meta.mat of the devkit but not ILSVRC2012_validation_ground_truth.txt")
    refused(root / "val", r"holds no training images: none of train/, ILSVRC2012_img_train/")
    refused(root / "nowhere", "is no folder")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("meta.mat", b"MATLAB 5.0 MAT-file" + bytes(200), r"meta\.mat is damaged or not the devkit's"),
        ("meta.mat", b"", r"meta\.mat is damaged or not the devkit's"),
        ("ILSVRC2012_validation_ground_truth.txt", b"3\n1\n2\n", r"ground_truth\.txt labels 3 images, expected 4"),
        ("ILSVRC2012_validation_ground_truth.txt", b"3\n1\n2\n4\n", r"ground_truth\.txt, line 4: '4' is no class of meta\.mat"),
        ("ILSVRC2012_validation_ground_truth.txt", b"3\n1\nx\n3\n", r"ground_truth\.txt, line 3: 'x' is no class of meta\.mat"),
    ],
    ids=range(5),
)
def test_a_file_of_the_devkit_that_is_damaged_or_cut_short_is_named(root, name, data, words):
    write_devkit(root)
    (root / name).write_bytes(data)
    refused(root, words)


def test_a_missing_class_folder_and_too_many_images_are_told(root):
    write_devkit(root)
    touch(root / "val" / "ILSVRC2012_val_00000005.JPEG")
    refused(root, "val holds 5 validation images, expected 4")
    (root / "train" / "n02012849").rename(root / "train" / "cranes")
    refused(root, r"train holds 2 class folders such as n01440764/, expected 3")

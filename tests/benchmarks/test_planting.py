"""What is planted is what is told, and what is counted is what was found of it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.planted import copied, copies_found, counted
from benchmarks.planting import KINDS, Planted, images_of, plant_border, plant_faults
from sortal.errors import UnreadableImage
from sortal.preprocess import open_rgb


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for split, each in (("train", 30), ("test", 12)):
        for label in ("ants", "bees"):
            (tmp_path / "set" / split / label).mkdir(parents=True)
            for number in range(each):
                picture = Image.fromarray(random.integers(0, 256, (40, 48, 3), dtype=np.uint8))
                picture.save(tmp_path / "set" / split / label / f"{number:03}.jpg")
    return tmp_path / "set"


def test_all_that_is_planted_is_told_and_every_image_has_one_fault(folder: Path) -> None:
    before = images_of(folder)
    planted = plant_faults(folder, copies=2, wrong=0.1, broken=5, seed=1)
    after = images_of(folder)
    assert len(planted.copies) == 10
    assert len(planted.wrong) == 8
    assert set(after) - set(before) == {*planted.copies, *planted.wrong, *planted.broken}
    assert len(set(before) - set(after)) == 8  # they were moved
    sources = [source for source, _ in planted.copies.values()]
    assert len(set(sources)) == 10
    for copy, (source, _) in planted.copies.items():
        assert copy.split("/")[0] != source.split("/")[0]
        assert copy.split("/")[1] == source.split("/")[1]
        assert (folder / copy).read_bytes() != (folder / source).read_bytes()
    for path in planted.broken:
        with pytest.raises(UnreadableImage):
            open_rgb((folder / path).read_bytes())


def test_the_same_seed_plants_the_same_and_another_one_not(folder: Path, tmp_path: Path) -> None:
    folders = [copied(folder, tmp_path / name) for name in ("one", "same", "other")]
    planted = [
        plant_faults(each, copies=1, wrong=0.05, broken=2, seed=seed) for each, seed in zip(folders, (1, 1, 2), strict=True)
    ]
    assert planted[0] == planted[1] != planted[2]


def test_a_border_is_put_on_one_class_and_the_original_stays_as_it_was(folder: Path, tmp_path: Path) -> None:
    other = copied(folder, tmp_path / "bordered")
    before = {name: (folder / name).read_bytes() for name in images_of(folder)}
    planted = plant_border(other, share=0.9, seed=1)
    assert len({name.split("/")[1] for name in planted.bordered}) == 1
    assert 0.7 * 42 < len(planted.bordered) <= 42
    assert {name: (folder / name).read_bytes() for name in images_of(folder)} == before
    framed = np.asarray(Image.open(other / planted.bordered[0]).convert("RGB")).astype(int)
    assert framed.shape == (40, 48, 3)
    assert framed[0].std(axis=0).max() < 12 < framed[20].std(axis=0).min()


def test_recall_is_of_what_was_planted_and_precision_leaves_out_what_was_there_before() -> None:
    found = counted({"a", "b"}, {"a", "x", "y"}, {"x"})
    assert (found["recall"], found["precision"], found["right"]) == (0.5, 0.5, 1)
    assert counted({"a"}, {"a"}, {"a"})["precision"] == 1.0  # what was planted counts, whatever was said of it before


def test_copies_are_counted_by_kind_and_strangers_joined_to_them_are_wrong() -> None:
    planted = Planted(copies={"test/a/c1": ("train/a/1", "cropped"), "test/a/c2": ("train/a/2", "mirrored")})
    natural = [["train/a/5", "test/a/6"]]
    found = copies_found(planted, [["train/a/1", "test/a/c1"], *natural, ["train/a/7", "train/a/8"]], natural)
    assert found["recall"]["cropped"] == 1.0
    assert found["recall"]["mirrored"] == 0.0
    assert found["wrong"] == [("train/a/7", "train/a/8")]
    assert found["precision"] == 0.5
    assert found["missed"] == ["test/a/c2"]
    assert set(found["recall"]) == set(KINDS)


def test_a_natural_copy_of_an_image_that_was_moved_is_no_mistake() -> None:
    planted = Planted(wrong={"train/b/a-1": "a"})
    found = copies_found(planted, [["train/b/a-1", "test/a/2"]], [["test/a/2", "train/a/1"]])
    assert found["wrong_total"] == 0

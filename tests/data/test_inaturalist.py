import json

import pytest

from sortal.data import inaturalist
from sortal.data.inaturalist import LEVELS, images
from sortal.errors import DataError

CATEGORIES = [
    {"id": 0, "name": "Rana temporaria", "genus": "Rana", "family": "Ranidae", "order": "Anura", "class": "Amphibia"},
    {"id": 1, "name": "Rana arvalis", "genus": "Rana", "family": "Ranidae", "order": "Anura", "class": "Amphibia"},
    {"id": 2, "name": "Bufo bufo", "genus": "Bufo", "family": "Bufonidae", "order": "Anura", "class": "Amphibia"},
]
FILES = {"train": [(10, 2), (11, 0), (12, 1), (13, 0)], "val": [(20, 1), (21, 0), (22, 2)]}


@pytest.fixture(autouse=True)
def little(monkeypatch):
    monkeypatch.setattr(inaturalist, "EDITIONS", {"a little one": (3, 4, 3)})


def content(split: str) -> dict:
    """As the competition's, in its order of keys; annotations are not in the order of the images."""
    return {
        "info": {"year": 2021},
        "images": [{"id": n, "width": 8, "file_name": f"{split}/0000{c}_frog/{n}.jpg", "license": 0} for n, c in FILES[split]],
        "categories": [{**item, "phylum": "Chordata", "kingdom": "Animalia"} for item in CATEGORIES],
        "annotations": [{"id": n, "image_id": n, "category_id": c} for n, c in FILES[split][::-1]],
        "licenses": [],
    }


def write(root, split, **changed):
    (root / f"{split}2021.json").write_text(json.dumps({**content(split), **changed}, indent=1))


@pytest.fixture
def root(tmp_path):
    for split in FILES:
        write(tmp_path, split)
        for item in content(split)["images"]:
            path = tmp_path / item["file_name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return tmp_path


def listed(root, labels="species"):
    return list(images(root, root / "inaturalist.csv", labels))


def test_every_image_is_listed_with_its_species_and_validation_is_the_test_split(root):
    names = [item["name"] for item in CATEGORIES]
    assert listed(root) == [
        (f"{split}/0000{number}_frog/{image}.jpg", names[number], {"train": "train", "val": "test"}[split])
        for split in FILES
        for image, number in FILES[split]
    ]


@pytest.mark.parametrize("name", ["train.json", "train_mini.json"])
def test_the_names_of_the_published_archives_are_known(root, name):
    wanted = listed(root)
    (root / "train2021.json").rename(root / name)
    (root / "val2021.json").rename(root / "val.json")
    assert listed(root) == wanted


@pytest.mark.parametrize(
    ("level", "found"), [("genus", {"Rana", "Bufo"}), ("family", {"Ranidae", "Bufonidae"}), ("kingdom", {"Animalia"})]
)
def test_classes_may_be_any_rank(root, level, found):
    assert level in LEVELS
    assert {row[1] for row in listed(root, level)} == found


def test_two_species_of_one_name_are_told_apart(root):
    for split in FILES:
        twice = [dict(item, name="Rana arvalis") if item["id"] < 2 else item for item in content(split)["categories"]]
        write(root, split, categories=twice)
    assert {row[1] for row in listed(root)} == {"Rana arvalis (0)", "Rana arvalis (1)", "Bufo bufo"}


def refused(root, words, labels="species"):
    with pytest.raises(DataError, match=words) as caught:
        listed(root, labels)
    assert "github.com/visipedia/inat_comp" in caught.value.hint or "fetch the file again" in caught.value.hint


def test_missing_files_are_named(root):
    (root / "val" / "00001_frog" / "20.jpg").unlink()
    refused(root, r"lacks 1 images: val/00001_frog/20\.jpg")
    (root / "train2021.json").unlink()
    refused(root, r"holds none of train2021\.json, train\.json")
    refused(root / "nowhere", "is no folder")


def test_training_and_validation_that_changed_places_are_told(root):
    (root / "val2021.json").rename(root / "x")
    (root / "train2021.json").rename(root / "val2021.json")
    (root / "x").rename(root / "train2021.json")
    refused(root, r"train2021\.json has 3 classes and 3 images, expected 3 and 4 \(a little one\)")


def test_a_file_that_is_cut_short_is_named(root):
    text = (root / "val2021.json").read_text()
    (root / "val2021.json").write_text(text[: len(text) // 2])
    refused(root, r"val2021\.json is damaged, cut short")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"annotations": [{"image_id": 10}]}, "is none of its annotations"),
        ({"annotations": ["x"]}, "is none of its annotations"),
        ({"categories": [{"name": "x"}]}, "is none of its categories"),
        ({"annotations": [{"image_id": n, "category_id": 0} for n in (10, 11, 12, 12)]}, "image 12 has two labels"),
        ({"annotations": [{"image_id": n, "category_id": 7} for n, _ in FILES["train"]]}, "category 7 is not described"),
        ({"annotations": [{"image_id": n, "category_id": 0} for n in (10, 11, 12, 99)]}, "13.jpg has no label"),
        ({"images": content("train")["images"][:3]}, "labels 4 images and names 3"),
        ({"images": [{"id": 10, "file_name": "../../etc/passwd"}]}, "is none of its images"),
        ({"images": [{"id": 10, "file_name": "/etc/passwd"}]}, "is none of its images"),
        ({"images": [{"id": "10"}]}, "is none of its images"),
        ({"categories": [{"id": n, "name": f"other {n}"} for n in range(3)]}, "differ in classes"),
        ({"categories": []}, "category 0 is not described"),
    ],
    ids=range(12),
)
def test_a_file_that_contradicts_itself_is_named(root, changed, words):
    write(root, "train", **changed)
    refused(root, rf"train2021\.json.*{words}")


def test_a_rank_that_is_not_given_is_named(root):
    for split in FILES:
        write(root, split, categories=[{"id": n, "name": str(n)} for n in range(3)])
    refused(root, "category 0 has no genus", "genus")

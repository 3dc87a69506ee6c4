"""What a manifest says of the labels of its images."""

from pathlib import Path

import pyarrow as pa
import pytest

from sortal.errors import NotSupported
from sortal.manifest import SCHEMA, Manifest


def manifest(*labels: list[str], exclusions: dict[int, str] | None = None) -> Manifest:
    rows = [
        {"source": f"{row}.png", "content": f"{row:064x}", "labels": names, "exclusion": (exclusions or {}).get(row)}
        for row, names in enumerate(labels)
    ]
    return Manifest(pa.Table.from_pylist(rows, schema=SCHEMA), ("ant", "bee", "fly"), "/photos")


def test_one_label_an_image_is_a_class_index_and_several_are_ones() -> None:
    one = manifest(["fly"], ["ant"])
    assert one.task == "multi_class"
    assert one.labels_N.tolist() == [2, 0]
    several = manifest(["fly", "ant"], [], ["bee"])
    assert several.task == "multi_label"
    assert several.labels_NK.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert several.counts() == {"ant": 1, "bee": 1, "fly": 1}


def test_images_that_are_set_aside_do_not_decide_the_task() -> None:
    assert manifest(["fly"], ["ant", "bee"], exclusions={1: "broken"}).task == "multi_class"
    assert manifest(["fly"], [], exclusions={1: "broken"}).task == "multi_class"
    assert manifest().task == "multi_class"


def test_several_labels_are_never_cut_to_the_first() -> None:
    with pytest.raises(NotSupported, match=r"1 image has several labels, the first 1\.png; 2 images have no label") as caught:
        _ = manifest(["fly"], ["ant", "bee"], [], []).labels_N
    assert "task = 'multi_label'" in caught.value.hint


def test_no_images_have_no_labels() -> None:
    assert manifest().labels_NK.shape == (0, 3)
    assert manifest([], []).labels_NK.sum() == 0
    assert manifest().counts() == {"ant": 0, "bee": 0, "fly": 0}


def test_a_manifest_of_an_older_version_says_nothing_more_of_its_images(tmp_path: Path) -> None:
    import json

    import pyarrow.parquet as pq

    older = SCHEMA.remove(SCHEMA.get_field_index("about"))
    row = dict.fromkeys(older.names) | {"source": "a.jpg", "labels": ["ant"]}
    about = json.dumps({"classes": ["ant", "bee"], "root": "/photos", "given_splits": []})
    pq.write_table(pa.Table.from_pylist([row], schema=older.with_metadata({"sortal": about})), tmp_path / "m.parquet")
    assert Manifest.load(tmp_path / "m.parquet").column("about") == [None]

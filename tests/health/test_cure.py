import numpy as np
import pyarrow as pa

from sortal.health.cure import cured, group_names, with_groups
from sortal.manifest import SCHEMA, Manifest


def manifest(*rows) -> Manifest:
    """Rows as dicts; what is left out is that of a good image."""
    full = [{"labels": ["ant"], "source": f"{n}.jpg", "content": f"{n:064x}", **row} for n, row in enumerate(rows)]
    return Manifest(pa.Table.from_pylist(full, schema=SCHEMA), ("ant", "bee"), "/photos")


def content(number: int) -> str:
    return f"{number:064x}"


def test_copies_get_a_group_that_is_named_after_their_contents():
    names = group_names(manifest({}, {}, {}), np.array([0, 1, 0]), np.array([0, 1, 0]))
    assert names == {content(0): "copies 000000000000", content(2): "copies 000000000000"}


def test_a_group_of_the_user_keeps_its_name_and_takes_the_copies_in():
    rows = manifest({"group": "patient 1"}, {}, {"group": "patient 1"})
    names = group_names(rows, np.array([0, 0, 0]), np.array([0, 0, 2]))
    assert set(names.values()) == {"patient 1"}
    assert with_groups(rows, names).column("group") == ["patient 1"] * 3
    assert group_names(rows, np.array([0, 1, 0]), np.arange(3)) == {}


def test_a_group_that_stands_in_training_goes_there_as_a_whole_and_one_of_judges_to_validation():
    rows = manifest({"split": "train"}, {"split": "test"}, {"split": "test"}, {"split": "val"}, {"split": "test"})
    names = {content(0): "g", content(1): "g", content(2): "h", content(3): "h"}
    result = cured(rows, names, {})
    assert result.manifest.column("split") == ["train", "train", "val", "val", "test"]
    assert result.moved == {"1.jpg": ("test", "train"), "2.jpg": ("test", "val")}
    assert result.grouped == {"0.jpg": "g", "1.jpg": "g", "2.jpg": "h", "3.jpg": "h"}


def test_rows_without_a_split_get_none():
    result = cured(manifest({}, {}), {content(0): "g", content(1): "g"}, {})
    assert result.manifest.column("split") == [None, None]
    assert result.moved == {}


def test_what_is_quarantined_keeps_its_row_and_pulls_nobody_over():
    rows = manifest({"split": "train"}, {"split": "test"}, {"split": "test", "exclusion": "is empty"})
    result = cured(rows, {content(0): "g", content(1): "g"}, {"0.jpg": "is blank", "2.jpg": "is blank"})
    assert result.manifest.column("exclusion") == ["is blank", None, "is empty"]
    assert result.manifest.column("split") == ["train", "test", "test"]
    assert len(result.manifest) == 3

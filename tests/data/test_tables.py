"""CSV, Parquet and manifests: what rows say, and every mistake at once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortal.data.layout import Listing
from sortal.data.tables import read_csv, read_parquet
from sortal.errors import DataError
from sortal.manifest import Manifest


@pytest.fixture
def folder(write_tree: Callable[..., Path]) -> Path:
    return write_tree("a.png", "b.png", "deep/c.png")


def csv(folder: Path, text: str) -> Path:
    (folder / "labels.csv").write_text(text)
    return folder / "labels.csv"


def problems(read: Callable[[Path], Listing], path: Path) -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value), caught.value.hint


def test_a_csv_of_paths_and_labels(folder: Path) -> None:
    listing = read_csv(csv(folder, "path,label\na.png,ant\n./deep/c.png,bee\n"))
    assert (listing.names, listing.labels) == (["a.png", "deep/c.png"], [("ant",), ("bee",)])
    assert (listing.splits, listing.groups, listing.given_splits) == ([None, None], [None, None], ())
    assert listing.root == folder


def test_splits_groups_and_several_labels(folder: Path) -> None:
    text = "group,label,split,path\ng1,ant|fly,Valid,a.png\n,bee, ,b.png\ng2, fly | ant |fly,test,deep/c.png\n"
    listing = read_csv(csv(folder, text))
    assert listing.labels == [("ant", "fly"), ("bee",), ("fly", "ant")]
    assert listing.splits == ["val", None, "test"]
    assert listing.groups == ["g1", None, "g2"]
    assert listing.given_splits == ("val", "test")


def test_beside_several_labels_an_empty_one_says_that_there_is_none(folder: Path) -> None:
    assert read_csv(csv(folder, "path,label\na.png,ant|bee\nb.png,\n")).labels == [("ant", "bee"), ()]
    with pytest.raises(DataError, match="empty label in 1 line: 3"):
        read_csv(csv(folder, "path,label\na.png,ant\nb.png,\n"))


def test_a_column_of_lists_may_hold_an_empty_list(folder: Path) -> None:
    table = pa.table({"path": ["a.png", "b.png"], "label": pa.array([["ant"], []], type=pa.list_(pa.string()))})
    pq.write_table(table, folder / "labels.parquet")
    assert read_parquet(folder / "labels.parquet").labels == [("ant",), ()]


def test_quotes_blank_lines_a_byte_order_mark_and_windows_line_ends(folder: Path) -> None:
    (folder / "x, y.png").write_bytes(b"")
    (folder / "labels.csv").write_bytes('\ufeffpath,label\r\n"x, y.png","Ameise, groß"\r\n\r\nb.png,bee\r\n'.encode())
    assert read_csv(folder / "labels.csv").labels == [("Ameise, groß",), ("bee",)]


def test_all_mistakes_of_a_csv_are_told_at_once(folder: Path) -> None:
    text = "path,label,split\na.png,,train\nb.png,bee,vall\ngone.png,bee,\nb.png,ant,test\n,ant,\ndeep/c.png,ant\n"
    message, hint = problems(read_csv, csv(folder, text))
    assert message.split("\n  ")[1:] == [
        "line 3: unknown split 'vall', did you mean 'val'?",
        "line 5: b.png stands already in line 3",
        "line 7: 2 cells, the header has 3",
        "empty label in 1 line: 2",
        "empty path in 1 line: 6",
        f"1 of 3 files are missing below {folder}: gone.png",
    ]
    assert "nothing was done" in hint


def test_of_many_mistakes_the_first_and_their_number_are_told(folder: Path) -> None:
    message, _ = problems(read_csv, csv(folder, "path,label\n" + "".join(f"{number}.png,\n" for number in range(1000))))
    assert "empty label in 1,000 lines: 2, 3, 4, 5, 6, ..." in message
    assert "1,000 of 1,000 files are missing" in message
    assert len(message) < 500


@pytest.mark.parametrize(
    ("header", "wanted", "cure"),
    [
        (
            "path,lable",
            ["unknown column 'lable', did you mean 'label'?", "there is no column 'label'"],
            "columns are path, label",
        ),
        ("path,label,Split", ["unknown column 'Split', did you mean 'split'?"], "split and group"),
        ("path,label,splits", ["unknown column 'splits', did you mean 'split'?"], "columns are"),
        ("path,label,", ["a column has no name"], "columns are"),
        ("path,label,label", ["column 'label' stands there twice"], "columns are"),
        ("path;label", ["unknown column 'path;label'"], "commas"),
        ("", ["there is no column 'path'", "there is no column 'label'"], "columns are"),
    ],
)
def test_columns_that_are_unknown_missing_or_double(folder: Path, header: str, wanted: list[str], cure: str) -> None:
    message, hint = problems(read_csv, csv(folder, f"{header}\na.png,ant\n"))
    assert all(line in message for line in wanted)
    assert cure in hint


def test_a_csv_without_rows_or_not_in_utf8_is_an_error(folder: Path) -> None:
    assert "has no rows" in problems(read_csv, csv(folder, "path,label\n"))[0]
    (folder / "labels.csv").write_bytes("path,label\na.png,großer\n".encode("latin-1"))
    assert "not UTF-8" in problems(read_csv, folder / "labels.csv")[0]


def test_a_quote_that_is_never_closed_is_an_error_with_its_line(folder: Path) -> None:
    assert "line 2" in problems(read_csv, csv(folder, 'path,label\n"a.png,ant\n'))[0]


def parquet(file: Path, metadata: dict[bytes, bytes] | None = None, **columns: object) -> Path:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), file)
    return file


def test_a_parquet_of_paths_is_relative_to_its_folder(folder: Path) -> None:
    listing = read_parquet(parquet(folder / "t.parquet", path=["a.png", "b.png"], label=["ant", "bee"], split=["train", None]))
    assert (listing.names, listing.splits, listing.root) == (["a.png", "b.png"], ["train", None], folder)


def test_a_parquet_of_images_is_its_own_root(folder: Path) -> None:
    image = (folder / "a.png").read_bytes()
    listing = read_parquet(parquet(folder / "t.parquet", image=[image, image], label=[0, 10], group=["g", None]))
    assert (listing.names, listing.labels, listing.groups) == (["row:0", "row:1"], [("0",), ("10",)], ["g", None])
    assert listing.root == folder / "t.parquet"
    assert listing.source.read("row:1") == image
    listing.source.close()


@pytest.mark.parametrize(
    "labels",
    [
        pa.array(["ant", "bee"]).dictionary_encode(),
        pa.array([["ant"], ["bee"]]),
        pa.array(["ant", "bee"], pa.large_string()),
    ],
)
def test_labels_may_be_text_categories_or_lists(folder: Path, labels: pa.Array) -> None:
    listing = read_parquet(parquet(folder / "t.parquet", path=["a.png", "b.png"], label=labels))
    assert listing.labels == [("ant",), ("bee",)]


def test_numbered_classes_get_the_names_that_the_table_carries(folder: Path) -> None:
    about = b'{"info": {"features": {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}}}'
    listing = read_parquet(parquet(folder / "t.parquet", {b"huggingface": about}, path=["a.png", "b.png"], label=[1, 0]))
    assert listing.labels == [("bee",), ("ant",)]


def test_mistakes_of_a_parquet_name_rows_from_0(folder: Path) -> None:
    path = parquet(folder / "t.parquet", path=["a.png", "b.png"], label=["ant", None], split=["tset", "val"])
    message, _ = problems(read_parquet, path)
    assert "row 0: unknown split 'tset', did you mean 'test'?" in message
    assert "empty label in 1 row: 1" in message


def test_an_image_column_of_another_type_is_an_error(folder: Path) -> None:
    message, hint = problems(read_parquet, parquet(folder / "t.parquet", image=["a.png"], label=["ant"]))
    assert "column 'image' is string" in message
    assert "binary" in hint


def test_what_is_no_parquet_is_an_error(folder: Path) -> None:
    (folder / "t.parquet").write_bytes(b"PAR1 hello")
    assert "not a Parquet file" in problems(read_parquet, folder / "t.parquet")[0]


def test_a_manifest_keeps_what_it_says(folder: Path, make_manifest: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = make_manifest("ab", root=str(folder), source=["a.png", "b.png"], split=["train", "val"], fold=[3, None])
    manifest.save(tmp_path / "manifest.parquet")
    listing = read_parquet(tmp_path / "manifest.parquet")
    assert (listing.names, listing.labels) == (["a.png", "b.png"], [("a",), ("b",)])
    assert (listing.splits, listing.folds, listing.given_splits) == (["train", "val"], [3, None], ())


def test_a_manifest_whose_images_are_gone_is_an_error(
    folder: Path, make_manifest: Callable[..., Manifest], tmp_path: Path
) -> None:
    make_manifest("ab", root=str(folder), source=["a.png", "gone.png"]).save(tmp_path / "manifest.parquet")
    message, hint = problems(read_parquet, tmp_path / "manifest.parquet")
    assert "1 of 2 files are missing" in message
    assert str(folder) in hint
    make_manifest("ab", root=str(tmp_path / "moved")).save(tmp_path / "manifest.parquet")
    assert "moved does not exist" in problems(read_parquet, tmp_path / "manifest.parquet")[0]


def test_numbers_may_be_labels_and_zero_is_no_missing_one(folder: Path) -> None:
    rows = 2000
    (folder / "t").mkdir()
    names = [f"t/{number}" for number in range(rows)]
    for name in names:
        (folder / name).touch()
    listing = read_parquet(parquet(folder / "t.parquet", path=names, label=np.arange(rows) % 10))
    assert {label for (label,) in listing.labels} == set("0123456789")


def test_other_columns_of_a_csv_say_more_of_an_image(folder: Path) -> None:
    listing = read_csv(csv(folder, "path,label,site,age\na.png,ant,north,7\nb.png,bee,,9\n"))
    assert listing.about == [{"site": "north", "age": "7"}, {"age": "9"}]
    assert read_csv(csv(folder, "path,label\na.png,ant\n")).about is None


def test_other_columns_of_a_parquet_must_be_words_or_numbers(folder: Path) -> None:
    told = read_parquet(
        parquet(folder / "t.parquet", path=["a.png", "b.png"], label=["ant", "bee"], age=[7, None], ok=[True, False])
    )
    assert told.about == [{"age": "7", "ok": "True"}, {"ok": "False"}]
    with pytest.raises(DataError, match="column 'mask' is binary"):
        read_parquet(parquet(folder / "u.parquet", path=["a.png"], label=["ant"], mask=[b"x"]))

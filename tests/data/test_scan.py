"""Scanning: one row an image, each opened once, and the reason where one cannot be used."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import PIL
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sortal.data import facts as facts_module
from sortal.data import scan as scanning
from sortal.data.facts import Facts, ImageFacts
from sortal.data.scan import scan
from sortal.errors import DataError
from sortal.events import Event, Progress
from sortal.manifest import Manifest

Tree = Callable[..., Path]
Picture = Callable[..., bytes]


def reasons(manifest: Manifest) -> dict[str, str]:
    return dict(zip(manifest.excluded.sources, manifest.excluded.column("exclusion"), strict=True))


def test_a_row_says_all_that_is_known_of_an_image(write_tree: Tree, facts: Facts, picture: Picture) -> None:
    root = write_tree("ants/1.png", "bees/2.png")
    manifest = scan(root, facts=facts).manifest
    row = manifest.table.to_pylist()[0]
    assert row["phash"] is not None
    del row["phash"]
    assert row == {
        "source": "ants/1.png",
        "content": hashlib.sha256(picture(0)).hexdigest(),
        "labels": ["ants"],
        "grey": False,
        "split": None,
        "fold": None,
        "group": None,
        "width": 12,
        "height": 8,
        "note": None,
        "exclusion": None,
        "about": None,
    }
    assert manifest.classes == ("ants", "bees")
    assert manifest.root == str(root)


def test_classes_come_from_the_whole_set_and_are_sorted(write_tree: Tree, facts: Facts) -> None:
    manifest = scan(write_tree("train/wasps/1.png", "train/ants/2.png", "val/bees/3.png"), facts=facts).manifest
    assert manifest.classes == ("ants", "bees", "wasps")
    assert manifest.labels_N.tolist() == [0, 2, 1]
    assert manifest.given_splits == ("train", "val")


def test_a_second_scan_decodes_nothing_and_finds_the_same(write_tree: Tree, facts: Facts) -> None:
    root = write_tree("ants/1.png", "bees/2.png", contents={"ants/bad.png": b"no"})
    first = scan(root, facts=facts)
    second = scan(root, facts=facts)
    assert (first.decoded, second.decoded) == (3, 0)
    assert second.manifest.table.equals(first.manifest.table)


def packed(root: Path, kind: str) -> Path:
    path = root.with_name(f"packed.{kind}")
    files = [file for file in sorted(root.rglob("*")) if file.is_file()]
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for file in files:
                archive.write(file, f"wrapped/{file.relative_to(root)}")
    else:
        with tarfile.open(path, f"w:{kind.partition('.')[2]}") as archive:
            for file in files:
                archive.add(file, f"./wrapped/{file.relative_to(root)}")
    return path


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"])
def test_an_archive_of_a_folder_says_what_the_folder_says(write_tree: Tree, facts: Facts, kind: str) -> None:
    root = write_tree("train/ants/1.png", "train/bees/2.png", "val/bees/3.png")
    wanted = scan(root, facts=facts).manifest
    found = scan(packed(root, kind), facts=facts)
    assert found.decoded == 0
    assert found.manifest.column("content") == wanted.column("content")
    assert found.manifest.column("split") == wanted.column("split")
    assert found.manifest.classes == wanted.classes


def test_a_csv_says_labels_groups_and_splits(write_tree: Tree, facts: Facts) -> None:
    root = write_tree("1.png", "2.png", "3.png")
    (root / "labels.csv").write_text("path,label,split,group\n1.png,ant|fly,train,g\n2.png,bee,,\n3.png,ant,test,g\n")
    manifest = scan(root / "labels.csv", facts=facts).manifest
    assert manifest.column("labels") == [["ant", "fly"], ["bee"], ["ant"]]
    assert manifest.column("split") == ["train", None, "test"]
    assert manifest.column("group") == ["g", None, "g"]
    assert manifest.classes == ("ant", "bee", "fly")


def test_a_parquet_of_images(tmp_path: Path, facts: Facts, picture: Picture) -> None:
    table = pa.table({"image": [picture(0), b"", picture(1)], "label": ["ant", "ant", "bee"], "split": ["train", None, "test"]})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1)
    manifest = scan(tmp_path / "t.parquet", facts=facts).manifest
    assert manifest.sources == ["row:0", "row:1", "row:2"]
    assert reasons(manifest) == {"row:1": "the file is empty"}


def test_a_manifest_is_scanned_again_with_what_it_decided(write_tree: Tree, facts: Facts, tmp_path: Path) -> None:
    root = write_tree("ants/1.png", "ants/2.png", "bees/3.png", "bees/4.png")
    manifest = scan(root, facts=facts).manifest
    manifest = manifest.with_column("split", ["train", "val", "train", "val"])
    manifest = manifest.with_column("exclusion", ["blurred", None, None, None])
    manifest.save(tmp_path / "manifest.parquet")
    again = scan(tmp_path / "manifest.parquet", facts=facts).manifest
    assert again.table.equals(manifest.table)
    assert again.root == str(root)


def test_a_set_aside_image_that_was_replaced_is_judged_anew(
    write_tree: Tree, facts: Facts, tmp_path: Path, picture: Picture
) -> None:
    root = write_tree("ants/1.png", "bees/2.png", contents={"bees/3.png": b"broken"})
    scan(root, facts=facts).manifest.save(tmp_path / "manifest.parquet")
    (root / "bees/3.png").write_bytes(picture(9))
    assert reasons(scan(tmp_path / "manifest.parquet", facts=facts).manifest) == {}


def test_images_that_cannot_be_used_are_named_with_their_reason(write_tree: Tree, facts: Facts, picture: Picture) -> None:
    root = write_tree(
        "ants/1.png",
        "bees/2.png",
        contents={
            "ants/empty.jpg": b"",
            "ants/README.txt": b"about ants",
            "bees/short.jpg": picture(3, 64, 64, "JPEG")[:900],
            "bees/huge.png": picture(4, 100, 100),
        },
    )
    manifest = scan(root, facts=facts, max_pixels=9999).manifest
    found = reasons(manifest)
    assert found["ants/empty.jpg"] == "the file is empty"
    assert found["ants/README.txt"] == "not an image"
    assert found["bees/short.jpg"].startswith("truncated")
    assert found["bees/huge.png"] == "100 x 100 pixels are more than the limit of 9,999"
    assert manifest.counts() == {"ants": 1, "bees": 1}


def test_a_png_without_its_last_lines_is_named_and_what_an_older_version_remembers_of_it_is_not_believed(
    write_tree: Tree, facts: Facts, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = picture(3, 16, 16)
    at = data.index(b"IDAT") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    packed = zlib.compress(zlib.decompress(data[at + 8 : at + 8 + length])[: 10 * (1 + 3 * 16)])
    body = b"IDAT" + packed
    short = data[:at] + len(packed).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big") + data[at + 12 + length :]
    root = write_tree("ants/1.png", "bees/2.png", contents={"bees/short.png": short})
    content = hashlib.sha256(short).hexdigest()
    with monkeypatch.context() as older:
        older.setattr(facts_module, "VERSION", f"5/{PIL.__version__}")
        facts.put(content, ImageFacts(16, 16, 0, False))
        facts.flush()
    assert reasons(scan(root, facts=facts).manifest) == {
        "bees/short.png": "truncated: the PNG's data end before its picture does"
    }


def test_the_limit_of_pixels_is_not_remembered(write_tree: Tree, facts: Facts, picture: Picture) -> None:
    root = write_tree("ants/1.png", "bees/2.png", "bees/3.png")
    (root / "bees/3.png").write_bytes(picture(4, 100, 100))
    assert len(scan(root, facts=facts, max_pixels=9999).manifest.excluded) == 1
    assert len(scan(root, facts=facts).manifest.excluded) == 0
    assert len(scan(root, facts=facts, max_pixels=9999).manifest.excluded) == 1


def test_what_was_done_to_an_image_is_noted(write_tree: Tree, facts: Facts) -> None:
    file = io.BytesIO()
    Image.new("RGBA", (4, 4)).save(file, "PNG")
    manifest = scan(write_tree("ants/1.png", contents={"bees/clear.png": file.getvalue()}), facts=facts).manifest
    assert manifest.column("note") == [None, "transparency drawn on white"]


def test_a_folder_of_texts_is_no_class(write_tree: Tree, facts: Facts) -> None:
    root = write_tree("ants/1.png", "bees/2.png", contents={"docs/readme.txt": b"hello"})
    manifest = scan(root, facts=facts).manifest
    assert manifest.classes == ("ants", "bees")
    assert reasons(manifest) == {"docs/readme.txt": "not an image"}


def test_a_class_of_which_nothing_can_be_read_is_still_a_class(write_tree: Tree, facts: Facts) -> None:
    root = write_tree("ants/1.png", "bees/2.png", contents={"wasps/3.png": b""})
    assert scan(root, facts=facts).manifest.counts() == {"ants": 1, "bees": 1, "wasps": 0}


def test_a_name_that_is_not_utf8_is_set_aside_not_a_crash(write_tree: Tree, facts: Facts, picture: Picture) -> None:
    root = write_tree("ants/1.png", "bees/2.png")
    try:
        (Path(os.fsdecode(os.fsencode(root) + b"/ants/gro\xdf.png"))).write_bytes(picture(3))
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    assert reasons(scan(root, facts=facts).manifest) == {r"ants/gro\xdf.png": "its name is not valid UTF-8; rename it"}


def mistake(data: Path | str, facts: Facts) -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        scan(data, facts=facts)
    return str(caught.value), caught.value.hint


def test_an_address_that_does_not_exist_names_the_nearest(write_tree: Tree, facts: Facts) -> None:
    root = write_tree("ants/1.png")
    message, hint = mistake(root.with_name("fotos"), facts)
    assert "fotos does not exist" in message
    assert str(root) in hint


def test_one_class_only_is_an_error_with_its_name(write_tree: Tree, facts: Facts) -> None:
    message, hint = mistake(write_tree("ants/1.png", "ants/2.png"), facts)
    assert "only one class, 'ants'" in message
    assert "at least two" in hint


def test_one_class_with_readable_images_only_is_an_error_with_the_reasons(write_tree: Tree, facts: Facts) -> None:
    message, _ = mistake(write_tree("ants/1.png", contents={"bees/2.png": b""}), facts)
    assert "only one class, 'ants', whose images can be read (bees/2.png: the file is empty)" in message


def test_nothing_readable_is_an_error_with_the_reasons(write_tree: Tree, facts: Facts) -> None:
    message, _ = mistake(write_tree(contents={"ants/1.png": b"", "bees/2.png": b"x"}), facts)
    assert "none of the 2 files" in message
    assert "bees/2.png: not an image" in message


def test_a_file_of_another_kind_is_an_error(tmp_path: Path, facts: Facts) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    assert "zip" in mistake(tmp_path / "notes.txt", facts)[1]


def test_an_empty_folder_is_an_error(tmp_path: Path, facts: Facts) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no images" in mistake(tmp_path / "empty", facts)[0]


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_an_error(write_tree: Tree, facts: Facts) -> None:
    root = write_tree("ants/1.png", "bees/2.png")
    (root / "bees").chmod(0)
    try:
        assert "no permission" in mistake(root, facts)[0]
    finally:
        (root / "bees").chmod(0o755)


def test_a_folder_that_the_system_refuses_is_an_error(write_tree: Tree, facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree("ants/1.png", "bees/2.png")
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("bees"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    message, hint = mistake(root, facts)
    assert "no permission to read the folder" in message
    assert "chmod" in hint


def test_progress_begins_at_nothing_and_ends_at_all(write_tree: Tree, facts: Facts) -> None:
    events: list[Event] = []
    scan(write_tree("ants/1.png", "bees/2.png", "bees/3.png"), facts=facts, observe=events.append)
    assert events[0] == Progress("scan", 0, 3)
    assert events[-1] == Progress("scan", 3, 3)


def test_only_a_few_images_are_under_way_at_once(write_tree: Tree, facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_tree(*(f"{name}/{number}.png" for name in ("ants", "bees") for number in range(40)))
    lock, waiting, most = threading.Lock(), 0, 0
    row = scanning._row
    opened = scanning._open

    def counted_open(*args: object) -> object:
        nonlocal waiting, most
        with lock:
            waiting += 1
            most = max(most, waiting)
        return opened(*args)

    def counted_row(*args: object) -> object:
        nonlocal waiting
        with lock:
            waiting -= 1
        return row(*args)

    monkeypatch.setattr(scanning, "_open", counted_open)
    monkeypatch.setattr(scanning, "_row", counted_row)
    scan(root, facts=facts, workers=3)
    assert most <= 2 * 3 + 1


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(workers=st.integers(1, 9))
def test_the_manifest_does_not_depend_on_the_number_of_threads(write_tree: Tree, facts: Facts, workers: int) -> None:
    root = write_tree(*(f"{name}/{number}.png" for name in ("ants", "bees") for number in range(9)))
    assert scan(root, facts=facts, workers=workers).manifest.table.equals(scan(root, facts=facts).manifest.table)


PEAK = """
import sys
from pathlib import Path
from sortal.data.facts import Facts
from sortal.data.scan import scan
with Facts(Path(sys.argv[2])) as facts:
    assert len(scan(sys.argv[1], facts=facts).manifest) == int(sys.argv[3])
# Not `ru_maxrss`, which begins with the memory of the process that started this one.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_peak_memory_does_not_grow_with_the_number_of_images(write_tree: Tree, tmp_path: Path, picture: Picture) -> None:
    photo = picture(0, 3000, 2000, "JPEG")  # noise: 8 MB of file, 18 MB of pixels
    peaks = []
    for count in (8, 64):
        contents = {f"{'ab'[number % 2]}/{number}.jpg": photo + bytes([number]) for number in range(count)}
        root = write_tree(root=f"photos{count}", contents=contents)
        command = [sys.executable, "-c", PEAK, str(root), str(tmp_path / f"{count}.sqlite"), str(count)]
        peaks.append(int(subprocess.run(command, capture_output=True, check=True, text=True).stdout))
    assert peaks[1] < peaks[0] * 1.15

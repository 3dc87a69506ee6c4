"""Bytes by name, from folders, archives and tables; hostile archives are harmless."""

import io
import os
import tarfile
import threading
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sortal.data import sources
from sortal.data.sources import FolderSource, Source, TarSource, ZipSource, open_source
from sortal.errors import DataError, UnreadableImage

MEMBERS = {f"ants/{number}.jpg": bytes([number]) * (1000 + number) for number in range(20)}
TAR_MODES = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def as_folder(path: Path) -> Path:
    for name, data in MEMBERS.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def as_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in MEMBERS.items():
            file.writestr(name, data)
    return path


def as_tar(path: Path, mode: str, extra: Callable[[tarfile.TarFile], None] = lambda tar: None) -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in MEMBERS.items():
            add(tar, name, data)
        extra(tar)
    return path


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(data))


@pytest.fixture(params=["folder", ".zip", *TAR_MODES])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    if request.param == "folder":
        return open_source(as_folder(tmp_path / "photos"))
    path = tmp_path / f"photos{request.param}"
    return open_source(as_zip(path) if request.param == ".zip" else as_tar(path, TAR_MODES[request.param]))


def test_every_source_gives_its_names_and_their_bytes(source: Source) -> None:
    assert sorted(source.names()) == sorted(MEMBERS)
    assert {name: source.read(name) for name in source.names()} == MEMBERS
    source.close()


def test_reading_backwards_and_again_is_right_too(source: Source) -> None:
    for name in [*reversed(list(MEMBERS)), "ants/3.jpg", "ants/3.jpg"]:
        assert source.read(name) == MEMBERS[name]
    source.close()


def test_many_threads_read_the_right_bytes(source: Source) -> None:
    wrong: list[str] = []

    def read(start: int) -> None:
        names = list(MEMBERS)[start:] + list(MEMBERS)[:start]
        wrong.extend(name for name in names if source.read(name) != MEMBERS[name])

    threads = [threading.Thread(target=read, args=(start,)) for start in (0, 5, 10, 15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    source.close()


def test_a_name_that_is_not_there_is_a_reason_not_a_crash(source: Source) -> None:
    with pytest.raises(UnreadableImage):
        source.read("ants/none.jpg")
    source.close()


def test_reading_on_in_a_compressed_tar_goes_through_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = TarSource(as_tar(tmp_path / "photos.tar.gz", "w:gz"))
    starts = []
    stream = sources._tar_stream
    monkeypatch.setattr(sources, "_tar_stream", lambda path: starts.append(path) or stream(path))
    names = list(MEMBERS)
    names[3], names[4] = names[4], names[3]  # a thread that was a little ahead
    for name in names:
        assert source.read(name) == MEMBERS[name]
    assert len(starts) == 1
    source.close()


def test_a_pipe_among_the_images_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UnreadableImage, match="not a file"):
        FolderSource(tmp_path).read("pipe.jpg")


def test_folders_that_link_to_each_other_end(tmp_path: Path) -> None:
    as_folder(tmp_path / "photos")
    (tmp_path / "photos" / "ants" / "again").symlink_to(tmp_path / "photos")
    assert FolderSource(tmp_path / "photos").names() == sorted(MEMBERS)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(sources.MAX_BYTES + 1)  # a hole; it takes no room on the disk
    with pytest.raises(UnreadableImage, match="more than"):
        FolderSource(tmp_path).read("huge.jpg")


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz"])
def test_a_huge_member_is_refused_before_it_is_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_BYTES", 1010)
    path = tmp_path / f"photos{kind}"
    with open_source_closing(as_zip(path) if kind == ".zip" else as_tar(path, TAR_MODES[kind])) as source:
        assert source.read("ants/10.jpg") == MEMBERS["ants/10.jpg"]
        with pytest.raises(UnreadableImage, match="more than the 1,010"):
            source.read("ants/11.jpg")
        assert source.read("ants/5.jpg") == MEMBERS["ants/5.jpg"]


def open_source_closing(path: Path):  # type: ignore[no-untyped-def]
    import contextlib

    return contextlib.closing(open_source(path))


def test_a_zip_member_that_lies_about_its_size_gives_a_reason(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("ants/1.jpg", bytes(5_000_000))
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        at = data.index(signature) + offset
        data[at : at + 4] = (100).to_bytes(4, "little")
    path.write_bytes(data)
    with open_source_closing(path) as source, pytest.raises(UnreadableImage, match="damaged inside the archive"):
        source.read("ants/1.jpg")


def test_an_encrypted_zip_member_gives_a_reason(tmp_path: Path) -> None:
    path = as_zip(tmp_path / "secret.zip")
    data = bytearray(path.read_bytes())
    at = -1
    while (at := data.find(b"PK\x01\x02", at + 1)) >= 0:
        data[at + 8] |= 1
    at = -1
    while (at := data.find(b"PK\x03\x04", at + 1)) >= 0:
        data[at + 6] |= 1
    path.write_bytes(data)
    with open_source_closing(path) as source, pytest.raises(UnreadableImage, match="encrypted"):
        source.read("ants/1.jpg")


def test_a_zip_with_the_same_name_twice_is_harmless(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
            file.writestr("ants/1.jpg", b"first")
            file.writestr("ants/1.jpg", b"second")
    with open_source_closing(tmp_path / "twice.zip") as source:
        assert source.names() == ["ants/1.jpg"]
        assert source.read("ants/1.jpg") == b"second"


def test_names_that_climb_out_are_only_keys(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        add(tar, "../../outside.jpg", b"harmless")
        add(tar, "/etc/outside.jpg", b"harmless too")
    before = sorted(tmp_path.parent.rglob("*"))
    with open_source_closing(tmp_path / "evil.tar") as source:
        assert source.read("../../outside.jpg") == b"harmless"
        assert source.read("/etc/outside.jpg") == b"harmless too"
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("kind", [".tar", ".tar.gz"])
def test_links_and_devices_in_a_tar_are_not_followed_and_hard_links_are_their_file(tmp_path: Path, kind: str) -> None:
    def links(tar: tarfile.TarFile) -> None:
        add(tar, "ants/soft.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(tar, "ants/hard.jpg", type=tarfile.LNKTYPE, linkname="ants/1.jpg")
        add(tar, "ants/elsewhere.jpg", type=tarfile.LNKTYPE, linkname="/etc/passwd")
        add(tar, "ants/zero.jpg", type=tarfile.CHRTYPE)

    with open_source_closing(as_tar(tmp_path / f"links{kind}", TAR_MODES[kind], links)) as source:
        assert source.read("ants/hard.jpg") == MEMBERS["ants/1.jpg"]
        for name in ("soft", "zero", "elsewhere"):
            assert f"ants/{name}.jpg" in source.names()
            with pytest.raises(UnreadableImage):
                source.read(f"ants/{name}.jpg")


def test_a_tar_header_of_absurd_size_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "evil.tar").write_bytes(info.tobuf() + bytes(10240))
    with pytest.raises(DataError, match="damaged or no archive"):
        TarSource(tmp_path / "evil.tar")


@pytest.mark.parametrize("kind", [".zip", *TAR_MODES])
def test_an_archive_that_was_cut_short_is_an_error_with_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"photos{kind}"
    as_zip(path) if kind == ".zip" else as_tar(path, TAR_MODES[kind])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises((DataError, UnreadableImage)) as caught, open_source_closing(path) as source:
        assert [source.read(name) for name in MEMBERS]
    assert isinstance(caught.value, UnreadableImage) or path.name in str(caught.value)


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "photos.tgz"])
def test_what_is_no_archive_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"hello")
    with pytest.raises(DataError, match=name):
        open_source(tmp_path / name)


def write_parquet(path: Path, rows: int, group: int, *, struct: bool = False) -> Path:
    images = [bytes([number % 256]) * 50 for number in range(rows)]
    column = pa.array([{"bytes": data, "path": None} for data in images]) if struct else pa.array(images)
    pq.write_table(pa.table({"image": column, "label": ["a"] * rows}), path, row_group_size=group)
    return path


@pytest.mark.parametrize("struct", [False, True])
def test_a_parquet_column_is_read_by_row_in_any_order(tmp_path: Path, struct: bool) -> None:
    with open_source_closing(write_parquet(tmp_path / "t.parquet", 300, 70, struct=struct)) as source:
        assert source.names()[:2] == ["row:0", "row:1"]
        for number in (0, 1, 2, 299, 5, 150, 140, 69, 70, 71):
            assert source.read(f"row:{number}") == bytes([number % 256]) * 50
        with pytest.raises(UnreadableImage):
            source.read("row:300")


def test_a_null_image_is_empty_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": pa.array([None, b"x"], pa.binary())}), tmp_path / "t.parquet")
    with open_source_closing(tmp_path / "t.parquet") as source:
        assert source.read("row:0") == b""
        assert source.read("row:1") == b"x"


def test_a_zip_reads_in_the_order_of_the_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as file:
        for name in ("b", "a", "c"):
            file.writestr(name, name)
    with open_source_closing(tmp_path / "p.zip") as source:
        assert source.names() == ["b", "a", "c"]
    assert isinstance(source, ZipSource)

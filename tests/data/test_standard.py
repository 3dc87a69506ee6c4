from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from sortal.data import cifar, inaturalist, official, standard
from sortal.data.official import OfficialFile, md5_of
from sortal.data.standard import STANDARD, Made, find, make
from sortal.data.tables import read_csv, read_parquet
from sortal.errors import DataError, RunExists, UnknownName
from tests.data.cifar_files import CIFAR_10, pack, small, write_binary
from tests.data.test_inaturalist import CATEGORIES, FILES, content, write


@pytest.fixture(autouse=True)
def little(monkeypatch):
    for name in list(cifar.SETS):
        monkeypatch.setitem(cifar.SETS, name, small(name))
    monkeypatch.setattr(inaturalist, "EDITIONS", {"a little one": (3, 4, 3)})


@pytest.fixture
def files(tmp_path):
    return write_binary(tmp_path / "files", "cifar-10")


def test_the_table_is_that_of_the_tutorials_with_iNaturalists_numbers_put_right():
    assert [(e.name, e.classes, e.train, e.test, e.resolution, e.difficulty) for e in STANDARD.values()] == [
        ("mnist", 10, 60_000, 10_000, "28 x 28", "easy"),
        ("fashion-mnist", 10, 60_000, 10_000, "28 x 28", "easy"),
        ("cifar-10", 10, 50_000, 10_000, "32 x 32", "medium"),
        ("cifar-100", 100, 50_000, 10_000, "32 x 32", "hard"),
        ("imagenet", 1_000, 1_281_167, 50_000, "various", "hard"),
        ("inaturalist", 10_000, 2_686_843, 100_000, "various", "very hard"),
    ]
    told = STANDARD["cifar-100"].to_json()
    assert told | {"classes": 100, "labels": ["fine", "coarse"], "becomes": ".parquet", "downloads": True} == told


def test_pictures_become_one_parquet_with_their_official_test_split(files, tmp_path):
    seen = []
    made = make("cifar-10", source=files, to=tmp_path / "new", observe=seen.append)
    assert made == Made(tmp_path / "new" / "cifar-10.parquet", True)
    listing = read_parquet(made.path)
    assert listing.given_splits == ("train", "test")
    assert list(listing.splits) == ["train"] * 100 + ["test"] * 20
    assert {label for (label,) in listing.labels} == set(CIFAR_10)
    assert pq.ParquetFile(made.path).schema_arrow.metadata[b"title"] == b"CIFAR-10"
    progress = [event for event in seen if hasattr(event, "done")]
    assert (progress[-1].what, progress[-1].done) == ("writing CIFAR-10", 120)


def test_photographs_stay_where_they_are_and_a_table_refers_to_them(tmp_path):
    for split in FILES:
        write(tmp_path, split)
        for item in content(split)["images"]:
            (tmp_path / item["file_name"]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / item["file_name"]).write_bytes(b"x")
    made = make("inaturalist", source=tmp_path, to=tmp_path)
    listing = read_csv(made.path)
    assert (made.path.name, len(listing.names)) == ("inaturalist.csv", 7)
    assert listing.source.read(listing.names[0]) == b"x"
    assert {label for (label,) in listing.labels} == {item["name"] for item in CATEGORIES}
    assert make("inaturalist", source=tmp_path, to=tmp_path) == Made(made.path, False)
    with pytest.raises(RunExists, match=r"inaturalist\.csv already exists and holds something else"):
        make("inaturalist", source=tmp_path, to=tmp_path, labels="genus")


def test_a_second_call_finds_the_same_content_and_writes_nothing(files, tmp_path):
    path = make("cifar-10", source=files, to=tmp_path).path
    before = path.stat()
    assert make("cifar-10", source=files, to=path) == Made(path, False)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize("damage", [lambda data: b"precious", lambda data: data[:-1], lambda data: b""], ids=range(3))
def test_a_file_that_holds_something_else_is_never_overwritten(files, tmp_path, damage):
    path = make("cifar-10", source=files, to=tmp_path).path
    path.write_bytes(damage(path.read_bytes()))
    before = path.read_bytes()
    with pytest.raises(RunExists, match=r"cifar-10\.parquet already exists and holds something else"):
        make("cifar-10", source=files, to=tmp_path)
    assert path.read_bytes() == before


def test_the_same_set_with_other_pictures_or_labels_is_something_else(tmp_path):
    files = write_binary(tmp_path / "files", "cifar-100")
    make("cifar-100", source=files, to=tmp_path)
    with pytest.raises(RunExists):
        make("cifar-100", source=files, to=tmp_path, labels="coarse")
    changed = bytearray((files / "test.bin").read_bytes())
    changed[-1] ^= 1
    (files / "test.bin").write_bytes(changed)
    with pytest.raises(RunExists):
        make("cifar-100", source=files, to=tmp_path)


def test_a_bad_file_leaves_nothing_behind(files, tmp_path):
    (files / "test_batch.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"test_batch\.bin"):
        make("cifar-10", source=files, to=tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_missing_files_are_downloaded_into_a_folder_beside_the_result(files, tmp_path, monkeypatch):
    # `file:` is an address as any other to the downloader; that of a server is tested with it.
    archive = pack(files, tmp_path / "elsewhere.tar.gz")
    file = OfficialFile("cifar-10-binary.tar.gz", md5_of(archive), (archive.as_uri(),))
    monkeypatch.setitem(official.DOWNLOADS, "cifar-10", (file,))
    assert make("cifar-10", to=tmp_path / "data").written
    assert sorted(path.name for path in (tmp_path / "data").rglob("*")) == [
        "cifar-10", "cifar-10-binary.tar.gz", "cifar-10.parquet",
    ]  # fmt: skip
    archive.unlink()
    assert not make("cifar-10", to=tmp_path / "data").written


@pytest.mark.parametrize("name", official.DOWNLOADS)
def test_without_a_network_the_first_file_is_named_with_its_place(name, tmp_path, monkeypatch):
    files = tuple(replace(file, urls=("http://127.0.0.1:9/" + file.name,)) for file in official.DOWNLOADS[name])
    monkeypatch.setitem(official.DOWNLOADS, name, files)
    monkeypatch.setattr(standard, "INSTALLED", {})
    with pytest.raises(DataError, match=f"{files[0].name} could not be downloaded") as caught:
        make(name, to=tmp_path / "x.parquet")
    assert caught.value.hint.startswith(f"without a network, put {files[0].name} (MD5 {files[0].md5})")
    assert all(file.name in caught.value.hint for file in files)
    assert f" into {tmp_path / name}, or name" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "words"), [("imagenet", "whoever registers"), ("inaturalist", r"train\.tar\.gz")])
def test_photographs_are_not_downloaded_and_the_error_says_what_to_fetch(name, words, tmp_path):
    with pytest.raises(DataError, match="is not downloaded by sortal") as caught:
        make(name, to=tmp_path)
    assert words.replace("\\", "") in caught.value.hint


def test_what_a_package_installed_is_taken_before_any_download(files, tmp_path, monkeypatch):
    monkeypatch.setattr(standard, "INSTALLED", {"cifar-10": files})
    assert make("cifar-10", to=tmp_path / "x.parquet").written


@pytest.mark.parametrize("to", ["x.csv", "notes.txt"])
def test_a_place_of_the_wrong_kind_is_refused(files, tmp_path, to):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="is no place for CIFAR-10"):
        make("cifar-10", source=files, to=tmp_path / to)


def test_names_and_labels_that_are_nearly_right_are_guessed(files, tmp_path):
    with pytest.raises(UnknownName) as caught:
        find("fashion_mnist")
    assert "did you mean 'fashion-mnist'" in caught.value.hint
    with pytest.raises(UnknownName, match="no kind of labels of CIFAR-100 called 'course'") as caught:
        make("cifar-100", source=files, to=tmp_path, labels="course")
    assert "did you mean 'coarse'" in caught.value.hint
    with pytest.raises(UnknownName) as caught:
        make("cifar-10", source=files, to=tmp_path, labels="fine")
    assert "CIFAR-10 has one kind only" in caught.value.hint

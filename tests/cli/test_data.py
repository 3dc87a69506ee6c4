"""`sortal data`: what it prints, what it writes, and that what it writes is trained on with its official test split."""

import json
from pathlib import Path

import pytest

from sortal.data import cifar, official, standard
from tests.data.cifar_files import CIFAR_10, pack, small, write_binary, write_python

SETTINGS = "model=lenet5 weights=none strategy=scratch epochs=2 precision=float32 split.folds=0 split.val=0.2"
TRAINING = [word for setting in SETTINGS.split() for word in ("--set", setting)]


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CIFAR-10 in small, Python version, as its archive."""
    monkeypatch.setitem(cifar.SETS, "cifar-10", small("cifar-10"))
    return pack(write_python(tmp_path / "cifar-10-batches-py", "cifar-10"), tmp_path / "cifar-10-python.tar.gz")


def test_the_list_shows_the_tutorials_table(sortal) -> None:
    lines = [line.split() for line in sortal("data").out.splitlines()]
    for row in (
        ["mnist", "10", "60,000", "10,000", "28", "x", "28", "easy", "downloaded"],
        ["cifar-100", "100", "50,000", "10,000", "32", "x", "32", "hard", "downloaded"],
        ["imagenet", "1,000", "1,281,167", "50,000", "various", "hard", "--from"],
        ["inaturalist", "10,000", "2,686,843", "100,000", "various", "very", "hard", "--from"],
    ):
        assert row in lines


def test_one_set_is_described_with_its_kinds_of_labels(sortal) -> None:
    out = sortal("data", "inaturalist").out
    assert "species, genus, family, order, class, phylum, kingdom" in out
    assert ".csv" in out


def test_the_answer_is_the_path_and_a_second_call_says_that_nothing_was_done(sortal, archive: Path, tmp_path: Path) -> None:
    to = tmp_path / "c.parquet"
    assert sortal("data", "cifar-10", "--from", archive, "--to", to).out == f"{to}\n"
    assert sortal("data", "cifar-10", "--from", archive, "--to", to).out == (
        f"{to} holds exactly this already; nothing was written\n"
    )
    told = json.loads(sortal("data", "cifar-10", "--from", archive, "--to", to, "--json").out)
    assert (told["datasets"][0]["name"], told["path"], told["written"]) == ("cifar-10", str(to), False)


def test_without_to_the_file_is_written_here(sortal, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert sortal("data", "cifar-10", "--from", archive).out == "cifar-10.parquet\n"
    assert (tmp_path / "cifar-10.parquet").is_file()


def test_a_bad_file_ends_with_2_and_names_itself(sortal, archive: Path, tmp_path: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-20_000])
    outcome = sortal("data", "cifar-10", "--from", archive, "--to", tmp_path / "c.parquet")
    assert (outcome.code, outcome.out) == (2, "")
    assert str(archive) in outcome.err
    assert not (tmp_path / "c.parquet").exists()


def test_without_files_and_without_a_network_the_error_says_what_to_put_where(
    sortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = official.OfficialFile("some.tar.gz", "0" * 32, ("http://127.0.0.1:9/some.tar.gz",))
    monkeypatch.setitem(official.DOWNLOADS, "cifar-10", (file,))
    outcome = sortal("data", "cifar-10", "--to", tmp_path)
    assert outcome.code == 2
    assert f"put some.tar.gz (MD5 {'0' * 32}) into {tmp_path}/cifar-10, or name the folder" in outcome.err


@pytest.mark.parametrize("words", [["--from", "x"], ["--to", "x"], ["--labels", "fine"], ["cifar-100", "--labels", "fine"]])
def test_options_that_have_nothing_to_work_on_are_mistakes(sortal, words: list[str]) -> None:
    outcome = sortal("data", *words)
    assert outcome.code == 2
    assert "need" in outcome.err


@pytest.mark.slow
@pytest.mark.parametrize("write", [write_binary, write_python])
def test_an_archive_becomes_a_file_that_is_trained_on_and_judged_by_its_official_test_split(
    sortal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write
) -> None:
    monkeypatch.setitem(cifar.SETS, "cifar-10", small("cifar-10"))
    archive = pack(write(tmp_path / "files", "cifar-10"), tmp_path / "cifar.tar.gz")
    data = tmp_path / "cifar-10.parquet"
    assert sortal("data", "cifar-10", "--from", archive, "--to", data).code == 0
    outcome = sortal("train", data, "--out", tmp_path / "run", *TRAINING, "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["splits"]["test"] == told["metrics"]["test"]["images"] == 20
    assert told["splits"]["train"] + told["splits"]["val"] == 100
    scores = json.loads(sortal("evaluate", tmp_path / "run", "--json").out)
    assert scores["classes"] == sorted(CIFAR_10)
    assert {row["support"] for row in scores["per_class"]["test"]} == {2}


@pytest.mark.slow
@pytest.mark.skipif(not standard.INSTALLED["fashion-mnist"].is_dir(), reason="dataset-fashion-mnist is not installed")
def test_debians_fashion_mnist_is_made_without_a_word_of_where_it_lies(sortal, tmp_path: Path) -> None:
    outcome = sortal("data", "fashion-mnist", "--to", tmp_path)
    assert outcome.out == f"{tmp_path}/fashion-mnist.parquet\n"
    assert "not the published" not in outcome.err
    assert "nothing was written" in sortal("data", "fashion-mnist", "--to", tmp_path).out

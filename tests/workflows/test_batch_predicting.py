"""Batch prediction: one row for each image, exactly once, however often it is killed."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.harness import surroundings
from sortal.errors import BundleError, DataError, RunExists
from sortal.workflows import predict_many

pytest.importorskip("onnx", reason="the small model's graph is made with onnx")

from tests.serving.served import CLASSES, colour_bundle, picture


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return colour_bundle(tmp_path / "model").path


def pictures(folder: Path, count: int) -> Path:
    """Files 0000.png, 0001.png ... red, green, blue in turn; every tenth is no image."""
    folder.mkdir(parents=True)
    for number in range(count):
        data = b"no image" if number % 10 == 9 else picture(CLASSES[number % 3])
        (folder / f"{number:04d}.png").write_bytes(data)
    return folder


def shard(path: Path, count: int, *, mode: str = "w", start: int = 0) -> Path:
    with tarfile.open(path, mode) as file:
        for number in range(start, start + count):
            data = picture(CLASSES[number % 3])
            info = tarfile.TarInfo(f"set/{number:04d}.png")
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def table(out: Path) -> list[dict]:
    return pq.read_table(out).to_pylist()


def test_every_image_has_one_row_in_order_and_those_that_cannot_be_read_have_their_reason(tmp_path: Path, model: Path) -> None:
    folder = pictures(tmp_path / "in", 25)
    done = predict_many(model, [folder], tmp_path / "out", rows=10, top=2)
    assert (done.rows, done.errors, done.parts, done.resumed_at) == (25, 2, 3, 0)
    rows = table(tmp_path / "out")
    assert [row["source"] for row in rows] == [str(path) for path in sorted(folder.iterdir())]
    for number, row in enumerate(rows):
        if number % 10 == 9:
            assert (row["label"], row["reason"], row["top"]) == (None, "not an image", None)
        else:
            assert (row["label"], row["reason"], len(row["top"])) == (CLASSES[number % 3], None, 2)


def test_shards_are_read_member_by_member_packed_or_not(tmp_path: Path, model: Path) -> None:
    shards = [shard(tmp_path / "a.tar", 5), shard(tmp_path / "b.tar.gz", 4, mode="w:gz")]
    done = predict_many(model, shards, tmp_path / "out", rows=2)
    assert (done.rows, done.errors, done.parts) == (9, 0, 5)
    rows = table(tmp_path / "out")
    assert [row["label"] for row in rows] == [CLASSES[number % 3] for number in (0, 1, 2, 3, 4, 0, 1, 2, 3)]
    assert rows[5]["source"] == f"{tmp_path}/b.tar.gz:set/0000.png"


def test_a_shard_that_breaks_off_has_an_error_in_the_place_of_the_rest(tmp_path: Path, model: Path) -> None:
    whole = shard(tmp_path / "a.tar", 6)
    os.truncate(whole, 512 * 7)
    (tmp_path / "b.tar").write_bytes(b"no tar")
    done = predict_many(model, [whole, tmp_path / "b.tar", shard(tmp_path / "c.tar", 2)], tmp_path / "out")
    rows = table(tmp_path / "out")
    assert [row["source"].rpartition("/")[2] for row in rows if row["reason"]] == ["a.tar", "b.tar"]
    assert [row["label"] for row in rows[-2:]] == ["red", "green"]
    assert done.errors == 2


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", ["before the part", "between part and journal", "after the journal", "half a line"])
def test_a_kill_at_any_moment_of_a_part_costs_no_row_and_doubles_none(
    tmp_path: Path, model: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sortal.workflows import batch_predicting as module

    folder = pictures(tmp_path / "in", 23)
    sources = [folder, shard(tmp_path / "s.tar", 8)]
    expected = predict_many(model, sources, tmp_path / "whole", rows=5)
    finished, parts = module.Journal.finished, []

    def killed(journal: module.Journal, *args: object) -> None:
        parts.append(args)
        if len(parts) == 3 and moment == "before the part":
            journal.path(2).unlink()
            raise Killed
        if len(parts) == 3 and moment == "between part and journal":
            raise Killed
        finished(journal, *args)  # type: ignore[arg-type]
        if len(parts) == 3:
            if moment == "half a line":
                with (journal.folder / module.JOURNAL).open("ab") as file:
                    file.write(b'{"part": 3, "ro')
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module.Journal, "finished", killed)
        with pytest.raises(Killed):
            predict_many(model, sources, tmp_path / "out", rows=5)
    done = predict_many(model, sources, tmp_path / "out", resume=True, rows=99)
    assert (done.rows, done.errors, done.parts) == (expected.rows, expected.errors, expected.parts)
    assert done.resumed_at == (10 if moment.startswith(("before", "between")) else 15)
    assert table(tmp_path / "out") == table(tmp_path / "whole")


@pytest.mark.slow
def test_a_process_that_is_killed_again_and_again_ends_with_every_row_once(tmp_path: Path, model: Path) -> None:
    folder = pictures(tmp_path / "in", 3000)
    sources = [str(folder), *(str(shard(tmp_path / f"{name}.tar", 1500)) for name in "ab")]
    code = (
        "import sys; from sortal.workflows import predict_many\n"
        "predict_many(sys.argv[1], sys.argv[3:], sys.argv[2], rows=64, resume='resume' in sys.argv[0:1])"
    )
    whole, out = tmp_path / "whole", tmp_path / "out"
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code, str(model), str(whole), *sources], env=surroundings(), check=True)
    seconds, draws, kills = time.monotonic() - began, random.Random(0), 0
    for attempt in range(200):
        resume = "True" if (out / "_about.json").exists() else "False"
        words = [sys.executable, "-c", code.replace("'resume' in sys.argv[0:1]", resume), str(model), str(out), *sources]
        process = subprocess.Popen(words, env=surroundings())
        try:
            assert process.wait(timeout=seconds * (draws.uniform(0.2, 0.6) + 0.02 * attempt)) == 0
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills >= 2
    assert json.loads((out / "_done.json").read_text())["rows"] == 6000
    rows = table(out)
    assert max(Counter(row["source"] for row in rows).values()) == 1
    assert [(row["source"], row["label"], row["reason"]) for row in rows] == [
        (row["source"], row["label"], row["reason"]) for row in table(whole)
    ]


def test_a_finished_one_does_nothing_when_it_is_resumed(tmp_path: Path, model: Path) -> None:
    folder = pictures(tmp_path / "in", 5)
    predict_many(model, [folder], tmp_path / "out")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir() if path.name != ".lock"}
    done = predict_many(model, [folder], tmp_path / "out", resume=True)
    assert (done.rows, done.resumed_at) == (5, 5)
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir() if path.name != ".lock"} == before


def test_files_that_come_and_go_between_attempts_do_not_move_the_others(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sortal.workflows import batch_predicting as module

    folder = pictures(tmp_path / "in", 12)
    finished = module.Journal.finished

    def killed(journal: module.Journal, *args: object) -> None:
        finished(journal, *args)  # type: ignore[arg-type]
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(module.Journal, "finished", killed)
        with pytest.raises(Killed):
            predict_many(model, [folder], tmp_path / "out", rows=4)
    (folder / "0000a.png").write_bytes(picture())
    (folder / "0008.png").unlink()
    done = predict_many(model, [folder], tmp_path / "out", resume=True)
    rows = table(tmp_path / "out")
    assert [Path(row["source"]).name for row in rows] == [f"{number:04d}.png" for number in range(12)]
    assert rows[8]["reason"] == "No such file or directory"
    assert done.errors == 2


def test_what_was_begun_with_other_sources_model_or_shards_is_not_continued(tmp_path: Path, model: Path) -> None:
    source = shard(tmp_path / "a.tar", 3)
    predict_many(model, [source], tmp_path / "out", rows=2)
    (tmp_path / "out" / "_done.json").unlink()
    with pytest.raises(RunExists, match="another batch prediction"):
        predict_many(model, [source], tmp_path / "out")
    with pytest.raises(DataError, match="other sources"):
        predict_many(model, [source, source], tmp_path / "out", resume=True)
    with pytest.raises(BundleError, match="another model"):
        predict_many(colour_bundle(tmp_path / "other", temperature=2.0).path, [source], tmp_path / "out", resume=True)
    with pytest.raises(DataError, match="holds no batch prediction"):
        predict_many(model, [source], tmp_path / "elsewhere", resume=True)
    shard(source, 5)
    with pytest.raises(DataError, match="has changed"):
        predict_many(model, [source], tmp_path / "out", resume=True)
    (tmp_path / "out" / "part-000000.parquet").write_bytes(b"short")
    with pytest.raises(DataError, match="not the part that was finished"):
        predict_many(model, [source], tmp_path / "out", resume=True)


def test_a_folder_of_the_users_is_left_alone(tmp_path: Path, model: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(RunExists):
        predict_many(model, [pictures(tmp_path / "in", 2)], tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_one_that_was_killed_before_it_had_begun_is_begun_again(tmp_path: Path, model: Path) -> None:
    source, out = pictures(tmp_path / "in", 2), tmp_path / "out"
    out.mkdir()
    (out / "_sources.jsonl").write_text('"old.png"\n')
    assert predict_many(model, [source], out).rows == 2


def test_names_that_are_no_text_are_written_spelt_out(tmp_path: Path, model: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / os.fsdecode(b"caf\xe9\n.png")).write_bytes(picture())
    predict_many(model, [folder], tmp_path / "out")
    assert table(tmp_path / "out")[0]["source"].endswith("caf\\xe9\n.png")


def test_a_source_that_is_not_there_is_told_before_anything_is_written(tmp_path: Path, model: Path) -> None:
    with pytest.raises(DataError, match="is not there"):
        predict_many(model, [tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out" / "_about.json").exists()
    predict_many(model, [pictures(tmp_path / "in", 2)], tmp_path / "out")


def test_several_labels_an_image_are_a_list(tmp_path: Path) -> None:
    found = colour_bundle(tmp_path / "model", task="multi-label", thresholds=[0.2, 0.2, 0.9])
    (tmp_path / "x.png").write_bytes(picture("#808000"))
    predict_many(found.path, [tmp_path / "x.png"], tmp_path / "out")
    (row,) = table(tmp_path / "out")
    assert sorted(row["labels"]) == ["green", "red"]
    assert "label" not in row

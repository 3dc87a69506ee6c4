"""A disk that fills up ends a training with exit code 3 and a cure; once there is room, --resume ends with the same bytes."""

import errno
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from io import RawIOBase
from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.harness import surroundings
from sortal import bundle, files
from sortal.errors import MachineFailed
from sortal.manifest import SCHEMA, Manifest
from sortal.preprocess import Preprocess
from sortal.run import Run
from sortal.training import checkpoint
from sortal.workflows.marking import Marking

Train = Callable[..., subprocess.CompletedProcess[str]]
SCRATCH = ["--recipe", "small_images", "--set", "image_size=16", "--set", "batch_size=16", "--set", "split.val=0.2"]
ABOUT = {"classes": ["ant", "bee"], "preprocess": Preprocess(size=8, resize=9).to_dict(), "temperature": 1.0}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """An empty file system of 48 MB; skips where this process may not mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def files_of_at_most_1000_bytes() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill(disk: Path) -> Path:
    """Write until there is no room; the file that took it."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            while has_room_for(file, size):
                pass
    return ballast


def has_room_for(file: RawIOBase, size: int) -> bool:
    try:
        file.write(bytes(size))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


def told_clearly(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 3, done.stderr
    assert "full" in done.stderr
    assert "hint: free some room" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("files_of_at_most_1000_bytes")
def test_a_file_that_finds_no_room_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_bytes(path, b"old")
    with pytest.raises(MachineFailed, match="full"):
        files.write_bytes(path, b"x" * 2000)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.usefixtures("files_of_at_most_1000_bytes")
def test_a_bundle_that_finds_no_room_leaves_the_old_one(tmp_path: Path) -> None:
    good = bundle.write(tmp_path / "bundle", graph=b"graph", weights=b"weights", about=ABOUT)
    with pytest.raises(MachineFailed, match="full"):
        bundle.write(tmp_path / "bundle", graph=b"x" * 2000, weights=b"weights", about=ABOUT)
    assert bundle.Bundle.load(good.path) == good
    assert os.listdir(tmp_path) == ["bundle"]


@pytest.mark.usefixtures("files_of_at_most_1000_bytes")
def test_a_run_that_finds_no_room_can_be_begun_again_in_the_same_folder(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with pytest.raises(MachineFailed, match="full"), run.begun({"data": "x" * 2000}):
        pytest.fail("a run began without room")
    with run.begun({"data": "x"}):
        assert run.read_about()["data"] == "x"


@pytest.mark.usefixtures("files_of_at_most_1000_bytes")
def test_what_is_added_to_a_file_and_finds_no_room_leaves_it_as_long_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    files.append(path, b"x" * 900, hint="free some room")
    with pytest.raises(MachineFailed, match="full") as caught:
        files.append(path, b"y" * 900, hint="free some room")
    assert caught.value.hint == "free some room"
    files.append(path, b"z" * 100, hint="free some room")
    assert path.read_bytes() == b"x" * 900 + b"z" * 100


def test_a_full_disk_takes_no_mark_and_loses_none(small_disk: Path) -> None:
    rows = [{"source": f"{number:04d}", "labels": ["x"], "split": "train"} for number in range(1000)]
    manifest = Manifest(pa.Table.from_pylist(rows, schema=SCHEMA), ("x", "y"), "/photos")
    manifest.save(small_disk / "manifest.parquet")
    run = Run(small_disk)
    work = Marking.of(run, manifest)
    work.mark({"action": "exclude", "sources": ["0000", "0001"]})
    ballast = fill(small_disk)
    everything = {"action": "label", "sources": manifest.sources, "labels": {name: ["y"] for name in manifest.sources}}
    for ask, cure in ((lambda: work.mark(everything), "mark it again"), (lambda: work.save({}), "save again")):
        with pytest.raises(MachineFailed, match=f"the disk that holds {small_disk}/.* is full") as caught:
            ask()
        assert cure in caught.value.hint
        assert "kept" in caught.value.hint
        assert list(work.marks) == list(Marking.of(run, manifest).marks) == ["0000", "0001"]
    assert sorted(os.listdir(small_disk)) == ["ballast", "manifest.parquet", "marks.jsonl"]

    ballast.unlink()
    work.mark(everything)
    assert len(Marking.of(run, manifest).marks) == 1000
    last = Manifest.load(Path(work.save({})["path"]))
    assert last.column("labels") == [["y"]] * 1000
    assert last.excluded.sources == []


def test_a_full_disk_is_told_with_its_place_and_the_old_file_stays(small_disk: Path) -> None:
    files.write_bytes(small_disk / "file", b"old")
    fill(small_disk)
    with pytest.raises(MachineFailed, match=str(small_disk / "file")) as caught:
        files.write_bytes(small_disk / "file", b"x" * 5000)
    assert "--resume" in caught.value.hint
    assert (small_disk / "file").read_bytes() == b"old"
    assert sorted(os.listdir(small_disk)) == ["ballast", "file"]


@pytest.mark.slow
@pytest.mark.parametrize("limit", [20_000, 300_000], ids=["20 kB", "300 kB"])
def test_a_run_that_may_write_no_large_files_stops_clearly_and_resumes(
    limit: int, small_pictures: Path, tmp_path: Path, train: Train
) -> None:
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit, of util-linux")
    words = [small_pictures, *SCRATCH, "--set", "epochs=1", "--out", tmp_path / "run"]
    told_clearly(train(*words, limit=limit))
    done = train(*words, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    assert not list((tmp_path / "run").rglob("*.part"))


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training_loses_nothing_that_was_finished(
    small_disk: Path, small_pictures: Path, tmp_path: Path, train: Train
) -> None:
    words = [small_pictures, *SCRATCH, "--set", "epochs=8"]
    whole = train(*words, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    fixed = [small_pictures, "--recipe", tmp_path / "whole" / "recipe.toml", "--out", small_disk / "run"]

    command = [sys.executable, "-m", "benchmarks.often", "0.05", "train", *map(str, fixed)]
    environment = surroundings({"SORTAL_CACHE": str(tmp_path / "cache")})
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not (small_disk / "run" / "checkpoint.safetensors").exists():
            time.sleep(0.005)
        ballast = fill(small_disk)
        _, said = process.communicate()
    told_clearly(subprocess.CompletedProcess(command, process.returncode, "", said))
    _, _, loop = checkpoint.read(small_disk / "run" / "checkpoint.safetensors")
    assert (0, 0) < (loop["epoch"], loop["step"]) < (8, 0)

    ballast.unlink()
    done = train("--resume", "--out", small_disk / "run")
    assert done.returncode == 0, done.stderr
    for name in ("bundle/weights.safetensors", "predictions.parquet"):
        assert (small_disk / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name

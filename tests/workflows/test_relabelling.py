"""Relabelling: marks as they come in, versions of the manifest, none ever written over, and a browser in which keys mark."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sortal.data.marks import BY_HAND, marked
from sortal.errors import DataError, RunExists
from sortal.events import Event, Note
from sortal.files import write_bytes
from sortal.manifest import SCHEMA, Manifest
from sortal.recipe import Recipe, Split
from sortal.reporting.desk import LARGEST_BODY, Desk
from sortal.run import Run, held
from sortal.workflows import edit, train
from sortal.workflows import marking as marking_module
from sortal.workflows.beginning import fresh_folder
from sortal.workflows.marking import Marking
from sortal.workflows.relabelling import largest_body
from tests.chromium import CHROMIUM, SIZES, chromium

RECIPE = Recipe(
    model="lenet5", weights="none", strategy="scratch", image_size=16, epochs=1, batch_size=8, learning_rate=1e-6,
    precision="float32", layout="nchw", split=Split(val=0.2, test=0.4),
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that learnt nothing, so that it makes mistakes."""
    folder = tmp_path_factory.mktemp("squares")
    random = np.random.default_rng(0)
    for label in ("blue", "red"):
        for index in range(20):
            (folder / label).mkdir(exist_ok=True)
            Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / label / f"{index:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SORTAL_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train(folder, recipe=RECIPE, out=tmp_path_factory.mktemp("runs") / "run").run


@pytest.fixture
def run(trained: Run) -> Iterator[Run]:
    """That run, from which later versions of the manifest are gone after each test."""
    yield trained
    for path in (*trained.manifests[1:], trained.marks):
        path.unlink(missing_ok=True)


def marking(folder: Path, *, exclusions: Mapping[str, str] | None = None) -> Marking:
    """Marks of four images of two classes, none yet."""
    rows = [
        {"source": name, "labels": ["x"], "split": split, "exclusion": (exclusions or {}).get(name)}
        for name, split in zip("abcd", ("train",) * 3 + ("test",), strict=True)
    ]
    manifest = Manifest(pa.Table.from_pylist(rows, schema=SCHEMA), ("x", "y"), "/photos")
    manifest.save(folder / "manifest.parquet")
    return Marking.of(Run(folder), manifest)


def test_a_mark_is_told_and_counted_and_undone(tmp_path: Path) -> None:
    work = marking(tmp_path)
    found = work.mark({"action": "label", "sources": ["a"], "labels": {"a": ["y"]}})
    assert found["states"] == {"a": {"labels": ["y"], "told": "labelled y", "by": "mark"}}
    assert (found["told"], found["unsaved"]) == ("1 image now y", 1)
    assert work.mark({"action": "exclude", "sources": ["a", "b"]})["unsaved"] == 2
    assert work.states({"a"})["a"]["told"] == "labelled y; excluded"
    assert work.mark({"action": "undo", "sources": ["a", "b"]})["unsaved"] == 0
    assert work.states({"a"})["a"] == {"labels": ["x"], "told": "", "by": ""}


def test_a_label_takes_an_exclusion_back(tmp_path: Path) -> None:
    work = marking(tmp_path)
    work.mark({"action": "exclude", "sources": ["a"]})
    work.mark({"action": "label", "sources": ["a"], "labels": {"a": ["y"]}})
    assert work.states({"a"})["a"]["told"] == "labelled y"


def test_pictures_join_the_group_that_is_named_or_begin_one(tmp_path: Path) -> None:
    work = marking(tmp_path)
    first = work.mark({"action": "group", "sources": ["a"], "group": None})["group"]
    assert work.mark({"action": "group", "sources": ["b"], "group": first})["group"] == first
    assert work.mark({"action": "group", "sources": ["c"], "group": None})["group"] != first
    assert work.mark({"action": "group", "sources": ["d"], "group": 99})["group"] not in (first, 99)


def test_copies_become_a_group_for_each_picture_that_they_show(tmp_path: Path) -> None:
    work = marking(tmp_path)
    asked = {"action": "group", "sources": ["a", "b", "c", "d"], "group": None, "groups": [["a", "c"], ["b", "d"]]}
    assert work.mark(asked)["told"] == "4 images in 2 groups"
    assert [work.states(set("abcd"))[source]["told"] for source in "abcd"] == ["in group 1", "in group 2"] * 2


def test_each_save_writes_a_version_and_none_without_a_change(tmp_path: Path) -> None:
    work = marking(tmp_path)
    before = (tmp_path / "manifest.parquet").read_bytes()
    assert work.save({})["path"] is None
    work.mark({"action": "exclude", "sources": ["a"]})
    assert work.save({})["path"] == str(tmp_path / "manifest-2.parquet")
    assert work.save({})["path"] is None
    second = (tmp_path / "manifest-2.parquet").read_bytes()
    work.mark({"action": "label", "sources": ["b"], "labels": {"b": ["y"]}})
    work.save({})
    assert [path.name for path in work.written] == ["manifest-2.parquet", "manifest-3.parquet"]
    assert (tmp_path / "manifest.parquet").read_bytes() == before
    assert (tmp_path / "manifest-2.parquet").read_bytes() == second
    last = Manifest.load(tmp_path / "manifest-3.parquet")
    assert last.column("exclusion") == [BY_HAND, None, None, None]
    assert last.column("labels") == [["x"], ["y"], ["x"], ["x"]]


def test_what_is_undone_after_a_save_is_saved_as_undone(tmp_path: Path) -> None:
    work = marking(tmp_path)
    work.mark({"action": "exclude", "sources": ["a"]})
    work.save({})
    assert work.mark({"action": "undo", "sources": ["a"]})["unsaved"] == 1
    work.save({})
    assert Manifest.load(tmp_path / "manifest-3.parquet").column("exclusion") == [None] * 4


def test_versions_count_on_from_the_highest_number_whatever_is_missing_or_foreign(tmp_path: Path) -> None:
    for name in ("manifest-7.parquet", "manifest-10.parquet", "manifest-x.parquet", "manifest-11.parquet.bak"):
        write_bytes(tmp_path / name, b"")
    run = Run(tmp_path)
    assert [path.name for path in run.manifests] == ["manifest.parquet", "manifest-7.parquet", "manifest-10.parquet"]
    assert run.next_manifest.name == "manifest-11.parquet"


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({}, "no images were named"),
    ({"action": "exclude", "sources": []}, "no images were named"),
    ({"action": "exclude", "sources": "a"}, "no images were named"),
    ({"action": "exclude", "sources": [1]}, "no images were named"),
    ({"action": "exclude", "sources": ["a", "../b"]}, "none of the run's images"),
    ({"action": "delete", "sources": ["a"]}, "no such mark"),
    ({"action": "label", "sources": ["a"]}, "no labels were given"),
    ({"action": "label", "sources": ["a"], "labels": {"a": "y"}}, "no labels were given"),
    ({"action": "label", "sources": ["a"], "labels": {"a": ["z"]}}, "no class 'z'"),
    ({"action": "label", "sources": ["a"], "labels": {"a": []}}, "one label"),
    ({"action": "label", "sources": ["a"], "labels": {"a": ["x", "y"]}}, "one label"),
    ({"action": "group", "sources": ["a"], "groups": [["b"]]}, "not of these images"),
    ({"action": "group", "sources": ["a"], "groups": [[["a"]]]}, "not of these images"),
    ({"action": "group", "sources": ["a"], "groups": "a"}, "not of these images"),
    ({"action": "label", "sources": ["a", "b"], "labels": {"a": ["y"], "b": ["z"]}}, "no class 'z'"),
]


@pytest.mark.parametrize(("asked", "told"), MISTAKES)
def test_what_makes_no_sense_is_told_and_marks_nothing(tmp_path: Path, asked: dict[str, Any], told: str) -> None:
    work = marking(tmp_path)
    with pytest.raises(DataError, match=told):
        work.mark(asked)
    assert work.marks == {}


def serving(run: Run, act: Callable[[str], None]) -> list[Path]:
    """Edit the run while `act` speaks to its address, then press Ctrl-C; what was written."""
    wrong: list[BaseException] = []

    def work(url: str) -> None:
        try:
            act(url)
        except BaseException as error:
            wrong.append(error)
        finally:
            signal.raise_signal(signal.SIGINT)

    def observe(event: Event) -> None:
        if isinstance(event, Note) and (url := re.search(r"http://\S+", event.text)):
            threading.Thread(target=work, args=(url[0],)).start()

    written = edit(run.path, observe=observe).manifests
    if wrong:
        raise wrong[0]
    return written


def post(url: str, act: str, values: dict[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "X-Sortal-Token": url.rstrip("/").rpartition("/")[2]}
    request = urllib.request.Request(url + act, json.dumps(values).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return dict(json.loads(answer.read()))


def test_what_is_marked_and_not_saved_is_saved_when_ctrl_c_ends_it(run: Run) -> None:
    kept = {path: path.read_bytes() for path in run.path.iterdir() if path.is_file()}
    source = Manifest.load(run.manifest).sources[0]
    written = serving(run, lambda url: void(post(url, "marks", {"action": "exclude", "sources": [source]})))
    assert written == [run.path / "manifest-2.parquet"]
    assert Manifest.load(written[0]).excluded.sources == [source]
    assert {path: path.read_bytes() for path in kept} == kept
    assert {path for path in run.path.iterdir() if path.is_file()} == {*kept, *written, run.marks}


def test_a_later_edit_goes_on_from_the_newest_version(run: Run) -> None:
    first, second = Manifest.load(run.manifest).sources[:2]
    serving(run, lambda url: void(post(url, "marks", {"action": "exclude", "sources": [first]})))
    written = serving(run, lambda url: void(post(url, "marks", {"action": "exclude", "sources": [second]})))
    assert written == [run.path / "manifest-3.parquet"]
    assert Manifest.load(written[0]).excluded.sources == [first, second]


def test_nothing_is_written_where_nothing_was_marked(run: Run) -> None:
    def look(url: str) -> None:
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert b'id="told"' in answer.read()

    assert serving(run, look) == []
    assert run.manifests == [run.manifest]


def void(value: object) -> None:
    """Nothing, of anything."""


def test_two_do_not_edit_one_run(run: Run) -> None:
    with held(run.path, "working in"), pytest.raises(RunExists, match="another process"):
        edit(run.path)


def test_what_is_no_finished_run_is_refused(tmp_path: Path, run: Run) -> None:
    with pytest.raises(DataError, match="neither a run nor a bundle"):
        edit(tmp_path)
    with pytest.raises(DataError, match="is a bundle, which has no report"):
        edit(run.bundle)


def test_training_takes_a_version_as_its_data(run: Run, tmp_path: Path) -> None:
    manifest = Manifest.load(run.manifest)
    of = {split: manifest.split(split).sources for split in ("train", "test")}
    relabelled, excluded = of["train"][0], of["train"][1]
    linked = [of["train"][2], of["test"][0]]
    was = dict(zip(manifest.sources, manifest.column("labels"), strict=True))
    label = next(name for name in manifest.classes if [name] != was[relabelled])

    def act(url: str) -> None:
        post(url, "marks", {"action": "label", "sources": [relabelled], "labels": {relabelled: [label]}})
        post(url, "marks", {"action": "exclude", "sources": [excluded]})
        post(url, "marks", {"action": "group", "sources": linked, "group": None})

    (version,) = serving(run, act)
    again = train(version, recipe=RECIPE, out=tmp_path / "again").run
    seen = Manifest.load(again.manifest)
    by = {source: row for row, source in enumerate(seen.sources)}
    assert seen.sources == manifest.sources
    assert seen.root == manifest.root
    assert seen.column("labels")[by[relabelled]] == [label]
    assert seen.excluded.sources == [excluded]
    assert seen.column("exclusion")[by[excluded]] == BY_HAND
    assert {seen.column("group")[by[source]] for source in linked} == {"marked-1"}
    assert {seen.column("split")[by[source]] for source in linked} == {"train"}
    moved = {source for source in manifest.sources if source not in linked}
    assert all(seen.column("split")[by[source]] == manifest.column("split")[by[source]] for source in moved)


@contextlib.contextmanager
def edit_as_a_process(run: Run, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """The command in a process of its own, which is gone at the end."""
    command = [sys.executable, "-m", "sortal.cli.main", "report", str(run.path), "--edit", *options]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "400"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            yield server
        finally:
            server.kill()


def address(server: "subprocess.Popen[str]") -> str:
    assert server.stderr
    return next(found[0] for line in server.stderr if (found := re.search(r"http://\S+", line)))


def states(url: str) -> dict[str, dict[str, Any]]:
    """What the page says of its images."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        known = re.search(r'id="known">(.*?)</script>', answer.read().decode())
    assert known
    return dict(json.loads(known[1])["desk"]["states"])


def test_after_kill_9_the_next_edit_has_every_mark_and_a_second_desk_is_told_of_the_first(run: Run) -> None:
    first, second, third = Manifest.load(run.manifest).sources[:3]
    with edit_as_a_process(run) as server:
        url = address(server)
        post(url, "marks", {"action": "exclude", "sources": [first, second, third]})
        post(url, "marks", {"action": "undo", "sources": [second]})
        with edit_as_a_process(run) as other:
            _, told = other.communicate(timeout=120)
        assert other.returncode == 2
        assert f"another process is working in {run.path}" in told
        assert "hint: end it first: the desk with Ctrl-C where it runs" in told
        server.kill()
    assert run.manifests == [run.manifest]
    with run.marks.open("a") as file:
        file.write('{"on":{"version":"manifest.parquet","sha')  # what a kill in the middle of a line leaves

    seen: dict[str, Any] = {}
    with edit_as_a_process(run) as server:
        seen |= states(address(server))
        server.send_signal(signal.SIGINT)
        out, told = server.communicate(timeout=120)
    assert server.returncode == 0
    assert [seen[source]["told"] for source in (first, third)] == ["excluded"] * 2
    assert seen.get(second, {}).get("told", "") == ""
    assert out == f"{run.path / 'manifest-2.parquet'}\n"
    assert f"to train on it: sortal train {run.path / 'manifest-2.parquet'}" in told
    assert Manifest.load(run.path / "manifest-2.parquet").excluded.sources == [first, third]


def test_marks_of_an_earlier_session_are_told_and_so_is_a_half_written_one(tmp_path: Path) -> None:
    work = marking(tmp_path)
    work.mark({"action": "exclude", "sources": ["a", "b"]})
    whole = work.run.marks.read_bytes()
    work.mark({"action": "exclude", "sources": ["c"]})
    work.run.marks.write_bytes(work.run.marks.read_bytes()[:-1])
    told: list[Any] = []
    again = Marking.of(work.run, work.first, told.append)
    assert list(again.marks) == ["a", "b"]
    assert work.run.marks.read_bytes() == whole
    assert "only half written" in told[0].text
    assert told[1].text == "2 images marked and not saved by an earlier session: kept"
    again.mark({"action": "exclude", "sources": ["d"]})
    assert list(Marking.of(work.run, work.first).marks) == ["a", "b", "d"]


def test_a_version_that_was_written_before_a_kill_holds_its_marks(tmp_path: Path) -> None:
    work = marking(tmp_path)
    work.mark({"action": "group", "sources": ["a", "b"], "group": None})
    before = work.run.marks.read_bytes()
    work.save({})
    work.run.marks.write_bytes(before)  # the kill came between the version and the journal's line about it
    again = Marking.of(work.run, work.first)
    assert again.marks == {}
    assert again.save({})["path"] is None


def test_what_an_earlier_session_decided_is_shown_and_taken_back_by_undo(tmp_path: Path) -> None:
    work = marking(tmp_path)
    work.mark({"action": "label", "sources": ["a"], "labels": {"a": ["y"]}})
    work.mark({"action": "exclude", "sources": ["b"]})
    work.mark({"action": "group", "sources": ["c", "d"], "group": None})
    work.save({})
    again = Marking.of(work.run, work.first)
    seen, unsaved = again.by_now(set())
    assert unsaved == 0
    assert {source: state["told"] for source, state in seen.items()} == {
        "a": "labelled y", "b": "excluded", "c": "in group 1", "d": "in group 1",
    }  # fmt: skip
    assert {state["by"] for state in seen.values()} == {"version"}
    found = again.mark({"action": "undo", "sources": ["a", "b", "c", "d"]})
    assert found["unsaved"] == 4
    assert found["states"]["a"] == {"labels": ["x"], "told": "as it was trained on", "by": "mark"}
    again.save({})
    assert Manifest.load(tmp_path / "manifest-3.parquet").table.equals(work.first.table)


def test_what_was_set_aside_before_the_training_can_be_used_again_and_set_aside_once_more(tmp_path: Path) -> None:
    work = marking(tmp_path, exclusions={"a": BY_HAND, "b": "truncated"})
    seen, _ = work.by_now(set())
    assert seen == {"a": {"labels": ["x"], "told": BY_HAND, "by": "before"}}
    found = work.mark({"action": "undo", "sources": ["a"]})
    assert (found["told"], found["states"]["a"]["told"], found["unsaved"]) == ("1 image used again", "used again", 1)
    assert work.mark({"action": "undo", "sources": ["a"]})["unsaved"] == 0
    work.mark({"action": "undo", "sources": ["a"]})
    work.mark({"action": "undo", "sources": ["b"]})  # no decision: it cannot be read
    work.save({})
    assert Manifest.load(tmp_path / "manifest-2.parquet").column("exclusion") == [None, "truncated", None, None]
    again = Marking.of(work.run, work.first)
    assert again.states("a")["a"] == {"labels": ["x"], "told": "used again", "by": "version"}
    again.mark({"action": "undo", "sources": ["a"]})
    again.save({})
    assert Manifest.load(tmp_path / "manifest-3.parquet").column("exclusion")[0] == BY_HAND


def test_a_group_goes_on_growing_after_a_save(tmp_path: Path) -> None:
    work = marking(tmp_path)
    number = work.mark({"action": "group", "sources": ["a"], "group": None})["group"]
    work.save({})
    assert work.mark({"action": "group", "sources": ["b"], "group": number})["group"] == number
    work.save({})
    assert Manifest.load(tmp_path / "manifest-3.parquet").column("group") == ["marked-1", "marked-1", None, None]


def elsewhere(work: Marking, name: str, label: str = "y") -> bytes:
    """Another desk, or the user, labels the last image and writes a version; its bytes."""
    labels = [*work.base.column("labels")[:3], [label]]
    work.base.with_column("labels", labels).with_column("group", ["marked-1", None, None, None]).save(work.run.path / name)
    return (work.run.path / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "told"),
    [("manifest-2.parquet", "manifest-2.parquet came from elsewhere"), ("manifest.parquet", "manifest.parquet was changed")],
)
def test_what_came_from_elsewhere_is_not_written_over_and_the_next_desk_lays_the_marks_on_it(
    tmp_path: Path, name: str, told: str
) -> None:
    work = marking(tmp_path)
    work.mark({"action": "exclude", "sources": ["a"]})
    work.mark({"action": "group", "sources": ["b", "c"], "group": None})
    work.mark({"action": "label", "sources": ["d"], "labels": {"d": ["x"]}})
    theirs = elsewhere(work, name)
    names = {path.name for path in tmp_path.iterdir()}
    with pytest.raises(DataError, match=f"{told} since the desk was opened; nothing was written over it") as caught:
        work.save({})
    assert "all 4 marks are kept" in caught.value.hint
    assert caught.value.hint.endswith(f"sortal report {tmp_path} --edit")
    assert {path.name for path in tmp_path.iterdir()} == names
    assert (tmp_path / name).read_bytes() == theirs

    notes: list[Any] = []
    again = Marking.of(work.run, work.first, notes.append)
    assert f"{name} came from elsewhere since: they lie on it now" in notes[0].text
    assert "elsewhere labelled y since" in again.states("d")["d"]["told"]
    path = Path(again.save({})["path"])
    assert (tmp_path / name).read_bytes() == theirs
    last = Manifest.load(path)
    assert last.column("exclusion") == [BY_HAND, None, None, None]
    assert last.column("group") == ["marked-1", "marked-2", "marked-2", None]
    assert last.column("labels") == [["x"]] * 4


def test_a_version_that_comes_in_the_very_moment_of_saving_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = marking(tmp_path)
    work.mark({"action": "exclude", "sources": ["a"]})

    def slow(*given: Any) -> Manifest:
        write_bytes(tmp_path / "manifest-2.parquet", b"theirs")
        return marked(*given)

    monkeypatch.setattr(marking_module, "marked", slow)
    with pytest.raises(DataError, match=r"manifest-2\.parquet came from elsewhere"):
        work.save({})
    assert (tmp_path / "manifest-2.parquet").read_bytes() == b"theirs"
    assert list(work.marks) == ["a"]


def test_a_version_that_went_away_is_told(tmp_path: Path) -> None:
    work = marking(tmp_path)
    work.mark({"action": "exclude", "sources": ["a"]})
    work.save({})
    work.mark({"action": "exclude", "sources": ["b"]})
    (tmp_path / "manifest-2.parquet").unlink()
    with pytest.raises(DataError, match=r"manifest-2\.parquet went away"):
        work.save({})
    assert list(Marking.of(work.run, work.first).marks) == ["b"]


def test_ctrl_c_over_a_version_from_elsewhere_ends_with_what_happened_and_keeps_the_marks(run: Run) -> None:
    source, other = Manifest.load(run.manifest).sources[:2]

    def act(url: str) -> None:
        post(url, "marks", {"action": "exclude", "sources": [source]})
        Manifest.load(run.manifest).save(run.next_manifest)

    with pytest.raises(DataError, match="came from elsewhere"):
        serving(run, act)
    assert run.manifests[1:] == [run.path / "manifest-2.parquet"]
    (written,) = serving(run, lambda url: void(post(url, "marks", {"action": "exclude", "sources": [other]})))
    assert Manifest.load(written).excluded.sources == [source, other]


def test_any_number_of_images_is_marked_at_once(tmp_path: Path) -> None:
    names = [f"a rather long name of a folder/{number:07d}, and of a file {'é' * 30}.jpg" for number in range(10_000)]
    rows = [{"source": name, "labels": ["x"], "split": "train"} for name in names]
    manifest = Manifest(pa.Table.from_pylist(rows, schema=SCHEMA), ("x", "y"), "/photos")
    manifest.save(tmp_path / "manifest.parquet")
    work = Marking.of(Run(tmp_path), manifest)
    asked = {"action": "label", "sources": names, "labels": {name: ["y"] for name in names}}
    with Desk(str, {"marks": work.mark}, largest_body=largest_body(manifest)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        assert len(json.dumps(asked)) > LARGEST_BODY
        assert post(server.url, "marks", asked)["unsaved"] == 10_000
        pairs = [list(pair) for pair in zip(names[::2], names[1::2], strict=True)]
        found = post(server.url, "marks", {"action": "group", "sources": names, "group": None, "groups": pairs})
        assert found["told"] == "10,000 images in 5,000 groups"
        server.shutdown()
        thread.join()
    again = Marking.of(Run(tmp_path), manifest)
    assert again.marks.keys() == set(names)
    last = Manifest.load(Path(again.save({})["path"]))
    assert last.column("labels") == [["y"]] * 10_000
    assert last.column("group")[-2:] == ["marked-5000"] * 2


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
def test_a_person_marks_with_keys_in_a_browser_and_ctrl_c_ends_it(run: Run, tmp_path: Path) -> None:
    mistakes = json.loads(run.report_json.read_text())["mistakes"]
    assert len(mistakes) >= 4
    names = [mistake["source"] for mistake in mistakes]
    with edit_as_a_process(run, "--json") as server, chromium(tmp_path / "profile") as browser:
        url = address(server)
        for size in SIZES.values():
            browser.open(url, size)
            assert browser.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        told = "document.getElementById('told').textContent"
        focus = "document.activeElement.getAttribute('aria-label')"
        browser.press("j")
        assert browser.value(focus) == names[0]
        browser.press("a")
        browser.until(f"{told}.startsWith('1 image now {mistakes[0]['predicted']}. 1 not saved')")
        browser.press("j", "x")
        browser.until(f"{told}.includes('excluded. 2 not saved')")
        browser.press("j", "g", "j", "g")
        browser.until(f"{told}.includes('in group 1. 4 not saved')")
        assert browser.value("[...document.querySelectorAll('#mistakes .now')].slice(0, 4).map(each => each.textContent)") == [
            f"labelled {mistakes[0]['predicted']}", "excluded", "in group 1", "in group 1",
        ]  # fmt: skip
        browser.press("k", "u")
        browser.until(f"{told}.includes('as before. 3 not saved')")
        browser.press("s")
        browser.until(f"{told}.startsWith('Saved as')")
        assert browser.value(focus) == names[2]
        browser.open(url, SIZES["desk"])  # what was marked is still there
        assert browser.value("document.querySelector('#mistakes .now').textContent").startswith("labelled")
        browser.click("#confusion .open")
        clicked = browser.value("document.querySelector('#cell [data-source]').dataset.source")
        browser.click("#cell [data-source] .exclude")
        browser.until(f"{told}.includes('1 not saved')")
        browser.press("Escape")
        browser.press("s")
        browser.until(f"{told}.includes('manifest-3')")
        assert browser.value("document.getElementById('train').textContent").endswith(
            f"sortal train {run.path}/manifest-3.parquet"
        )
        heads = "[...document.querySelectorAll('#marked :is(h3, .decision > p:first-child)')].map(each => each.textContent)"
        decided = {names[0], names[1], names[3], clicked}
        assert browser.value(heads)[0] == f"Saved: {len(decided)} images"
        listed = "[...document.querySelectorAll('#marked li[data-key]')].map(each => each.dataset.key)"
        assert set(browser.value(listed)) == decided
        browser.value("document.getElementById('marked').scrollIntoView()")
        browser.until("[...document.querySelectorAll('#marked img')].every(image => image.complete && image.naturalWidth)")
        assert browser.value("document.querySelectorAll('#marked .blank').length") == 0
        browser.value(f"document.querySelector('#marked [data-key=\"{names[1]}\"]').focus()")
        browser.press("u")  # what was saved is taken back with the same key
        browser.until(f"{told}.startsWith('1 image as before. 1 not saved')")
        assert browser.value(focus) == names[1]
        assert browser.value(heads)[:2] == ["Not saved yet: 1 image", "as it was trained on 1 image"]
        browser.press("u", "x")
        browser.until(f"{told}.includes('excluded. 1 not saved')")
        server.send_signal(signal.SIGINT)
        answer, _ = server.communicate(timeout=180)
        assert server.returncode == 0
    assert json.loads(answer) == {"manifests": [str(path) for path in run.manifests[1:]]}
    second = Manifest.load(run.path / "manifest-2.parquet")
    by = {source: row for row, source in enumerate(second.sources)}
    assert second.column("labels")[by[names[0]]] == [mistakes[0]["predicted"]]
    assert second.excluded.sources == [names[1]]
    assert [second.column("group")[by[source]] for source in names[2:4]] == [None, "marked-1"]
    assert len(Manifest.load(run.path / "manifest-3.parquet").excluded) == 2
    assert names[1] in Manifest.load(run.path / "manifest-4.parquet").excluded.sources


def test_what_was_set_aside_before_a_training_has_its_picture_and_trains_again(run: Run, tmp_path: Path) -> None:
    source = Manifest.load(run.manifest).split("train").sources[0]
    (version,) = serving(run, lambda url: void(post(url, "marks", {"action": "exclude", "sources": [source]})))
    without = train(version, recipe=RECIPE, out=tmp_path / "without it").run
    assert Manifest.load(without.manifest).excluded.sources == [source]

    def use_again(url: str) -> None:
        assert states(url)[source] == {"labels": [source.split("/")[0]], "told": BY_HAND, "by": "before"}
        with urllib.request.urlopen(f"{url}picture?{urllib.parse.urlencode({'source': source})}", timeout=30) as answer:
            assert answer.headers["Content-Type"] == "image/png"
            assert Image.open(answer).size == (16, 16)
        post(url, "marks", {"action": "undo", "sources": [source]})

    (version,) = serving(without, use_again)
    again = Manifest.load(train(version, recipe=RECIPE, out=tmp_path / "again").run.manifest)
    assert source in again.split("train").sources
    assert again.split_counts() == Manifest.load(run.manifest).split_counts()


def test_a_version_of_a_manifest_names_its_run_after_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert fresh_folder(Path("runs/plain/manifest-2.parquet")) == Path("runs/plain")
    assert fresh_folder(Path("runs/plain/manifest-2.parquet")) == Path("runs/plain-2")
    assert fresh_folder(Path("photos/manifestation.parquet")) == Path("runs/manifestation")

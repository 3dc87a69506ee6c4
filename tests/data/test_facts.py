"""Facts are remembered, shared between processes, and never trusted when damaged."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sortal.data import facts as module
from sortal.data.facts import Facts, ImageFacts
from sortal.data.looks import LENGTH, Looks
from sortal.errors import DataError
from sortal.events import Event, Note

ONE, TWO = "11" * 32, "22" * 32
KNOWN = ImageFacts(640, 480, 2**64 - 1, True, "transparency drawn on white")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "facts.sqlite"


def test_what_was_put_is_known_at_once_and_after_closing(path: Path) -> None:
    with Facts(path) as facts:
        assert facts.get([ONE]) == [None]
        facts.put(ONE, KNOWN)
        assert facts.get([ONE]) == [KNOWN]
    with Facts(path) as facts:
        assert facts.get([ONE]) == [KNOWN]
        assert facts.get([TWO]) == [None]


def test_a_problem_is_remembered_too(path: Path) -> None:
    with Facts(path) as facts:
        facts.put(ONE, ImageFacts(None, None, None, None, problem="not an image"))
    with Facts(path) as facts:
        assert facts.get([ONE])[0] == ImageFacts(None, None, None, None, "", "not an image")


def test_looks_come_back_by_content_and_none_where_nothing_was_decoded(path: Path) -> None:
    looks = Looks(
        np.arange(LENGTH, dtype=np.float32),
        b"0123456789abcdef",
        12_345,
        {"camera": "Maker / M 1", "place": [1.5, 2.5], "ISO": 100.0},
    )
    with Facts(path) as facts:
        facts.put(ONE, KNOWN, looks)
        facts.put(TWO, ImageFacts(None, None, None, None, problem="not an image"))
    with Facts(path) as facts:
        found, missing, again = facts.looks([ONE, TWO, ONE])
        assert facts.looks([]) == []
    assert missing is None
    assert found is not None
    assert again is not None
    assert found.numbers.tolist() == looks.numbers.tolist()
    assert (found.pixels, found.bytes, found.made) == (looks.pixels, looks.bytes, looks.made)


@pytest.mark.parametrize("phash", [0, 1, 2**63 - 1, 2**63, 2**64 - 1])
def test_every_hash_comes_back(path: Path, phash: int) -> None:
    with Facts(path) as facts:
        facts.put(ONE, ImageFacts(1, 1, phash, False))
        facts.flush()
    with Facts(path) as facts:
        found = facts.get([ONE])[0]
    assert found is not None
    assert found.phash == phash


def test_facts_of_another_version_are_not_believed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Facts(path) as facts:
        facts.put(ONE, KNOWN)
    monkeypatch.setattr(module, "VERSION", "2/99")
    with Facts(path) as facts:
        assert facts.get([ONE]) == [None]


def test_more_facts_than_one_bundle_are_all_written(path: Path) -> None:
    contents = [f"{number:064x}" for number in range(3 * module.BUFFERED + 1)]
    with Facts(path) as facts:
        for content in contents:
            facts.put(content, KNOWN)
    with Facts(path) as facts:
        assert facts.get(contents) == [KNOWN] * len(contents)


def test_assigned_sides_belong_to_their_data_set_and_shares(path: Path) -> None:
    with Facts(path) as facts:
        facts.remember_assigned("/photos", "val=0.1 seed=0", {ONE: "train"})
        facts.remember_assigned("/photos", "val=0.1 seed=0", {TWO: "val"})
        assert facts.assigned("/photos", "val=0.1 seed=0") == {ONE: "train", TWO: "val"}
        assert facts.assigned("/photos", "val=0.2 seed=0") == {}
        assert facts.assigned("/others", "val=0.1 seed=0") == {}


WRITER = """
import sys
from pathlib import Path
from sortal.data.facts import Facts, ImageFacts
from sortal.data.looks import LENGTH, Looks
with Facts(Path(sys.argv[1])) as facts:
    for number in range(300):
        facts.put(f"{int(sys.argv[2]) * 1000 + number:064x}", ImageFacts(number, 1, number, False))
        if number % 20 == 0:
            facts.flush()
"""


def test_several_processes_write_at_once_and_nothing_is_lost(path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(number)]) for number in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    with Facts(path) as facts:
        for number in range(3):
            contents = [f"{number * 1000 + row:064x}" for row in range(300)]
            assert facts.get(contents) == [ImageFacts(row, 1, row, False) for row in range(300)]


def test_a_file_that_is_no_database_is_set_aside_with_a_note(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this was a database once" * 100)
    events: list[Event] = []
    with Facts(path, events.append) as facts:
        facts.put(ONE, KNOWN)
        assert facts.get([ONE]) == [KNOWN]
    assert [type(event) for event in events] == [Note]
    assert "damaged" in events[0].text
    assert [file.read_bytes()[:4] for file in path.parent.glob("*.damaged-*")] == [b"this"]


def test_damage_inside_the_file_is_found_when_it_is_touched_and_set_aside(path: Path) -> None:
    with Facts(path) as facts:
        for number in range(2000):
            facts.put(f"{number:064x}", KNOWN)
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = b"\xa5" * (len(damaged) - 4096)
    path.write_bytes(damaged)
    events: list[Event] = []
    with Facts(path, events.append) as facts:
        assert facts.get([f"{7:064x}"]) == [None]
        facts.put(ONE, KNOWN)
        facts.flush()
        assert facts.get([ONE]) == [KNOWN]
    assert len(events) == 1


def test_a_cache_that_cannot_be_made_is_the_users_mistake_with_the_cure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError) as caught:
        Facts(tmp_path / "file" / "facts.sqlite")
    assert "SORTAL_CACHE" in caught.value.hint


def test_a_write_waits_for_another_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT", 0.05)
    with Facts(path) as facts:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        facts.put(ONE, KNOWN)
        with pytest.raises(DataError, match="locked"):
            facts.flush()
        other.execute("ROLLBACK")
        other.close()
        facts.flush()  # nothing was lost meanwhile
        assert facts.get([ONE]) == [KNOWN]

"""Predict at scale: millions of files or tar shards into Parquet parts, each image once, however often the work is killed.

What is to be done is written down before the first image is read: the model's bytes, and every file by name. Images are taken
in that order and written in parts of a fixed number of rows; a part is written whole or not at all, and a line of the journal,
flushed to the disk, says that it is finished. A part without its line is written again, with the same rows.
"""

import hashlib
import itertools
import json
import lzma
import os
import tarfile
import time
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sortal.bundle import Bundle
from sortal.errors import BundleError, DataError
from sortal.events import Observer, Progress, ignore
from sortal.files import replacing, sync, write_text
from sortal.run import find_bundle, held, require_empty
from sortal.workflows.predicting import Answer, Classifier, as_prediction, walk

FORMAT = 1
ROWS = 2_048
"""Of a part: what a kill can cost."""
SHARDS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# Names that begin with an underscore are passed over by whoever reads the folder as one Parquet data set.
ABOUT, LISTING, JOURNAL, DONE = "_about.json", "_sources.jsonl", "_journal.jsonl", "_done.json"
LARGEST_MEMBER = 256 << 20
"""Bytes of one member of a shard; a larger one is no image."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What a finished batch prediction wrote."""

    out: Path
    rows: int
    """One for each image, also for those that could not be read."""
    errors: int
    parts: int
    resumed_at: int
    """Rows that an earlier attempt had finished."""
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "out": str(self.out)}


def predict_many(
    target: str | Path,
    sources: Iterable[str | Path],
    out: str | Path,
    *,
    top: int = 5,
    resume: bool = False,
    rows: int = ROWS,
    observe: Observer = ignore,
) -> Batch:
    """Label files, folders and tar shards into a folder of Parquet parts.

    Args:
        target: a run or a bundle.
        sources: images, folders, which are walked, and tar shards, whose members are read in their order.
        out: the folder; empty or not there, unless `resume`.
        top: ranked labels in each row.
        resume: go on where an earlier attempt with the same model and sources was killed. Files that came since are left out,
            files that went have an error in their row.
        rows: of each part; a resume keeps what the first attempt had.
        observe: told of `Progress` in rows.

    Returns:
        What was written. Columns: `source`, `label` (null where the model abstains) and `probability`, or `labels` where an
        image may have several; `top` (a list of `label` and `probability`); `reason`, why an image could not be read.

    Raises:
        DataError: a source that is not there, sources or shards that are not those of the first attempt.
        BundleError: a model that is not that of the first attempt.
        RunExists: a folder that holds something else, or in which another process is writing.
    """
    began, path = time.monotonic(), Path(out)
    bundle = Bundle.load(find_bundle(Path(target)))
    asked = [os.fspath(source) for source in sources]
    if not resume:
        require_empty(path, ABOUT, "batch prediction", before={LISTING})
    elif not (path / ABOUT).is_file():
        raise DataError(f"{path} holds no batch prediction", hint="leave out --resume to begin one")
    with held(path, "predicting into"):
        about = _continued(path, bundle, asked) if resume else _begun(path, bundle, asked, top, rows)
        journal = Journal(path)
        work = Work(path, bundle, about, journal)
        resumed_at = journal.rows
        if not (path / DONE).exists():
            work.do(observe)
    return Batch(path, journal.rows, journal.errors, len(journal.parts), resumed_at, round(time.monotonic() - began, 3))


def _begun(path: Path, bundle: Bundle, asked: Sequence[str], top: int, rows: int) -> dict[str, Any]:
    """Write down what is to be done; the file that says that it was written comes last."""
    require_empty(path, ABOUT, "batch prediction", before={LISTING})
    with replacing(path / LISTING) as part, part.open("w", encoding="ascii") as file:
        for entry in _listed(asked):
            # JSON, so that a name may hold a line break or bytes that are no text.
            file.write(json.dumps(entry) + "\n")
    about = {"format": FORMAT, "sources": _digest(list(asked)), "top": top, "rows": rows, "model": _digest(dict(bundle.about))}
    write_text(path / ABOUT, json.dumps(about, indent=2) + "\n")
    return about


def _continued(path: Path, bundle: Bundle, asked: Sequence[str]) -> dict[str, Any]:
    try:
        about = dict(json.loads((path / ABOUT).read_text(encoding="utf-8")))
        known = about["format"], about["sources"], about["model"], int(about["top"]), int(about["rows"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise DataError(f"{path / ABOUT} is damaged: {error}", hint="begin anew, in another folder") from error
    if known[0] != FORMAT:
        raise DataError(f"{path / ABOUT} has format {known[0]}", hint="use the version of sortal that wrote it")
    if known[1] != _digest(list(asked)):
        raise DataError(f"{path} was begun with other sources", hint="name the same ones in the same order")
    if known[2] != _digest(dict(bundle.about)):
        raise BundleError(f"{path} was begun with another model", hint="name that one, or begin anew in another folder")
    return about


def _digest(values: Any) -> str:
    """What tells whether two are the same."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _listed(asked: Iterable[str]) -> Iterator[str | list[Any]]:
    """Names of files, in order; with a shard's name what tells whether it is still the same."""
    for path in walk(asked):
        if not path.exists():
            raise DataError(f"{path} is not there", hint="name images, folders or tar shards")
        name = str(path)
        yield [name, *_state(name)] if name.lower().endswith(SHARDS) else name


def _state(name: str) -> list[int]:
    about = os.stat(name)
    return [about.st_size, about.st_mtime_ns]


@dataclass(slots=True)
class Journal:
    """Which parts are finished, a line for each."""

    folder: Path
    parts: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        path = self.folder / JOURNAL
        text = path.read_bytes() if path.exists() else b""
        whole = text[: text.rfind(b"\n") + 1]  # a kill may have left half a line
        try:
            self.parts = [dict(json.loads(line)) for line in whole.splitlines()]
        except (TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged: {error}", hint="begin anew, in another folder") from error
        for number, part in enumerate(self.parts):
            if part["part"] != number or not self.path(number).is_file() or self.path(number).stat().st_size != part["bytes"]:
                raise DataError(f"{self.path(number)} is not the part that was finished", hint="begin anew, in another folder")
        if len(whole) != len(text):
            os.truncate(path, len(whole))

    @property
    def rows(self) -> int:
        return sum(part["rows"] for part in self.parts)

    @property
    def errors(self) -> int:
        return sum(part["errors"] for part in self.parts)

    def path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.parquet"

    def finished(self, rows: int, errors: int, place: tuple[int, int]) -> None:
        """The part is on the disk: say so. `place` is the source and the member of it that come next."""
        number = len(self.parts)
        about = {"part": number, "rows": rows, "errors": errors, "bytes": self.path(number).stat().st_size, "next": list(place)}
        with (self.folder / JOURNAL).open("ab") as file:
            file.write(json.dumps(about).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if not number:
            sync(self.folder)
        self.parts.append(about)


Item = tuple[str, "bytes | Path | None", str, tuple[int, int]]
"""An image's name, its bytes or file, why there is none, and what comes next: a source's number and a member's."""


@dataclass(frozen=True, slots=True)
class Work:
    """One batch prediction, from where the journal says that it stands."""

    folder: Path
    bundle: Bundle
    about: dict[str, Any]
    journal: Journal

    def do(self, observe: Observer) -> None:
        classifier, size = Classifier(self.bundle), int(self.about["rows"])
        waiting: deque[Item] = deque()

        def images() -> Iterator[bytes | Path]:
            for item in self._items():
                waiting.append(item)
                if item[1] is not None:
                    yield item[1]

        answers = self._answers(classifier.stream(images()), waiting)
        while part := list(itertools.islice(answers, size)):
            self._write(part)
            observe(Progress("predict", self.journal.rows, None))
        write_text(self.folder / DONE, json.dumps({"rows": self.journal.rows, "errors": self.journal.errors}) + "\n")

    def _answers(self, told: Iterator[Answer], waiting: deque[Item]) -> Iterator[tuple[Item, Answer]]:
        """Answers with the items that they belong to, in order; an item without bytes is its own answer."""
        for answer in told:
            while waiting[0][1] is None:
                item = waiting.popleft()
                yield item, Answer(item[0], None, item[2])
            yield waiting.popleft(), answer
        while waiting:
            item = waiting.popleft()
            yield item, Answer(item[0], None, item[2])

    def _items(self) -> Iterator[Item]:
        first, member = self.journal.parts[-1]["next"] if self.journal.parts else (0, 0)
        with (self.folder / LISTING).open(encoding="ascii") as file:
            for number, line in enumerate(itertools.islice(file, first, None), first):
                entry = json.loads(line)
                if isinstance(entry, list):
                    yield from self._members(number, entry[0], entry[1:], member if number == first else 0)
                else:
                    yield entry, Path(entry), "", (number + 1, 0)

    def _members(self, number: int, name: str, state: list[int], skip: int) -> Iterator[Item]:
        """The files of a shard, from one of them on; a shard that breaks off has an error in the place of what is missing."""
        at = 0
        try:
            if _state(name) != state:
                raise DataError(f"{name} has changed since the first attempt", hint="begin anew, in another folder")
            with tarfile.open(name) as shard:
                for member in shard:
                    shard.members = []  # type: ignore[attr-defined]  # or a million members' heads would be kept
                    if not member.isfile() or Path(member.name).name.startswith("."):
                        continue
                    at += 1
                    if at <= skip:
                        continue
                    source = f"{name}:{member.name}"
                    if member.size > LARGEST_MEMBER:
                        yield source, None, f"{member.size:,} bytes are more than any image has", (number, at)
                        continue
                    file = shard.extractfile(member)
                    yield source, file.read() if file else b"", "", (number, at)
        except DataError:
            raise
        except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            yield name, None, f"the shard breaks off: {reason}", (number + 1, 0)

    def _write(self, answers: Sequence[tuple[Item, Answer]]) -> None:
        import pyarrow.parquet as pq

        with replacing(self.journal.path(len(self.journal.parts))) as part:
            pq.write_table(self._table(answers), part, compression="zstd")
        errors = sum(answer.probs_K is None for _, answer in answers)
        self.journal.finished(len(answers), errors, answers[-1][0][3])

    def _table(self, answers: Sequence[tuple[Item, Answer]]) -> Any:
        import pyarrow as pa

        several = self.bundle.task == "multi-label"
        ranked = pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))
        said = [("labels", pa.list_(pa.string()))] if several else [("label", pa.string()), ("probability", pa.float32())]
        schema = pa.schema([("source", pa.string()), *said, ("top", ranked), ("reason", pa.string())])
        rows = [self._row(item[0], answer) for item, answer in answers]
        return pa.Table.from_pylist(rows, schema=schema)

    def _row(self, name: str, answer: Answer) -> dict[str, Any]:
        # A file's name may hold bytes that are no text; Parquet's strings are text.
        source = os.fsencode(name).decode("utf-8", "backslashreplace")
        if answer.probs_K is None:
            return {"source": source, "reason": answer.reason}
        return {**as_prediction(answer, self.bundle, int(self.about["top"])), "source": source}

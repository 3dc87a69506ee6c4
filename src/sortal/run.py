"""A run: the folder that holds all of one training, from the data's address to the report."""

import contextlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sortal.errors import BundleError, DataError, RunExists
from sortal.files import UNFINISHED, remove_unfinished, stands_at, write_text
from sortal.shell import typed

FORMAT = 1
LOCK = ".lock"
VERSION = re.compile(r"manifest-([0-9]{1,9})\.parquet")
"""Versions of a manifest that a person made; none is ever written over."""


@dataclass(frozen=True, slots=True)
class Run:
    """The addresses inside one run's folder."""

    path: Path

    @property
    def about(self) -> Path:
        """What was asked for: data, recipe, settings, seed; written before anything else."""
        return self.path / "run.json"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.parquet"

    @property
    def manifests(self) -> list[Path]:
        """The manifest and its later versions (`manifest-2.parquet` and so on), the oldest first."""
        later = [
            (int(found[1]), path) for path in self.path.glob("manifest-*.parquet") if (found := VERSION.fullmatch(path.name))
        ]
        return [self.manifest, *(path for _, path in sorted(later))]

    @property
    def next_manifest(self) -> Path:
        """Where the next version of the manifest goes: a name that nothing has."""
        found = VERSION.fullmatch(self.manifests[-1].name)
        return self.path / f"manifest-{int(found[1]) + 1 if found else 2}.parquet"

    @property
    def marks(self) -> Path:
        """The journal of what a person marks at the desk, until it stands in a version of the manifest and ever after."""
        return self.path / "marks.jsonl"

    @property
    def recipe(self) -> Path:
        """The recipe with every choice made, also those that were measured; written before the first step."""
        return self.path / "recipe.toml"

    @property
    def decisions(self) -> Path:
        """Why the recipe is what it is: a list of key, value and reason."""
        return self.path / "decisions.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The last and the best weights and all that a resume needs."""
        return self.path / "checkpoint.safetensors"

    @property
    def findings(self) -> Path:
        """What was found to be wrong with the images when the run began: a list in the contract's form."""
        return self.path / "findings.json"

    def found(self) -> tuple[dict[str, Any], ...]:
        """The findings about the images: what the training found, or since then `sortal check` of the run."""
        return tuple(json.loads(self.findings.read_text(encoding="utf-8"))) if self.findings.exists() else ()

    @property
    def held_out(self) -> Path:
        """Out-of-fold logits of the cross-validation and what the models of its folds learnt: a resume does not compute them
        again, and the report explains each mistake by the model that made it. Older versions kept the logits alone, as `.npy`.
        """
        return self.path / "held_out.safetensors"

    @property
    def bundle(self) -> Path:
        return self.path / "bundle"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.parquet"

    @property
    def report_json(self) -> Path:
        return self.path / "report.json"

    @property
    def report_html(self) -> Path:
        return self.path / "report.html"

    @property
    def model_card(self) -> Path:
        return self.path / "model-card.md"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def exports(self) -> Path:
        """Files for other runtimes, a folder each."""
        return self.path / "exports"

    @property
    def result(self) -> Path:
        """What `train --json` prints; written last, so that its presence says that the run is finished."""
        return self.path / "result.json"

    @property
    def finished(self) -> bool:
        return self.result.exists()

    def read_about(self) -> dict[str, Any]:
        """What was asked for when the run began."""
        try:
            about = dict(json.loads(self.about.read_text(encoding="utf-8")))
            version = about["format"]
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BundleError(f"{self.path} holds no run", hint="name the folder that `sortal train` printed") from error
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise BundleError(f"{self.about} is damaged: {error}", hint="train anew, into another folder") from error
        if version != FORMAT:
            raise BundleError(f"{self.about} has format {version}", hint="use the version of sortal that wrote it")
        return about

    @contextlib.contextmanager
    def begun(self, about: Mapping[str, Any]) -> Iterator[None]:
        """Begin a run and hold it, in a folder that is empty or not there; raises `RunExists` for any other."""
        self._require_empty()
        with self.locked():
            self._require_empty()  # somebody may have begun one since
            text = json.dumps({"format": FORMAT, **about}, indent=2, ensure_ascii=False)
            write_text(self.about, text + "\n")
            yield

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run against a second process that would write the same folder; the lock goes with the process.

        What a process that was killed left half written is removed: now nobody writes it.
        """
        with held(self.path, "training in"):
            yield

    def remove_lock(self) -> None:
        """Remove the lock file: for whoever holds it and leaves an empty folder."""
        (self.path / LOCK).unlink(missing_ok=True)

    def _require_empty(self) -> None:
        require_empty(self.path, self.about.name, "run")


@contextlib.contextmanager
def held(folder: Path, doing: str, *, hint: str = "wait for it, or choose another --out") -> Iterator[None]:
    """Hold a folder, which is made if need be, against other processes; raises `RunExists` where one is `doing` it already.

    What a process that was killed left half written is removed: now nobody writes it.
    """
    with _lock(folder, doing, hint):
        remove_unfinished(folder)
        yield


def require_empty(folder: Path, about: str, what: str, *, before: Collection[str] = ()) -> None:
    """Raise `RunExists` for anything but what a process leaves that was killed while it began `what` here.

    `about` is the file whose presence says that one has begun, `before` are those that are written before it.
    """
    if not folder.is_dir():
        names = [folder.name] if folder.exists() else []
    else:
        names = [name for name in os.listdir(folder) if name != LOCK and not UNFINISHED.fullmatch(name)]
    begun = about in names
    if begun or set(names) - set(before):
        raise RunExists(
            f"{folder} already holds {f'another {what}' if begun else 'other files'}",
            hint="choose another --out" + (", or continue it with --resume" if begun else ""),
        )


def _lock(folder: Path, doing: str, hint: str) -> IO[bytes]:
    import fcntl

    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = (folder / LOCK).open("wb")
        except FileNotFoundError:
            continue  # the folder went in this moment, see below
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise RunExists(f"another process is {doing} {folder}", hint=hint) from error
        if stands_at(folder / LOCK, file):
            return file
        file.close()  # who held it found a mistake and took the folder away: try again


def find_bundle(path: Path) -> Path:
    """The bundle folder of a run, or the path itself if it is a bundle; either will do wherever one is asked for."""
    for candidate in (path, path / "bundle"):
        if (candidate / "bundle.json").is_file():
            return candidate
    if (path / "run.json").is_file():
        going_on = typed("sortal", "train", "--resume", "--out", path)
        raise BundleError(f"the run {path} has no bundle yet", hint=f"finish it: {going_on}")
    raise DataError(f"{path} is neither a run nor a bundle", hint="name the folder that `sortal train` printed")

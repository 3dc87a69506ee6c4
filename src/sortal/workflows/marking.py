"""Marking: what a person decides about a run's images, each mark on the disk before it counts, and the versions that follow."""

import contextlib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from sortal.data import journal
from sortal.data.journal import Version
from sortal.data.marks import GROUP, Mark, excluded, free_groups, group_name, marked, usable
from sortal.errors import DataError, MachineFailed
from sortal.events import Note, Observer, ignore
from sortal.manifest import Manifest
from sortal.run import Run
from sortal.shell import typed

Change = tuple[dict[str, Mark | None], str, int | None]
"""New marks by source, what is told, and the number of a group."""


@dataclass
class Marking:
    """Marks as they come in, each of them on the disk before it counts, and the manifest that they are of; safe with several
    threads, for whoever holds the run.
    """

    run: Run
    first: Manifest
    """What the run was trained on, where marks that take back go back to."""
    base: Manifest = field(init=False)
    """The newest version, which the marks are laid on."""
    marks: dict[str, Mark] = field(default_factory=dict)
    """What is marked and not saved, the last one last."""
    written: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._place = self.run.manifests[-1]
        self._version = Version.of(self._place)  # before it is read: a change in between is seen when saving
        before = zip(self.first.column("labels"), self.first.column("exclusion"), self.first.column("group"), strict=True)
        self._before = dict(zip(self.first.sources, before, strict=True))
        self._settle(Manifest.load(self._place))

    @classmethod
    def of(cls, run: Run, first: Manifest, observe: Observer = ignore) -> "Marking":
        """The marks of a run as the last desk left them, however it ended, laid on the newest version; tells what it found.

        Raises `DataError` for a journal or a version that is damaged.
        """
        kept = journal.read(run.marks)
        work = cls(run, first)
        if kept.torn:
            observe(Note(f"the last mark in {run.marks} was only half written and does not count: make it again", "warning"))
        if kept.marks:
            work._take_up(kept, observe)
        return work

    def _take_up(self, kept: journal.Kept, observe: Observer) -> None:
        if marked(self.base, kept.marks, self.first).table.equals(self.base.table):
            journal.add_saved(self.run.marks, self._version)  # it was written, and a kill came before this line
            return
        marks = {source: mark for source, mark in kept.marks.items() if self._fits(source, mark)}
        told = f"{_counted(kept.marks)} marked and not saved by an earlier session: kept"
        if kept.on == self._version:
            observe(Note(told))
        else:
            on = kept.on.name if kept.on else "a version"
            told += f"; {on} was their base, and {self._place.name} came from elsewhere since: they lie on it now"
            observe(Note(told + self._lost(len(kept.marks) - len(marks)), "warning"))
            marks = self._renumbered(marks)
        self.marks = marks

    def _fits(self, source: str, mark: Mark) -> bool:
        return source in self._rows and set(mark.labels or ()) <= set(self.base.classes)

    def _lost(self, count: int) -> str:
        return f"; {count:,} cannot, since it has no such image or class" if count else ""

    def _renumbered(self, marks: Mapping[str, Mark]) -> dict[str, Mark]:
        """The marks, with other numbers for groups whose name has come from elsewhere meanwhile."""
        taken = {mark.group for mark in marks.values() if mark.group is not None}
        names = set(self.base.column("group"))
        free = free_groups(self.base, taken)
        numbers = {number: next(free) if group_name(number) in names else number for number in sorted(taken)}
        return {
            source: mark if mark.group is None else replace(mark, group=numbers[mark.group]) for source, mark in marks.items()
        }

    def _settle(self, base: Manifest) -> None:
        """Go on from this version."""
        self.base = base
        self._rows = {source: row for row, source in enumerate(base.sources)}
        columns = (base.column(name) for name in ("labels", "exclusion", "group"))
        self._now = list(zip(*columns, strict=True))
        self._groups = set(base.column("group"))

    @property
    def command(self) -> str:
        """What to type to train on the newest version."""
        return typed("sortal", "train", self._place)

    def states(self, sources: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What images are by now: labels; told, which is what differs from what the run was trained on; and `by`, where that
        stands: 'mark' (not saved), 'version', 'before' (set aside before the training), or '' where nothing differs.
        """
        return {source: self._state(source) for source in sorted(sources) if source in self._rows}

    def by_now(self, sources: set[str]) -> tuple[dict[str, dict[str, Any]], int]:
        """The states of these images and of all about which anything was decided, and how many are marked and not saved."""
        with self._lock:
            decided = {source for source in self._rows if source in self.marks or self._decided(source) or self._aside(source)}
            return self.states(sources | decided), len(self.marks)

    def _was(self, source: str) -> tuple[list[str], str | None, str | None]:
        """Labels, exclusion and group that the run was trained on."""
        now = self._now[self._rows[source]]
        return self._before.get(source, now)

    def _decided(self, source: str) -> bool:
        """Whether the newest version has it other than the run was trained on."""
        return self._now[self._rows[source]] != self._was(source)

    def _aside(self, source: str) -> bool:
        """Whether it was set aside by a decision before the run was trained."""
        reason = self._was(source)[1]
        return reason is not None and usable(reason)

    def _state(self, source: str) -> dict[str, Any]:
        labels, reason, group = self._now[self._rows[source]]
        was_labels, was_reason, was_group = self._was(source)
        mark = self.marks.get(source)
        told = [] if mark is None else self._meanwhile(mark, labels, reason)
        if mark is not None:
            if mark.back:
                labels, group = was_labels, was_group
                reason = was_reason if usable(reason) else reason
            labels = labels if mark.labels is None else list(mark.labels)
            reason = excluded(reason, mark)
            group = group if mark.group is None else group_name(mark.group)
        if group != was_group:
            told.insert(0, f"in group {group.removeprefix(GROUP)}" if group else "in no group")
        if (reason is None) != (was_reason is None):
            told.insert(0, "excluded" if reason is not None else "used again")
        if labels != was_labels:
            told.insert(0, f"labelled {', '.join(labels) or 'with nothing'}")
        if not told and reason is not None and usable(reason):
            told = [reason]
        if not told and mark is not None:
            told = ["as it was trained on"]
        by = "mark" if mark is not None else "version" if self._decided(source) else "before" if self._aside(source) else ""
        return {"labels": labels, "told": "; ".join(told), "by": by}

    def _meanwhile(self, mark: Mark, labels: list[str], reason: str | None) -> list[str]:
        """What came from elsewhere since an image was marked."""
        if mark.seen is None or (list(mark.seen[0]), mark.seen[1]) == (labels, reason):
            return []
        if list(mark.seen[0]) != labels:
            return [f"elsewhere labelled {', '.join(labels) or 'with nothing'} since"]
        return [f"elsewhere {'used again' if reason is None else 'excluded'} since"]

    def mark(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Take one mark: action ('label', 'exclude', 'group', 'undo'), sources, and labels or group.

        Raises `DataError` for what makes no sense, `MachineFailed` where the disk does not take it; then nothing is marked.
        """
        actions = {"label": self._label, "exclude": self._exclude, "group": self._group, "undo": self._undo}
        action = actions.get(str(asked.get("action")))
        with self._lock:
            sources = self._sources(asked)
            if action is None:
                raise DataError("no such mark", hint=f"use {', '.join(actions)}")
            changed, told, group = action(sources, asked)
            journal.add_marks(self.run.marks, self._version, changed)
            for source, mark in changed.items():
                self.marks.pop(source, None)
                if mark is not None:
                    self.marks[source] = mark
            return {"states": self.states(sources), "group": group, "told": told, "unsaved": len(self.marks)}

    def save(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Write the marks as a new version of the manifest, unless nothing was marked since the last one.

        Raises `DataError` where the version that they were laid on is no longer the newest, or not as it was: nothing is
        written then, and the marks are kept.
        """
        with self._lock:
            if not self.marks:
                return {"told": "Nothing new to save", "path": None, "command": self.trainable, "states": {}}
            self._require_newest()
            path = self.run.next_manifest
            version = marked(self.base, self.marks, self.first)
            try:
                version.save(path, new=True)
            except FileExistsError:
                self._refuse(f"{path} came from elsewhere")
            except OSError as error:
                told = error.message if isinstance(error, MachineFailed) else f"{path} cannot be written: {error.strerror}"
                raise MachineFailed(told, hint=f"free some room, then save again; {self._kept}") from error
            saved, self.marks = list(self.marks), {}
            self._place, self._version = path, Version.of(path)
            self._settle(version)
            self.written.append(path)
            with contextlib.suppress(MachineFailed):  # the next desk sees that the version holds them
                journal.add_saved(self.run.marks, self._version)
            return {"told": f"Saved as {path}", "path": str(path), "command": self.command, "states": self.states(saved)}

    @property
    def trainable(self) -> str:
        """What to type to train on what was saved; '' where nothing was."""
        return self.command if self._place != self.run.manifest else ""

    @property
    def _kept(self) -> str:
        marks = "the mark is" if len(self.marks) == 1 else f"all {len(self.marks):,} marks are"
        return f"{marks} kept"

    def _require_newest(self) -> None:
        newest = self.run.manifests[-1]
        if not self._place.exists():
            self._refuse(f"{self._place} went away")
        if newest != self._place:
            self._refuse(f"{newest} came from elsewhere")
        if Version.of(newest) != self._version:
            self._refuse(f"{newest} was changed")

    def _refuse(self, what: str) -> NoReturn:
        again = typed("sortal", "report", self.run.path, "--edit")
        raise DataError(
            f"{what} since the desk was opened; nothing was written over it",
            hint=f"{self._kept}: end the desk with Ctrl-C and begin it anew, and they lie on what is there then: {again}",
        )

    def _sources(self, asked: Mapping[str, Any]) -> list[str]:
        sources = asked.get("sources")
        if not isinstance(sources, list) or not sources or not all(isinstance(source, str) for source in sources):
            raise DataError("no images were named", hint="load the page anew")
        unknown = [source for source in sources if source not in self._rows]
        if unknown:
            raise DataError(f"{unknown[0]} is none of the run's images", hint="load the page anew")
        return sources

    def _changed(self, source: str, **values: Any) -> Mark:
        labels, reason, _ = self._now[self._rows[source]]
        return replace(self.marks.get(source, Mark()), seen=(tuple(labels), reason), **values)

    def _label(self, sources: list[str], asked: Mapping[str, Any]) -> Change:
        labels = asked.get("labels")
        labels = labels if isinstance(labels, Mapping) else {}
        for source in sources:
            self._require_labels(labels.get(source))
        changed: dict[str, Mark | None]
        changed = {source: self._changed(source, labels=tuple(labels[source]), excluded=False) for source in sources}
        told = ", ".join(dict.fromkeys(name for source in sources for name in labels[source])) or "no label"
        return changed, f"{_counted(sources)} now {told}", None

    def _require_labels(self, labels: Any) -> None:
        if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
            raise DataError("no labels were given", hint="load the page anew")
        unknown = [name for name in labels if name not in self.base.classes]
        if unknown:
            raise DataError(f"there is no class {unknown[0]!r}", hint="choose one of the run's classes")
        if len(set(labels)) != len(labels) or (self.base.task == "multi_class" and len(labels) != 1):
            raise DataError("an image has one label here", hint="choose one class")

    def _exclude(self, sources: list[str], asked: Mapping[str, Any]) -> Change:
        changed: dict[str, Mark | None] = {source: self._changed(source, excluded=True) for source in sources}
        return changed, f"{_counted(sources)} excluded", None

    def _group(self, sources: list[str], asked: Mapping[str, Any]) -> Change:
        parts = asked.get("groups") or [sources]
        if not isinstance(parts, list) or not all(isinstance(part, list) for part in parts):
            raise DataError("the groups are not of these images", hint="load the page anew")
        if not {str(source) for part in parts for source in part} <= set(sources):
            raise DataError("the groups are not of these images", hint="load the page anew")
        taken = {mark.group for mark in self.marks.values() if mark.group is not None}
        free = free_groups(self.base, taken)
        number = asked.get("group")
        if type(number) is not int or not (number in taken or group_name(number) in self._groups):
            number = next(free)  # a new one is wanted, or its last picture was undone
        changed: dict[str, Mark | None] = {}
        last = number
        for part in parts:
            changed |= {source: self._changed(source, group=number) for source in part}
            last, number = number, next(free)
        return changed, f"{_counted(sources)} in {f'group {last}' if len(parts) == 1 else f'{len(parts):,} groups'}", last

    def _undo(self, sources: list[str], asked: Mapping[str, Any]) -> Change:
        changed = {source: self._undone(source) for source in sources}
        again = sum(mark is not None and mark.excluded is False for mark in changed.values())
        return changed, f"{_counted(sources)} {'used again' if again == len(sources) else 'as before'}", None

    def _undone(self, source: str) -> Mark | None:
        """The mark that brings an image back to what the run was trained on; to what it was before a decision that was made
        before the training, where there is nothing else to take back.
        """
        decided, mark = self._decided(source), self.marks.get(source)
        as_trained = self._changed(source, labels=None, excluded=None, group=None, back=True) if decided else None
        nothing_else = not decided if mark is None else mark.back and (mark.labels, mark.excluded, mark.group) == (None,) * 3
        if self._aside(source) and nothing_else:
            return self._changed(source, excluded=False)
        return as_trained


def _counted(sources: Iterable[str]) -> str:
    count = len(list(sources))
    return "1 image" if count == 1 else f"{count:,} images"

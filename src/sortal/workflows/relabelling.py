"""Relabelling: a run's page on the loopback, where a person marks images, and the new versions of the manifest that follow."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sortal.data.marks import Mark, free_group, marked
from sortal.errors import DataError
from sortal.events import Note, Observer, ignore
from sortal.manifest import Manifest
from sortal.run import Run, held
from sortal.workflows.reporting import opened, pictures


@dataclass(frozen=True, slots=True)
class Edited:
    """The versions of the manifest that a person wrote, the last one last."""

    manifests: list[Path]

    def to_json(self) -> dict[str, Any]:
        return {"manifests": [str(path) for path in self.manifests]}


def edit(target: str | Path, *, port: int = 0, observe: Observer = ignore) -> Edited:
    """Serve a run's page on the loopback until Ctrl-C, so that a person can mark images; returns what was written.

    Each save writes a version of the manifest beside those that are there (`manifest-2.parquet` and so on), which goes on from
    the newest; what is marked and not saved at the end is saved then. The run itself stays as it is.

    Args:
        target: a finished run.
        port: to listen on, 0 to 65535; 0 takes one that is free.

    Raises:
        DataError: for anything but a finished run, or a port that cannot be had.
        RunExists: another process is at work in the run.
    """
    from sortal.reporting import desk as desks
    from sortal.reporting import page

    with opened(target, observe) as (run, report, bundle, recipe, manifest, samples, _), held(run.path, "working in"):
        shown = pictures(report, recipe, bundle.preprocess, samples, manifest.used)
        work = Marking(run, base=Manifest.load(run.manifests[-1]), first=manifest)
        sources = {*shown.cards, *shown.small}

        def render(token: str) -> str:
            desk = page.Desk(token, work.base.classes, *work.by_now(sources))
            return page.render(report, thumbnails=shown.cards, small=shown.small, inputs=shown.inputs, desk=desk)

        try:
            server = desks.Desk(render, {"marks": work.mark, "save": work.save}, port=port)
        except (OSError, OverflowError) as error:
            raise DataError(f"port {port} cannot be had: {error}", hint="choose another --port, or none") from error
        with server:
            observe(Note(f"open {server.url} in a browser on this machine; Ctrl-C ends it"))
            try:
                server.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                pass
            finally:
                work.save({})
    return Edited(work.written)


@dataclass
class Marking:
    """Marks as they come in, and the manifest that they are of; safe with several threads."""

    run: Run
    base: Manifest
    """The newest version when the marking began."""
    first: Manifest
    """What the run was trained on."""
    marks: dict[str, Mark] = field(default_factory=dict)
    saved: dict[str, Mark] = field(default_factory=dict)
    """The marks of the last version that was written."""
    written: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = {source: row for row, source in enumerate(self.base.sources)}
        before = zip(self.first.column("labels"), self.first.column("exclusion"), self.first.column("group"), strict=True)
        self._before = dict(zip(self.first.sources, before, strict=True))
        columns = (self.base.column(name) for name in ("labels", "exclusion", "group"))
        self._now = list(zip(*columns, strict=True))

    def states(self, sources: set[str]) -> dict[str, dict[str, Any]]:
        """What images are by now: labels, and told, which is what differs from what the run was trained on."""
        return {source: self._state(source) for source in sorted(sources) if source in self._rows}

    def by_now(self, sources: set[str]) -> tuple[dict[str, dict[str, Any]], int]:
        """The states of these images and of all that are marked, and how many are marked and not saved."""
        with self._lock:
            return self.states(sources | set(self.marks)), self._unsaved()

    def _state(self, source: str) -> dict[str, Any]:
        labels, exclusion, group = self._now[self._rows[source]]
        old_labels, old_exclusion, old_group = self._before.get(source, (labels, exclusion, group))
        mark = self.marks.get(source, Mark())
        labels = labels if mark.labels is None else list(mark.labels)
        told = [f"labelled {', '.join(labels) or 'with nothing'}"] if labels != old_labels else []
        if (mark.excluded or exclusion is not None) and old_exclusion is None:
            told.append("excluded")
        if mark.group is not None:
            told.append(f"in group {mark.group}")
        elif group != old_group:
            told.append(f"in group {group}")
        return {"labels": labels, "told": "; ".join(told)}

    def mark(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Take one mark: action ('label', 'exclude', 'group', 'undo'), sources, and labels or group; raises `DataError`."""
        sources = self._sources(asked)
        actions = {"label": self._label, "exclude": self._exclude, "group": self._group, "undo": self._undo}
        action = actions.get(str(asked.get("action")))
        if action is None:
            raise DataError("no such mark", hint=f"use {', '.join(actions)}")
        with self._lock:
            told, group = action(sources, asked)
            return {"states": self.states(set(sources)), "group": group, "told": told, "unsaved": self._unsaved()}

    def save(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Write the marks as a new version of the manifest, unless nothing was marked since the last one."""
        with self._lock:
            if not self._unsaved():
                return {"told": "Nothing new to save.", "path": None}
            path = self.run.next_manifest
            marked(self.base, self.marks).save(path)
            self.written.append(path)
            self.saved = dict(self.marks)
            return {"told": f"Saved as {path}: sortal train {path}", "path": str(path)}

    def _unsaved(self) -> int:
        return sum(self.marks.get(source) != self.saved.get(source) for source in self.marks.keys() | self.saved.keys())

    def _sources(self, asked: Mapping[str, Any]) -> list[str]:
        sources = asked.get("sources")
        if not isinstance(sources, list) or not sources or not all(isinstance(source, str) for source in sources):
            raise DataError("no images were named", hint="load the page anew")
        unknown = [source for source in sources if source not in self._rows]
        if unknown:
            raise DataError(f"{unknown[0]} is none of the run's images", hint="load the page anew")
        return sources

    def _change(self, source: str, **values: Any) -> None:
        self.marks[source] = replace(self.marks.get(source, Mark()), **values)

    def _label(self, sources: list[str], asked: Mapping[str, Any]) -> tuple[str, int | None]:
        labels = asked.get("labels")
        labels = labels if isinstance(labels, Mapping) else {}
        for source in sources:
            self._require_labels(labels.get(source))
        for source in sources:
            self._change(source, labels=tuple(labels[source]), excluded=False)
        told = ", ".join(dict.fromkeys(name for source in sources for name in labels[source])) or "no label"
        return f"{_counted(sources)} now {told}", None

    def _require_labels(self, labels: Any) -> None:
        if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
            raise DataError("no labels were given", hint="load the page anew")
        unknown = [name for name in labels if name not in self.base.classes]
        if unknown:
            raise DataError(f"there is no class {unknown[0]!r}", hint="choose one of the run's classes")
        if len(set(labels)) != len(labels) or (self.base.task == "multi_class" and len(labels) != 1):
            raise DataError("an image has one label here", hint="choose one class")

    def _exclude(self, sources: list[str], asked: Mapping[str, Any]) -> tuple[str, int | None]:
        for source in sources:
            self._change(source, excluded=True)
        return f"{_counted(sources)} excluded", None

    def _group(self, sources: list[str], asked: Mapping[str, Any]) -> tuple[str, int | None]:
        numbers = {mark.group for mark in self.marks.values() if mark.group is not None}
        number = asked.get("group")
        if type(number) is not int or number not in numbers:  # a new one is wanted, or its last picture was undone
            number = free_group(self.base, numbers)
        parts = asked.get("groups") or [sources]
        if not isinstance(parts, list) or not all(
            isinstance(part, list) and set(map(str, part)) <= set(sources) for part in parts
        ):
            raise DataError("the groups are not of these images", hint="load the page anew")
        for part in parts:
            for source in part:
                self._change(source, group=number)
            numbers.add(number)
            last, number = number, free_group(self.base, numbers)
        return f"{_counted(sources)} in {f'group {last}' if len(parts) == 1 else f'{len(parts):,} groups'}", last

    def _undo(self, sources: list[str], asked: Mapping[str, Any]) -> tuple[str, int | None]:
        for source in sources:
            self.marks.pop(source, None)
        return f"{_counted(sources)} as before", None


def _counted(sources: list[str]) -> str:
    return "1 image" if len(sources) == 1 else f"{len(sources):,} images"

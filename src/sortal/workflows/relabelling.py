"""Relabelling: a run's page on the loopback, where a person marks images, and the new versions of the manifest that follow."""

import contextlib
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sortal.data.marks import usable
from sortal.data.samples import Pixels
from sortal.data.sources import Source, open_source
from sortal.errors import DataError, UnreadableImage
from sortal.events import Note, Observer, ignore
from sortal.manifest import Manifest
from sortal.preprocess import Preprocess, stored_pixels
from sortal.run import held
from sortal.workflows.marking import Marking
from sortal.workflows.reporting import opened, pictures, small_picture

ONE_ACT = 1 << 20
"""Bytes that a request may have besides the names of images."""


@dataclass(frozen=True, slots=True)
class Edited:
    """The versions of the manifest that a person wrote, the last one last."""

    manifests: list[Path]

    def to_json(self) -> dict[str, Any]:
        return {"manifests": [str(path) for path in self.manifests]}


def edit(target: str | Path, *, port: int = 0, observe: Observer = ignore) -> Edited:
    """Serve a run's page on the loopback until Ctrl-C, so that a person can mark images; returns what was written.

    Every mark is on the disk before the page says so, in the run's `marks.jsonl`: whatever ends this, the next call has it.
    Each save writes a version of the manifest beside those that are there (`manifest-2.parquet` and so on), which goes on from
    the newest; what is marked and not saved at the end is saved then. The run itself stays as it is.

    Args:
        target: a finished run.
        port: to listen on, 0 to 65535; 0 takes one that is free.

    Raises:
        DataError: for anything but a finished run, or a port that cannot be had; or at the end, where a version came from
            elsewhere meanwhile, over which nothing is written: the marks are kept for the next call.
        RunExists: another process is at work in the run.
        MachineFailed: the disk is full; the marks that were taken are kept.
    """
    from sortal.reporting import desk as desks
    from sortal.reporting import page

    alone = held(Path(target), "working in", hint="end it first: the desk with Ctrl-C where it runs")
    with opened(target, observe) as (run, report, bundle, recipe, manifest, samples, _), alone:
        shown = pictures(report, recipe, bundle.preprocess, samples, manifest.used)
        work = Marking.of(run, manifest, observe)
        sources = {*shown.cards, *shown.small}

        def render(token: str) -> str:
            desk = page.Desk(token, work.base.classes, *work.by_now(sources), command=work.trainable)
            return page.render(report, thumbnails=shown.cards, small=shown.small, inputs=shown.inputs, desk=desk)

        acts = {"marks": work.mark, "save": work.save}
        album = Album(manifest, bundle.preprocess, samples.pixels)
        try:
            server = desks.Desk(render, acts, pictures=album.picture, port=port, largest_body=largest_body(work.base))
        except (OSError, OverflowError) as error:
            raise DataError(f"port {port} cannot be had: {error}", hint="choose another --port, or none") from error
        with contextlib.closing(album), server:
            observe(Note(f"open {server.url} in a browser on this machine; Ctrl-C ends it"))
            try:
                server.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                pass
            finally:
                work.save({})
    if work.written:
        observe(Note(f"to train on it: {work.command}"))
    return Edited(work.written)


def largest_body(manifest: Manifest) -> int:
    """Bytes of a request that marks every image at once: each is named among the sources, with its label, and in a group."""
    names = sum(len(json.dumps(source)) + 8 for source in manifest.sources)
    label = max((len(json.dumps(name)) for name in manifest.classes), default=0)
    return ONE_ACT + 3 * names + len(manifest) * (label + 8)


class Album:
    """A small picture of any image of a manifest that can be read: from stored pixels, or of one set aside from its file."""

    def __init__(self, manifest: Manifest, preprocess: Preprocess, pixels: Pixels) -> None:
        self._root, self._preprocess, self._pixels = Path(manifest.root), preprocess, pixels
        self._rows = {source: row for row, source in enumerate(manifest.used.sources)}
        excluded = manifest.excluded
        self._aside = {
            source for source, reason in zip(excluded.sources, excluded.column("exclusion"), strict=True) if usable(reason)
        }
        self._images: Source | None = None
        self._lock = threading.Lock()

    def picture(self, source: str) -> bytes | None:
        """A JPEG or PNG file; None for what is no image of the manifest or cannot be read any more. From any thread."""
        if source in self._rows:
            return small_picture(self._pixels.read(np.array([self._rows[source]], dtype=np.int64))[0])
        if source not in self._aside:
            return None
        with self._lock:
            try:
                self._images = self._images or open_source(self._root)
                return small_picture(stored_pixels(self._images.read(source), self._preprocess))
            except (DataError, UnreadableImage):
                return None

    def close(self) -> None:
        """Let go of the images' source."""
        if self._images is not None:
            self._images.close()

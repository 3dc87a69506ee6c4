"""Evidence: what findings are made of: the scan's glance at each image, the network's features, a model's predictions.

Here the rooms meet: what `data` measured and what an engine computed become the arrays that `health` asks.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sortal.data.facts import Facts
from sortal.data.looks import NUMBERS
from sortal.data.looks import Looks as ImageLooks
from sortal.data.made import FACTS, Value
from sortal.data.store import Cache
from sortal.events import Observer, Progress, ignore
from sortal.health import copies
from sortal.health.check import Seen, images_of, units_of
from sortal.health.head import out_of_fold
from sortal.health.labels import combined
from sortal.health.neighbours import axes_of
from sortal.health.quality import Looks
from sortal.health.twins import Nearest, nearest, twins
from sortal.manifest import Manifest
from sortal.predictions import Predictions

if TYPE_CHECKING:
    from sortal.workflows.seeing import Pictures

LABELS, TWINS = "label errors", "near copies that are mirrored or cut"
HEAD_AXES = 512
"""Main axes of the features that a head learns from."""
SAMPLED = 20_000
"""Images that the main axes are taken from."""


@dataclass
class Steps:
    """Tells how far the questions are: neighbours, copies, heads, findings."""

    observe: Observer
    done: int = 0
    total: int = 4

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        self.observe(Progress("findings", self.done, self.total, "steps"))
        yield
        self.done += 1
        self.observe(Progress("findings", self.done, self.total, "steps"))


def glanced(used: Manifest, observe: Observer = ignore) -> Seen:
    """What the scan measured of the images in use; nothing where an image was never measured."""
    with Facts(Cache.default().facts, observe) as facts:
        rows = facts.looks(used.column("content"))
    pixels = tuple(None if row is None else row.pixels for row in rows)
    complete = [row for row in rows if row is not None]
    if len(complete) < len(rows) or not rows:
        return Seen(pixels=pixels)
    return Seen(pixels=pixels, looks=_looks(used, complete), cues=_cues(used, complete), said=_said(used, complete))


def _looks(used: Manifest, rows: Sequence[ImageLooks]) -> Looks:
    columns = _columns(rows)
    return Looks(
        np.array(used.column("width"), np.float64), np.array(used.column("height"), np.float64),
        *(columns[name][:, 0] for name in ("darkest", "lightest", "contrast", "detail", "commonest", "colours")),
    )  # fmt: skip


def _cues(used: Manifest, rows: Sequence[ImageLooks]) -> dict[str, NDArray[np.float32]]:
    """What should not tell the class, by name."""
    columns = _columns(rows)
    bytes_N = np.array([row.bytes for row in rows], np.float64)
    sizes_N2 = np.array([used.column("width"), used.column("height")], np.float64).T
    return {
        "the border": columns["border"],
        "the mean colour": columns["colour"][:, :3],
        "the file's size": np.log(np.column_stack([bytes_N + 1, (bytes_N + 1) / sizes_N2.prod(axis=1)])).astype(np.float32),
        "the size in pixels": np.log(sizes_N2).astype(np.float32),
    }


def _columns(rows: Sequence[ImageLooks]) -> dict[str, NDArray[np.float32]]:
    table = np.stack([row.numbers for row in rows])
    ends = np.cumsum(list(NUMBERS.values()))
    return dict(zip(NUMBERS, np.split(table, ends[:-1], axis=1), strict=True))


def _said(used: Manifest, rows: Sequence[ImageLooks]) -> dict[str, list[Value | None]]:
    """By fact what each file says of itself, and the ending of its name."""
    endings: list[Value | None] = [PurePosixPath(source).suffix.lower() for source in used.sources]
    return {**{name: [row.made.get(name) for row in rows] for name in FACTS}, "ending": endings}


def with_features(manifest: Manifest, seen: Seen, pictures: "Pictures", left_out: Mapping[str, str], told: Steps) -> Seen:
    """With near copies, features, and probabilities of each class by heads that did not see the image."""
    used = manifest.used
    rows = np.sort(np.random.default_rng(0).permutation(len(pictures))[:SAMPLED])
    with told.step():
        axes = axes_of((plain for plain, _ in pictures.features(rows)), HEAD_AXES)
        main, white, mirrored = [], [], []
        for plain_ND, mirrored_ND in pictures.features():
            # The mean of both views is steadier than one.
            main.append(axes.main((plain_ND.astype(np.float32) + mirrored_ND) / 2, HEAD_AXES))
            white.append(axes.white(plain_ND))
            mirrored.append(axes.white(mirrored_ND))
        features_ND = np.concatenate(main)
        found = nearest(np.concatenate(white), np.concatenate(mirrored)) if TWINS not in left_out else None
    with told.step():
        twins_N = None if found is None else twins(found, pictures.thumbs(), np.array(used.column("phash"), np.uint64))
    seen = replace(seen, twins_N=twins_N, features_ND=features_ND)
    with told.step():
        if LABELS in left_out:
            return seen
        images = images_of(used, seen.pixels)
        units_N = units_of(used, images, copies.find(images, twins_N))
        if len(np.unique(units_N)) < 2:
            return seen
        probs_NK = out_of_fold(features_ND, used.labels_N, len(used.classes), units_N)
        judged_NK = combined(probs_NK, used.labels_N, _others(found, units_N))
    return replace(seen, judged_NK=judged_NK, judged_by="heads on features and the nearest images")


def _others(found: Nearest | None, units_N: NDArray[np.int64]) -> NDArray[np.int64]:
    """The neighbours of each image that are no copies of it, shape (N, C); -1 for the others."""
    if found is None:
        return np.empty((len(units_N), 0), np.int64)
    same_NC = units_N[found.rows_NC] == units_N[:, None]
    return np.where(same_NC, -1, found.rows_NC)


def with_predictions(manifest: Manifest, seen: Seen, judge: Predictions) -> Seen:
    """With what a run's model says of the images that it did not see, in place of what heads say of them."""
    used = manifest.used
    row_of = {source: row for row, source in enumerate(judge.sources)}
    rows = np.array([row_of.get(source, -1) for source in used.sources], np.int64)
    own_NK = np.full((len(rows), len(used.classes)), np.nan) if seen.judged_NK is None else seen.judged_NK.copy()
    by_model = np.flatnonzero(rows >= 0)
    columns = [judge.classes.index(name) for name in used.classes]
    own_NK[by_model] = judge.probs_NK[rows[by_model]][:, columns]
    by = "the run's model" + (f", and {seen.judged_by} for images that it was trained on" if seen.judged_by else "")
    return replace(seen, judged_NK=own_NK, judged_by=by)

"""Check: what is in a data set, and what is wrong with it, before anything is trained or of a run afterwards."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import sortal
from sortal.data.facts import Facts
from sortal.data.marks import BY_CHECK
from sortal.data.measured import remembered
from sortal.data.scan import Keep, Scanned
from sortal.data.scan import scan as scan_images
from sortal.data.store import Cache
from sortal.errors import BundleError, DataError, MachineFailed, MissingExtra, SortalError, WeightsError
from sortal.events import Observer, ignore
from sortal.files import write_text
from sortal.health import copies
from sortal.health.check import Seen, findings, images_of
from sortal.health.copies import Found
from sortal.health.cure import Cured, cured
from sortal.health.finding import Finding, some
from sortal.health.quality import blanks, placeholders
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.preprocess import MAX_PIXELS
from sortal.run import Run
from sortal.shell import typed
from sortal.workflows.evidence import LABELS, TWINS, Steps, glanced, with_features, with_predictions
from sortal.workflows.precautions import GROUPS, groups_of

if TYPE_CHECKING:  # ONNX Runtime is loaded when there is something to look at
    from sortal.workflows.seeing import Pictures, Sight

VERSION = 5
"""Of what is asked and how: what another version found is not believed."""
ALIKE = "classes that are alike"
NEEDED = {"cleanlab": (LABELS, ALIKE), "usearch": (TWINS,)}
"""Libraries without which something is left out."""


@dataclass(frozen=True, slots=True)
class Health:
    """A manifest and the findings about it."""

    manifest: Manifest
    findings: list[Finding]
    left_out: dict[str, str] = field(default_factory=dict)
    """What could not be asked, and why."""
    fixed: Cured | None = None
    fixed_path: Path | None = None

    @property
    def severe(self) -> bool:
        return any(finding.severity == "severe" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        told = {
            "images": len(self.manifest.used),
            "classes": self.manifest.counts(),
            "splits": self.manifest.split_counts(),
            "findings": [finding.to_json() for finding in self.findings],
            "left_out": [{"what": what, "reason": reason} for what, reason in self.left_out.items()],
        }
        if self.fixed is not None:
            told["fixed"] = {
                "manifest": str(self.fixed_path),
                "grouped": len(self.fixed.grouped),
                "moved": [{"source": source, "from": one, "to": other} for source, (one, other) in self.fixed.moved.items()],
                "quarantined": [{"source": source, "reason": reason} for source, reason in self.fixed.quarantined.items()],
            }
        return told


def scan(data: str | Path, *, max_pixels: int = MAX_PIXELS, observe: Observer = ignore) -> Manifest:
    """The manifest of a folder, archive, CSV or Parquet file; raises `DataError`."""
    return scan_counting(data, max_pixels=max_pixels, observe=observe).manifest


def scan_counting(
    data: str | Path,
    *,
    max_pixels: int = MAX_PIXELS,
    keep: Keep = lambda glimpse: None,
    observe: Observer = ignore,
) -> Scanned:
    """As `scan`, and how many images had to be decoded because the cache did not know them; their pixels may be kept."""
    with Facts(Cache.default().facts, observe) as facts:
        return scan_images(data, max_pixels=max_pixels, facts=facts, keep=keep, observe=observe)


def check(
    data: str | Path, *, max_pixels: int = MAX_PIXELS, fix: str | Path | None = None, observe: Observer = ignore
) -> Health:
    """Scan and look for what is wrong; of a run, with its own splits and what its model says of images it did not see.

    What is found of a run stays with it: `sortal report RUN` shows it.

    Args:
        data: a data set, or the folder of a finished run.
        fix: where to write a new manifest with copies grouped and rows quarantined; nothing may be there yet.

    Raises:
        DataError: the images cannot be used, or `fix` is no place to write to; nothing was written.
    """
    target = None if fix is None else _free_place(Path(fix))
    run = Run(Path(data)) if (Path(data) / "run.json").is_file() else None
    manifest = scan(data if run is None else _manifest_of(run), max_pixels=max_pixels, observe=observe)
    judge = None if run is None else Predictions.load(run.predictions)
    cache = Cache.default()
    through, left_out = _sight(manifest, cache, observe)
    left_out = _asked_of(manifest, left_out, judge)
    with ExitStack() as opened:
        pictures = None
        if through is not None:
            from sortal.workflows.seeing import Pictures

            pictures = opened.enter_context(Pictures(manifest.used, through, cache))
            try:
                pictures.fill(observe)
            except MachineFailed as error:
                pictures, left_out = None, _asked_of(manifest, _all_left_out(error), judge)
        answer = _remembered(manifest, judge, pictures, left_out, through, cache, observe)
    found = [_finding(values) for values in answer["findings"]]
    with Facts(cache.facts, observe) as facts:
        # Also of whom there is no copy: what an earlier check took for one is taken back.
        none = dict.fromkeys(manifest.used.column("content"), "")
        facts.remember_assigned(manifest.root, GROUPS, none | answer["groups"])
    if run is not None:
        write_text(run.findings, json.dumps(answer["findings"], ensure_ascii=False))
    if target is None:
        return Health(manifest, found, left_out)
    fixed = cured(manifest, answer["groups"], answer["quarantine"])
    fixed.manifest.save(target)
    return Health(manifest, found, left_out, fixed, target)


def _sight(manifest: Manifest, cache: Cache, observe: Observer) -> "tuple[Sight | None, dict[str, str]]":
    """The network to look with, or None; and what is left out without it, or without a library, with the reason."""
    missing = {name: MissingExtra(name, "check") for name in NEEDED if find_spec(name) is None}
    left_out = {what: _told(error) for name, error in missing.items() for what in NEEDED[name]}
    from sortal.workflows.seeing import sight

    try:
        return sight(len(manifest.used), cache, observe), left_out
    except (MissingExtra, WeightsError) as error:
        return None, _all_left_out(error)


def _asked_of(manifest: Manifest, left_out: Mapping[str, str], judge: Predictions | None) -> dict[str, str]:
    """What is left out of these images, less what a run's model makes up for, and with what several labels do not allow."""
    if manifest.task == "multi_label":
        return {**left_out, **dict.fromkeys((LABELS, ALIKE, "shortcuts"), "images have several labels, or none")}
    if judge is not None and find_spec("cleanlab") is not None:
        left_out = {what: reason for what, reason in left_out.items() if what not in (LABELS, ALIKE)}
    lone = [name for name, count in manifest.used.counts().items() if count == 1]
    if lone and LABELS not in left_out:
        return {**left_out, f"{LABELS} in {some(lone)}": "a class of one image has nothing to compare it with"}
    return dict(left_out)


def _all_left_out(error: SortalError) -> dict[str, str]:
    return dict.fromkeys([LABELS, TWINS, ALIKE, "drift of what the images show"], _told(error))


def _told(error: SortalError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _remembered(
    manifest: Manifest,
    judge: Predictions | None,
    pictures: "Pictures | None",
    left_out: Mapping[str, str],
    through: "Sight | None",
    cache: Cache,
    observe: Observer,
) -> dict[str, Any]:
    """The findings, the groups of copies and what is to be set aside; from the cache where nothing has changed."""
    digest = hashlib.sha256()
    for name in ("source", "content", "labels", "split", "group", "exclusion", "width", "height"):
        digest.update(repr(manifest.column(name)).encode())
    if judge is not None:
        digest.update(judge.probs_NK.tobytes() + repr(judge.splits_N).encode())
    question = {
        "check": VERSION, "sortal": sortal.__version__, "numpy": np.__version__, "images": digest.hexdigest(),
        "classes": list(manifest.classes), "left_out": dict(left_out), "sight": None if through is None else through.key,
    }  # fmt: skip
    return remembered(cache, question, lambda: _asked(manifest, judge, pictures, left_out, observe))


def _asked(
    manifest: Manifest, judge: Predictions | None, pictures: "Pictures | None", left_out: Mapping[str, str], observe: Observer
) -> dict[str, Any]:
    told = Steps(observe)
    seen = glanced(manifest.used, observe)
    if pictures is not None and len(pictures):
        seen = with_features(manifest, seen, pictures, left_out, told)
    if judge is not None and LABELS not in left_out:
        seen = with_predictions(manifest, seen, judge)
    with told.step():
        found = copies.find(images_of(manifest.used, seen.pixels), seen.twins_N)
        answer = findings(manifest, seen, found)
    return {
        "findings": [finding.to_json() for finding in answer],
        "groups": groups_of(manifest, found, seen),
        "quarantine": _quarantine(manifest, seen, found),
    }


def _quarantine(manifest: Manifest, seen: Seen, found: Found) -> dict[str, str]:
    """Source to reason of what no training should see: placeholders, blank images, and copies whose labels contradict.

    Not what may have a wrong label: who sets aside what a model finds hard makes its test easier, not better.
    """
    used = manifest.used
    sources, labels = used.sources, [tuple(sorted(each)) for each in used.column("labels")]
    reasons: dict[str, str] = {}
    for rows in found.all:
        if len({labels[row] for row in rows}) > 1:
            names = " and ".join(sorted({", ".join(labels[row]) or "no label" for row in rows}))
            reasons |= {sources[row]: f"the same picture is labelled {names}" for row in rows.tolist()}
    if seen.looks is not None:
        placeholder_N = placeholders(seen.looks, copies.together(images_of(used, seen.pixels), found))
        reasons |= {sources[row]: "looks like a placeholder" for row in np.flatnonzero(placeholder_N).tolist()}
        reasons |= {sources[row]: "is blank" for row in np.flatnonzero(blanks(seen.looks)).tolist()}
    return {source: f"{BY_CHECK}: {reason}" for source, reason in sorted(reasons.items())}


def _finding(values: Mapping[str, Any]) -> Finding:
    """What `Finding.to_json` gave."""
    plain = {**values, "images": tuple(values["images"]), "proposed": tuple(values.get("proposed", ()))}
    return Finding(**{**plain, "groups": tuple(tuple(group) for group in values.get("groups", ()))})


def _free_place(path: Path) -> Path:
    if path.suffix.lower() != ".parquet":
        raise DataError(f"{path} is no name for a manifest", hint=f"end it with .parquet: {path.with_suffix('.parquet')}")
    if path.exists():
        raise DataError(f"{path} is there already, and nothing is overwritten", hint="choose another name")
    if not path.absolute().parent.is_dir():
        raise DataError(f"the folder {path.absolute().parent} does not exist", hint="make it first, or choose another place")
    return path


def _manifest_of(run: Run) -> Path:
    """The images of a finished run, with the splits that it used."""
    if not run.finished:
        raise BundleError(
            f"{run.path} is a run that is not finished", hint=typed("sortal", "train", "--resume", "--out", run.path)
        )
    return run.manifest

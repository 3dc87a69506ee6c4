"""Study: from a study file to trained rows, a choice on validation images, one look at the test images, and a page.

The test images are kept apart: no run holds them. They are first read when every run is finished and the choice stands in
`choice.json`; a study that is killed at any moment before that has shown nothing of them, and one that has shown them takes
no more rows.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sortal import engines, files
from sortal import recipe as recipes
from sortal.bundle import Bundle
from sortal.data.pixels import StoredPixels
from sortal.data.samples import Samples
from sortal.data.store import Cache
from sortal.errors import DataError
from sortal.evaluation.paired import METHOD, METHOD_OF_ONE_SEED
from sortal.events import Begun, Observer, ignore
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.recipe import Recipe
from sortal.run import held, require_empty
from sortal.studies import Row
from sortal.studies import table as tables
from sortal.studies.errors import errors_of
from sortal.studies.images import drawn, only
from sortal.studies.model import CHOSEN
from sortal.studies.runs import Tried, left_by, run_all
from sortal.studies.table import Outcome
from sortal.workflows.beginning import fresh_folder
from sortal.workflows.judging import predicted
from sortal.workflows.reporting import picture
from sortal.workflows.settling import ABOUT, FORMAT, Asked, Place, images_of, read_asked, require_same, settled, to_json
from sortal.workflows.training import train

MIXED_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Studied:
    """A finished study: its page, and the table as plain data."""

    page: Path
    rows: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {"page": str(self.page), "rows": self.rows}


def study(
    file: str | Path | None = None,
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    observe: Observer = ignore,
) -> Studied:
    """Train every row of a study for every seed, choose on validation images, show the test images once, write the page.

    Args:
        file: the study file. Not needed to resume.
        data: the images, where they are not those that the file names.
        out: the study's folder; must be new or empty. None makes one under runs/.
        resume: go on with the study in `out`; finished runs are found, the others continued. The table is the same as if
            nothing had interrupted it.
        observe: told of all that happens.

    Raises:
        RecipeError: all problems of the file and of every row's recipe, before anything is trained.
        DataError, UnknownName: nothing was done.
        RunExists: `out` holds something else; nothing was touched.
        MachineFailed: what was finished is kept; `resume` goes on.
    """
    if resume:
        if out is None:
            raise DataError("--resume needs to know the study's folder", hint="sortal study --resume --out OUT")
        place = Place(Path(out))
        if place.about.exists():
            asked = read_asked(place)
            require_same(asked, file, data, place)
            with held(place.path, "studying in"):
                return _studied(place, asked, None, observe)
    if file is None:
        raise DataError("which study?", hint="sortal study FILE; docs/studies shows what a study file holds")
    if out is not None:
        require_empty(Path(out), ABOUT, "study")
    asked, manifest = settled(Path(file), data, observe)
    place = Place(fresh_folder(Path(file)) if out is None else Path(out))
    with held(place.path, "studying in"):
        require_empty(place.path, ABOUT, "study")  # somebody may have begun one since
        files.write_text(place.about, json.dumps(to_json(asked), indent=1, ensure_ascii=False) + "\n")
        return _studied(place, asked, manifest, observe)


def _studied(place: Place, asked: Asked, manifest: Manifest | None, observe: Observer) -> Studied:
    observe(Begun(str(place.path)))
    for reason in asked.reasons:
        observe(reason)
    _divide(place, asked, manifest, observe)

    def train_one(recipe: Recipe, path: Path, tell: Observer) -> None:
        train(place.images, recipe=recipe, out=path, resume=True, observe=tell)

    tried = run_all(asked.rows, asked.study.seeds, place.runs, train=train_one, observe=observe)
    outcomes = [_outcome(row, tried) for row in asked.rows]
    chosen = tables.choose(outcomes, asked.study.choose)
    files.write_text(place.choice, json.dumps({"chosen": chosen, "by": asked.study.choose}, indent=1) + "\n")
    outcomes = [_shown_test(outcome, tried, place, observe) for outcome in outcomes]
    numbers = _numbers(place, asked, outcomes, chosen)
    files.write_text(place.numbers, json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    _write_page(place, asked, numbers, tried, observe)
    return Studied(place.page, numbers["rows"])


def _divide(place: Place, asked: Asked, manifest: Manifest | None, observe: Observer) -> None:
    """Write which images train and which judge, once: a study's images do not change while it runs."""
    if place.images.exists() and place.test_images.exists():
        return
    manifest = manifest or images_of(asked.study, asked.data, observe)
    only(manifest, "test").save(place.test_images)
    only(manifest, "train", "val").save(place.images)


def _outcome(row: Row, tried: Sequence[Tried]) -> Outcome:
    own = [each for each in tried if each.row == row.name]
    left = {each.seed: left_by(each.run) for each in own if not each.failure}
    return Outcome(
        name=row.name,
        changes=row.changes,
        validation={seed: each.validation for seed, each in left.items()},
        curves={seed: each.curve for seed, each in left.items()},
        seconds={seed: each.seconds for seed, each in left.items()},
        failures={each.seed: each.failure for each in own if each.failure},
    )


def _shown_test(outcome: Outcome, tried: Sequence[Tried], place: Place, observe: Observer) -> Outcome:
    """With what the row's models say of the test images; what was once written is kept."""
    found = {}
    manifest = Manifest.load(place.test_images)
    for each in tried:
        if each.row != outcome.name or each.failure:
            continue
        path = place.test(each)
        if not path.exists():
            predicted(Bundle.load(each.run.bundle), manifest, observe=observe).save(path)
        found[each.seed] = Predictions.load(path)
    return replace(outcome, test=found)


def _numbers(place: Place, asked: Asked, outcomes: Sequence[Outcome], chosen: str | None) -> dict[str, Any]:
    """All that the page says, as plain data: `study.json`."""
    found, images, test = asked.study, Manifest.load(place.images), Manifest.load(place.test_images)
    scores = sorted({name for row in outcomes for rows in row.curves.values() for name in rows[0]["scores"]})
    asked_errors = chosen if found.show.errors == CHOSEN else found.show.errors
    shown = next((row for row in outcomes if row.name == asked_errors and row.test), None)
    return {
        "format": FORMAT,
        "name": asked.name,
        "title": found.title or asked.name,
        "about": found.about,
        "note": found.note,
        "created": asked.created,
        "command": shlex.join(["sortal", "study", f"{asked.name}.toml", *([] if found.data else [Path(asked.data).name])]),
        "data": {
            "name": Path(asked.data).name,
            "classes": images.counts(),
            "splits": images.split_counts() | test.split_counts(),
        },
        "seeds": list(found.seeds),
        "choose": found.choose,
        "chosen": chosen,
        "cumulative": found.cumulative,
        "method": METHOD if len(found.seeds) > 1 else METHOD_OF_ONE_SEED,
        "rows": tables.table(outcomes, chosen, found.choose),
        "curves": {
            row.name: {key: tables.mean_curve(row.curves, key) for key in ("loss", *scores)} for row in outcomes if row.curves
        },
        "errors": None if shown is None else {"row": shown.name} | errors_of(shown.test),
        "mixed": found.show.mixed or None,
        "recipe": asked.rows[0].recipe.model_dump(mode="json"),
        "reasons": [asdict(reason) for reason in asked.reasons],
    }


def _write_page(place: Place, asked: Asked, numbers: dict[str, Any], tried: Sequence[Tried], observe: Observer) -> None:
    from sortal.reporting.study import render

    finished = [each for each in tried if not each.failure]
    thumbnails: dict[str, bytes] = {}
    if numbers["errors"]:
        of_errors = next(each for each in finished if each.row == numbers["errors"]["row"])
        wanted = [mistake["source"] for hard in numbers["errors"]["hardest"] for mistake in hard["mistakes"]]
        thumbnails = _test_pictures(place, of_errors, wanted, observe)
    of_mixed = next((each for each in finished if each.row == asked.study.show.mixed), None)
    mixed = [] if of_mixed is None else _mixed_pictures(place, of_mixed, observe)
    files.write_text(place.page, render(numbers, thumbnails=thumbnails, mixed=mixed))


def _test_pictures(place: Place, tried: Tried, sources: Sequence[str], observe: Observer) -> dict[str, bytes]:
    used = Manifest.load(place.test_images).used
    row_of = {source: row for row, source in enumerate(used.sources)}
    rows = np.array([row_of[source] for source in sources], dtype=np.int64)
    with StoredPixels(used, Bundle.load(tried.run.bundle).preprocess, Cache.default()) as pixels:
        pixels.fill(observe)
        return {source: picture(each) for source, each in zip(sources, pixels.read(rows), strict=True)}


def _mixed_pictures(place: Place, tried: Tried, observe: Observer) -> list[tuple[str, bytes]]:
    """Training images as the network saw them, of several classes, each with what the network was told it is."""
    used = Manifest.load(place.images).used
    bundle, recipe = Bundle.load(tried.run.bundle), recipes.read(tried.run.recipe)
    training = np.flatnonzero(np.array(used.column("split")) == "train")
    count = min(MIXED_SHOWN, len(training))
    chosen = training[drawn(used.labels_N[training], used.keys_N[training], count, recipe.seed)]
    with StoredPixels(used, bundle.preprocess, Cache.default(recipe.store.limit)) as pixels:
        pixels.fill(observe)
        samples = Samples(used.classes, used.labels_N, used.keys_N, {"train": training}, pixels)
        engine = engines.load(recipe.engine)
        views = engine.training_views(recipe, bundle.preprocess, samples, chosen)
        targets_NK = engine.training_targets(recipe, bundle.preprocess, samples, chosen)
    return [(_shares(shares_K, used.classes), picture(view)) for shares_K, view in zip(targets_NK, views, strict=True)]


def _shares(shares_K: NDArray[np.float32], classes: Sequence[str]) -> str:
    """What an image is told to be: 'cat', or '83% cat, 17% dog', the largest share first."""
    told = [(f"{100 * shares_K[index]:.0f}%", classes[index]) for index in np.argsort(-shares_K, kind="stable")]
    there = [(share, name) for share, name in told if share != "0%"]
    return there[0][1] if len(there) == 1 else ", ".join(f"{share} {name}" for share, name in there)

"""Study: from a study file to trained rows, a choice on validation images, one look at the test images, and a page.

The test images are kept apart: no run holds them. They are first read when every run is finished and the choice stands in
`choice.json`; a study that is killed at any moment before that has shown nothing of them, and one that has shown them takes
no more rows.
"""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import sortal
from sortal import engines, files
from sortal import recipe as recipes
from sortal.bundle import Bundle
from sortal.data.pixels import StoredPixels
from sortal.data.samples import Samples
from sortal.data.store import Cache
from sortal.errors import BundleError, DataError, NotSupported, RecipeError, RunExists, SortalError
from sortal.evaluate.paired import METHOD, METHOD_OF_ONE_SEED
from sortal.events import Begun, Decision, Observer, ignore
from sortal.manifest import Manifest
from sortal.predictions import Predictions
from sortal.preprocess import MAX_PIXELS
from sortal.recipe import Recipe, presets
from sortal.run import held, require_empty
from sortal.study import Row, Study, read, rows_of
from sortal.study import table as tables
from sortal.study.errors import errors_of
from sortal.study.images import divided, drawn, only
from sortal.study.model import CHOSEN, PLANNED, parse
from sortal.study.runs import Tried, left_by, run_all
from sortal.study.table import Outcome
from sortal.workflows.checking import scan
from sortal.workflows.judging import predicted
from sortal.workflows.reporting import picture
from sortal.workflows.training import fresh_folder, planned, rehearse, train

FORMAT = 1
ABOUT = "asked.json"
MIXED_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Place:
    """The addresses inside a study's folder."""

    path: Path

    @property
    def about(self) -> Path:
        """What was asked for, with every row's whole recipe; written before anything else."""
        return self.path / ABOUT

    @property
    def images(self) -> Path:
        """Training and validation images: what every run is trained on."""
        return self.path / "images.parquet"

    @property
    def test_images(self) -> Path:
        return self.path / "test_images.parquet"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def choice(self) -> Path:
        """Which row validation chose; written before a test image is looked at."""
        return self.path / "choice.json"

    @property
    def numbers(self) -> Path:
        return self.path / "study.json"

    @property
    def page(self) -> Path:
        return self.path / "study.html"

    def test(self, tried: Tried) -> Path:
        """What one run's model says of the test images."""
        return self.path / "test" / f"{tried.run.path.name}.parquet"


@dataclass(frozen=True, slots=True)
class Studied:
    """A finished study: its page, and the table as plain data."""

    page: Path
    rows: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        return {"page": str(self.page), "rows": self.rows}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a study is to do, settled."""

    study: Study
    name: str
    data: str
    rows: list[Row]
    reasons: list[Decision]
    created: str


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
            asked = _read(place)
            _require_same(asked, file, data, place)
            with held(place.path, "studying in"):
                return _studied(place, asked, None, observe)
    if file is None:
        raise DataError("which study?", hint="sortal study FILE; docs/studies shows what a study file holds")
    if out is not None:
        require_empty(Path(out), ABOUT, "study")
    asked, manifest = _settled(Path(file), data, observe)
    place = Place(fresh_folder(Path(file)) if out is None else Path(out))
    with held(place.path, "studying in"):
        require_empty(place.path, ABOUT, "study")  # somebody may have begun one since
        files.write_text(place.about, json.dumps(_to_json(asked), indent=1, ensure_ascii=False) + "\n")
        return _studied(place, asked, manifest, observe)


def _settled(file: Path, data: str | Path | None, observe: Observer) -> tuple[_Asked, Manifest]:
    """Read the file, divide the images and settle every row's recipe; what can be refused without training is refused here."""
    found = read(file)
    folder = file.resolve().parent
    address = _address(found, file, data)
    reasons: list[Decision] = []
    if found.recipe == PLANNED:
        manifest = _images(found, address, observe)
        start, reasons = planned(only(manifest, "train", "val"))
        # Folds are the plan's way to judge few images; here the validation images do.
        reasons = [reason for reason in reasons if not reason.key.startswith("split")]
        rows = rows_of(found, start, place=str(file))
    else:
        # A mistake in the file is told before the images are read.
        rows = rows_of(found, _named_recipe(found.recipe, file), place=str(file))
        manifest = _images(found, address, observe)
    rows = [_with_absolute_weights(row, folder) for row in rows]
    _require_trainable(rows, only(manifest, "train", "val"), str(file))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return _Asked(found, file.stem, address, rows, reasons, created), manifest


def _named_recipe(name: str, file: Path) -> Recipe:
    """A preset, or a recipe file relative to the study file."""
    if not name.endswith(".toml"):
        return presets.named(name)
    path = file.resolve().parent / name
    if not path.is_file():
        raise DataError(f"there is no recipe file {path}", hint=f"`recipe` in {file} is relative to that file")
    return recipes.read(path)


def _address(found: Study, file: Path, data: str | Path | None) -> str:
    if data is None and not found.data:
        raise DataError(f"{file} names no data", hint=f"sortal study {file} DATA, or set `data` in it")
    path = Path(data) if data is not None else file.resolve().parent / Path(found.data).expanduser()
    if not path.exists():
        hint = "name a folder, a zip or tar of one, a CSV or a Parquet file"
        if data is None:
            hint = f"`data` in {file} is relative to that file; or name the images: sortal study {file} DATA"
        raise DataError(f"{path} does not exist", hint=hint)
    return str(path.resolve())


def _images(found: Study, address: str, observe: Observer) -> Manifest:
    most = found.base.get("max_pixels")
    max_pixels = most if isinstance(most, int) and most > 0 else MAX_PIXELS  # what is wrong with it, the recipe will say
    manifest = scan(address, max_pixels=max_pixels, observe=observe)
    if several := sum(len(labels) != 1 for labels in manifest.used.column("labels")):
        raise NotSupported(
            f"{several:,} images of {address} have several labels or none, and a study compares accuracy",
            hint="leave one label for each image",
        )
    return divided(manifest, found.images)


def _with_absolute_weights(row: Row, folder: Path) -> Row:
    """The row with its weights' file named so that a resume from anywhere finds it; relative is to the study file."""
    file = row.recipe.weights_file
    if file is None:
        return row
    values = row.recipe.model_dump(mode="json") | {"weights": str(folder / file.expanduser())}
    return replace(row, recipe=recipes.parse(values))


def _require_trainable(rows: Sequence[Row], manifest: Manifest, place: str) -> None:
    problems = []
    for row in rows:
        try:
            rehearse(row.recipe, manifest)
        except SortalError as error:
            problems.append(f"rows.{row.name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    if problems:
        raise RecipeError(problems, place=place, hint="nothing was trained")


def _to_json(asked: _Asked) -> dict[str, Any]:
    rows = [
        {"name": row.name, "folder": row.folder, "changes": dict(row.changes), "recipe": row.recipe.model_dump(mode="json")}
        for row in asked.rows
    ]
    return {
        "format": FORMAT,
        "name": asked.name,
        "study": asked.study.model_dump(mode="json"),
        "data": asked.data,
        "rows": rows,
        "reasons": [asdict(reason) for reason in asked.reasons],
        "sortal": sortal.__version__,
        "created": asked.created,
    }


def _read(place: Place) -> _Asked:
    try:
        values = json.loads(place.about.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise BundleError(f"{place.about} has format {values['format']}", hint="use the version of sortal that wrote it")
        rows = [Row(each["name"], each["folder"], each["changes"], recipes.parse(each["recipe"])) for each in values["rows"]]
        reasons = [Decision(**reason) for reason in values["reasons"]]
        return _Asked(parse(values["study"]), values["name"], values["data"], rows, reasons, values["created"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, SortalError):
            raise
        raise BundleError(f"{place.about} is damaged: {error!r}", hint="begin the study anew, in another folder") from error


def _require_same(asked: _Asked, file: str | Path | None, data: str | Path | None, place: Place) -> None:
    """Raise `RunExists` where another study is asked for: what was chosen, and the test images once seen, bind this one."""
    if file is not None and read(Path(file)) != asked.study:
        raise RunExists(
            f"{place.path} was begun with another study than {file} is now",
            hint="choose another --out (stores are shared, what does not change is not computed again), or leave FILE out",
        )
    if data is not None and str(Path(data).resolve()) != asked.data:
        raise RunExists(
            f"{place.path} is a study of {asked.data}, not of {data}", hint="leave DATA out, or choose another --out"
        )


def _studied(place: Place, asked: _Asked, manifest: Manifest | None, observe: Observer) -> Studied:
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


def _divide(place: Place, asked: _Asked, manifest: Manifest | None, observe: Observer) -> None:
    """Write which images train and which judge, once: a study's images do not change while it runs."""
    if place.images.exists() and place.test_images.exists():
        return
    manifest = manifest or _images(asked.study, asked.data, observe)
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


def _numbers(place: Place, asked: _Asked, outcomes: Sequence[Outcome], chosen: str | None) -> dict[str, Any]:
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


def _write_page(place: Place, asked: _Asked, numbers: dict[str, Any], tried: Sequence[Tried], observe: Observer) -> None:
    from sortal.report.study import render

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

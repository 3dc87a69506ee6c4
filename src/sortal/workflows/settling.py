"""Settling: from a study file to whole recipes and divided images, written down before anything is trained."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sortal
from sortal import recipe as recipes
from sortal.errors import BundleError, DataError, NotSupported, RecipeError, RunExists, SortalError
from sortal.events import Decision, Observer
from sortal.manifest import Manifest
from sortal.preprocess import MAX_PIXELS
from sortal.recipe import Recipe, presets
from sortal.studies import Row, Study, read, rows_of
from sortal.studies.images import divided, only
from sortal.studies.model import PLANNED, parse
from sortal.studies.runs import Tried
from sortal.workflows.checking import scan
from sortal.workflows.deciding import planned, rehearse
from sortal.workflows.precautions import taken

FORMAT = 1
ABOUT = "asked.json"


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
class Asked:
    """What a study is to do, settled."""

    study: Study
    name: str
    data: str
    rows: list[Row]
    reasons: list[Decision]
    created: str


def settled(file: Path, data: str | Path | None, observe: Observer) -> tuple[Asked, Manifest]:
    """Read the file, divide the images and settle every row's recipe; what can be refused without training is refused here."""
    found = read(file)
    folder = file.resolve().parent
    address = _address(found, file, data)
    reasons: list[Decision] = []
    if found.recipe == PLANNED:
        manifest = images_of(found, address, observe)
        # Rows change how a network learns, so they start from one that is trained, not from a head that is solved for.
        start, reasons = planned(only(manifest, "train", "val"), settled={"optimizer.name": "adamw"})
        # Folds are the plan's way to judge few images; here the validation images do.
        reasons = [reason for reason in reasons if not reason.key.startswith("split")]
        rows = rows_of(found, start, place=str(file))
    else:
        # A mistake in the file is told before the images are read.
        rows = rows_of(found, _named_recipe(found.recipe, file), place=str(file))
        manifest = images_of(found, address, observe)
    rows = [_with_absolute_weights(row, folder) for row in rows]
    _require_trainable(rows, only(manifest, "train", "val"), str(file))
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Asked(found, file.stem, address, rows, reasons, created), manifest


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


def images_of(found: Study, address: str, observe: Observer) -> Manifest:
    most = found.base.get("max_pixels")
    max_pixels = most if isinstance(most, int) and most > 0 else MAX_PIXELS  # what is wrong with it, the recipe will say
    manifest = scan(address, max_pixels=max_pixels, observe=observe)
    if several := sum(len(labels) != 1 for labels in manifest.used.column("labels")):
        raise NotSupported(
            f"{several:,} images of {address} have several labels or none, and a study compares accuracy",
            hint="leave one label for each image",
        )
    return divided(taken(manifest, observe).manifest, found.images)


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
        if row.recipe.task == "multi_label":
            problems.append(
                f"rows.{row.name}: task 'multi_label' has no accuracy, which is what a study compares: leave it out"
            )
            continue
        try:
            rehearse(row.recipe, manifest)
        except SortalError as error:
            problems.append(f"rows.{row.name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    if problems:
        raise RecipeError(problems, place=place, hint="nothing was trained")


def to_json(asked: Asked) -> dict[str, Any]:
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


def read_asked(place: Place) -> Asked:
    try:
        values = json.loads(place.about.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise BundleError(f"{place.about} has format {values['format']}", hint="use the version of sortal that wrote it")
        rows = [Row(each["name"], each["folder"], each["changes"], recipes.parse(each["recipe"])) for each in values["rows"]]
        reasons = [Decision(**reason) for reason in values["reasons"]]
        return Asked(parse(values["study"]), values["name"], values["data"], rows, reasons, values["created"])
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, SortalError):
            raise
        raise BundleError(f"{place.about} is damaged: {error!r}", hint="begin the study anew, in another folder") from error


def require_same(asked: Asked, file: str | Path | None, data: str | Path | None, place: Place) -> None:
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

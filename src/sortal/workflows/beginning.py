"""Beginning a run: what is asked for, in which folder, and whether a run that is there is the one that is asked for again."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sortal
from sortal import files
from sortal import recipe as recipes
from sortal.errors import DataError, RunExists, SortalError
from sortal.recipe import Recipe, presets
from sortal.run import Run

MANIFEST = re.compile(r"manifest(-[0-9]+)?\.parquet")


def to_resume(
    data: str | Path | None, *, recipe: str | Path | Recipe | None, settings: Sequence[str], out: str | Path | None
) -> tuple[Run, dict[str, Any]] | None:
    """The run in `out` and what was asked for when it began; None where none has begun and `data` says what to begin.

    Raises `RunExists` where something else is asked for now: a resumed run is the run that was begun.
    """
    if out is None:
        raise DataError("--resume needs to know the run", hint="sortal train --resume --out RUN")
    run = Run(Path(out))
    if not run.about.exists() and data is not None:
        return None
    asked = run.read_about()
    if data is not None and asked["data"] != str(Path(data).resolve()):
        raise RunExists(f"{out} is a run on {asked['data']}, not on {data}", hint="leave DATA out, or choose another --out")
    if not _asks_for_the_same(asked, recipe, settings):
        raise RunExists(
            f"{out} was begun with another recipe or other settings",
            hint="leave --recipe, --set and --seed out to resume it, or choose another --out",
        )
    return run, asked


def _asks_for_the_same(asked: dict[str, Any], recipe: str | Path | Recipe | None, settings: Sequence[str]) -> bool:
    named = _named_recipe(recipe)
    if asked["recipe"] is None:
        return named is None and set(settings) <= set(asked["settings"])
    named = named or recipes.parse(asked["recipe"])
    return recipes.override(named, settings) == recipes.parse(asked["recipe"])


def asked_for(data: str | Path | None, *, recipe: str | Path | Recipe | None, settings: Sequence[str]) -> dict[str, Any]:
    """What a new run is to do, as plain values that are written down before anything else is done."""
    if data is None:
        raise DataError("which images?", hint="sortal train DATA, where DATA is a folder with one folder for each class")
    if not Path(data).exists():
        raise DataError(f"{data} does not exist", hint="name a folder, a zip or tar of one, a CSV or a Parquet file")
    base = _named_recipe(recipe)
    if base is not None:
        base = recipes.override(base, settings)
    else:
        recipes.check_settings(settings)
    return {
        "data": str(Path(data).resolve()),
        "recipe": None if base is None else base.model_dump(mode="json"),
        "settings": [] if base is not None else list(settings),
        "folder": str(Path.cwd()),  # what a relative path in the recipe is relative to
        "sortal": sortal.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def place_for(out: str | Path | None, data: Path) -> tuple[Run, bool]:
    """The run's address, and whether its folder is of our making."""
    if out is None:
        return Run(fresh_folder(data)), True
    return Run(Path(out)), not Path(out).exists()


@contextlib.contextmanager
def begun(run: Run, asked: dict[str, Any], *, ours: bool) -> Iterator[None]:
    """Begin a run and hold it; a mistake that is found before the first step leaves nothing of it behind."""
    with run.begun(asked):
        try:
            yield
        except SortalError as error:
            if error.exit_code == 2 and not run.checkpoint.exists():
                for leftover in (run.events, run.recipe, run.decisions, run.findings, run.manifest, run.held_out, run.about):
                    leftover.unlink(missing_ok=True)
                run.remove_lock()
                if ours:
                    with contextlib.suppress(OSError):
                        run.path.rmdir()
            raise


def _named_recipe(recipe: str | Path | Recipe | None) -> Recipe | None:
    if recipe is None or isinstance(recipe, Recipe):
        return recipe
    if str(recipe).endswith(".toml") or Path(recipe).is_file():
        if not Path(recipe).is_file():
            raise DataError(f"there is no recipe file {recipe}", hint="`sortal recipes` lists the recipes by name")
        return recipes.read(Path(recipe))
    return presets.named(str(recipe))


def fresh_folder(data: Path) -> Path:
    """runs/NAME, or runs/NAME-2 and so on: made here, so that two processes never get the same one."""
    data = data.resolve()
    if MANIFEST.fullmatch(data.name):
        data = data.parent  # a version of a run's manifest says less than the run
    name = data.name.split(".")[0] or "run"
    for number in range(1, 100_000):
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        with files.full_disk_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                return path
    raise DataError("runs/ is full of runs of that name", hint="choose a folder with --out")

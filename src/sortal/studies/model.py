"""The study file: which images, which rows of recipe changes, which seeds, and what the choice goes by. Data, never code."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from sortal.errors import RecipeError
from sortal.recipe.group import Group
from sortal.recipe.text import problems_of

PLANNED = "planned"
CHOSEN = "chosen"
BASE = "base"
"""The name of the row of a study that has no rows."""
Seed = Annotated[int, Field(ge=0, lt=2**63)]


class Images(Group):
    """Which images are used. Fewer than there are are drawn class by class, each by its content and `seed` alone, so that a
    smaller study sees a part of what a larger one sees."""

    train: int = Field(default=0, ge=0)
    """Training images; 0 takes all that are left."""
    val: int = Field(default=0, ge=0)
    """Validation images; 0 takes those that the data gives, or a tenth of the training images where it gives none."""
    test: int = Field(default=0, ge=0)
    """Test images; 0 takes those that the data gives, or 15% of the training images where it gives none."""
    seed: Seed = 0
    """Of the draw."""


class Show(Group):
    """What the page shows besides table and curves."""

    errors: str = ""
    """A row, or 'chosen': the pairs of classes that it confuses most on test images, its two hardest classes, and five
    mistakes in each of them."""
    mixed: str = ""
    """A row: four of its training images as the network saw them, mixed ones for mixup and cutmix, with what it is told."""


class Study(Group):
    """A grid of recipe changes over seeds."""

    title: str = ""
    """Of the page; without one it is the file's name."""
    about: str = ""
    """What is compared and what for, in a sentence or two."""
    note: str = ""
    """What a reader must know before anything else, such as that this study has not been run."""
    data: str = ""
    """A folder, archive, CSV or Parquet file, relative to this file; one on the command line goes before it."""
    recipe: str = PLANNED
    """What all rows start from: a preset's name, a recipe file relative to this file, or 'planned' for what the plan makes of
    these images."""
    base: dict[str, Any] = Field(default_factory=dict)
    """Changes to that recipe which all rows share: keys of a recipe."""
    rows: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """A row's name and what it changes: keys of a recipe. The first row is the one that others are compared with."""
    grid: dict[str, Any] = Field(default_factory=dict)
    """Keys of a recipe, each with a list of values: every combination is a row, within each row of `rows` if there are any."""
    cumulative: bool = False
    """Each row keeps what the rows before it changed."""
    seeds: tuple[Seed, ...] = (0, 1, 2)
    """Each row is trained once for each of these."""
    choose: Literal["accuracy", "macro_f1", "log_loss"] = "accuracy"
    """What the row is chosen by: the mean over seeds of this score on the validation images."""
    images: Images = Images()
    show: Show = Show()

    @model_validator(mode="after")
    def _fits_together(self) -> "Study":
        if not self.seeds:
            raise ValueError("seeds must name at least one")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ, got {list(self.seeds)}")
        if self.cumulative and len(self.rows) < 2:
            raise ValueError("cumulative adds row to row: it needs two or more in `rows`")
        if self.cumulative and self.grid:
            raise ValueError("cumulative adds row to row, a grid multiplies them: take one of the two")
        return self


def read(path: Path) -> Study:
    """A study from its TOML file; raises `RecipeError` with every problem of the file itself."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise RecipeError([f"it cannot be read: {error.strerror}"], place=str(path), hint="name a study file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError([str(error)], place=str(path), hint="a study is TOML: docs/studies shows one") from error
    return parse(values, place=str(path))


def parse(values: Mapping[str, Any], *, place: str = "the study") -> Study:
    """A study from nested values; raises `RecipeError` with every problem."""
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        raise RecipeError(problems_of(error, Study), place=place) from error

"""Rows: from a study's changes to whole recipes, one a row, with a name that a person can read. All mistakes at once."""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sortal.errors import RecipeError
from sortal.recipe import Recipe, parse
from sortal.studies.model import BASE, CHOSEN, Study

MOST_RUNS = 10_000
THE_STUDYS_OWN = {
    "seed": "the study's `seeds` say it",
    "split": "the study divides the images itself, once for all rows: see `images`",
}
"""Keys of a recipe that no row may change, and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a study.

    Attributes:
        name: as a person reads it.
        folder: the same for a file's name.
        changes: dotted key of the recipe to value; those that all rows share, or that come from rows before, left out.
        recipe: the whole of it; its seed is still to be set.
    """

    name: str
    folder: str
    changes: Mapping[str, Any]
    recipe: Recipe

    def seeded(self, seed: int) -> Recipe:
        """The recipe of one run."""
        return parse(self.recipe.model_dump(mode="json") | {"seed": seed})


def rows_of(study: Study, start: Recipe, *, place: str = "the study") -> list[Row]:
    """The study's rows, from the recipe that it starts from; raises `RecipeError` with the problems of all rows."""
    # The splits are the study's, whatever the preset would have carved.
    values = start.model_dump(mode="json") | {"split": {}}
    mistakes = _not_to_be_changed(BASE, _flat(study.base))
    named = list(_named_changes(study))
    for name, changes in named:
        mistakes += _not_to_be_changed(f"rows.{name}", changes)
    if len(named) * len(study.seeds) > MOST_RUNS:
        mistakes.append(f"{len(named):,} rows and {len(study.seeds)} seeds are more than {MOST_RUNS:,} runs")
    rows: list[Row] = []
    if not mistakes:
        folders = _folders([name for name, _ in named])
        so_far = _flat(study.base)
        for (name, changes), folder in zip(named, folders, strict=True):
            whole = so_far | changes
            so_far = whole if study.cumulative else so_far
            try:
                rows.append(Row(name, folder, changes, parse(_changed(values, whole))))
            except RecipeError as error:
                mistakes += [f"rows.{name}: {problem}" for problem in error.problems]
    mistakes += _unknown_rows(study, [name for name, _ in named])
    if mistakes:
        raise RecipeError(mistakes, place=place, hint="nothing was trained; docs/studies says what a study file holds")
    return rows


def _named_changes(study: Study) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row's name and changes: those that are named, each with every point of the grid."""
    for name, own in (study.rows or {"": {}}).items():
        for label, point in _points(study):
            yield ", ".join(filter(None, (name, label))) or BASE, _flat(own) | point


def _points(study: Study) -> list[tuple[str, dict[str, Any]]]:
    """The grid multiplied out: (how a person names a point, its changes); one nameless point where there is no grid."""
    axes = [
        [
            (f"{key.rpartition('.')[2]} {_spoken(value)}", {key: value})
            for value in (values if isinstance(values, list) else [values])
        ]
        for key, values in _flat(study.grid).items()
    ]
    return [
        (", ".join(label for label, _ in point), {key: value for _, change in point for key, value in change.items()})
        for point in itertools.product(*axes)
    ]


def _spoken(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for key, value in changes.items():
        target = result
        *groups, last = key.split(".")
        for group in groups:
            if not isinstance(target.get(group), dict):
                target[group] = {}  # a group that is none: the recipe's own validation says so
            target = target[group]
        target[last] = value
    return result


def _not_to_be_changed(place: str, changes: Mapping[str, Any]) -> list[str]:
    firsts = dict.fromkeys(key.partition(".")[0] for key in changes)
    return [f"{place}.{first}: {THE_STUDYS_OWN[first]}" for first in firsts if first in THE_STUDYS_OWN]


def _unknown_rows(study: Study, names: list[str]) -> list[str]:
    told = {"show.errors": (study.show.errors, [*names, CHOSEN]), "show.mixed": (study.show.mixed, names)}
    return [
        f"{key}: there is no row called {name!r}; rows are {', '.join(map(repr, names))}"
        for key, (name, known) in told.items()
        if name and name not in known
    ]


def _folders(names: list[str]) -> list[str]:
    """A name for a folder for each row, no two alike on any file system."""
    taken: set[str] = set()
    folders = []
    for name in names:
        plain = re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:60] or "row"
        folder = next(candidate for candidate in _numbered(plain) if candidate not in taken)
        taken.add(folder)
        folders.append(folder)
    return folders


def _numbered(plain: str) -> Iterator[str]:
    yield plain
    for number in itertools.count(2):
        yield f"{plain}.{number}"

"""Recipes as text: TOML files, `key=value` settings, and mistakes told with place, value and cure, all at once."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

import tomli_w
from pydantic import BaseModel, ValidationError

from sortal.errors import RecipeError
from sortal.files import write_text
from sortal.recipe.model import Recipe

STRATEGIES: tuple[str, ...] = get_args(Recipe.model_fields["strategy"].annotation)
IDLE: Mapping[tuple[str, object], tuple[str, ...]] = {
    ("start.whiten", "none"): ("start.whiten_until",),
    ("start.whiten", "frozen"): ("start.whiten_until",),
    ("grow.start", 1): ("grow.until",),
    ("augment.flip", 0): ("augment.alternate_flip", "test_views"),
    **{("strategy", name): ("schedule.head_only", "schedule.thawed_rate") for name in STRATEGIES if name != "staged"},
}
"""What a setting may switch off, and the words that then have nothing left to say."""


def parse(values: Mapping[str, Any], *, place: str = "the recipe") -> Recipe:
    """A recipe from nested values; raises `RecipeError` with every problem."""
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise RecipeError(problems_of(error, Recipe), place=place) from error


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Every problem that the validation of a model found, as 'key: what is wrong, what was expected'."""
    return [_problem(detail, model) for detail in error.errors()]


def read(path: Path) -> Recipe:
    """A recipe from a TOML file; raises `RecipeError`."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(
            [str(error)], place=str(path), hint="a recipe is TOML: `sortal recipes NAME` prints one to start from"
        ) from error
    return parse(values, place=str(path))


def write(recipe: Recipe, path: Path) -> None:
    """Write as TOML, whole or not at all; `read` gives the same recipe back."""
    write_text(path, to_toml(recipe))


def to_toml(recipe: Recipe) -> str:
    """All fields, groups last."""
    return tomli_w.dumps(recipe.model_dump(mode="json"))


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of nested values, 'augment.flip', with their values."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def without_the_idle(values: dict[str, Any], settled: Mapping[str, object]) -> dict[str, Any]:
    """A recipe's values, those at their defaults that have nothing to say any more once `settled` is in place."""
    plain = Recipe().model_dump(mode="json")
    for off, idle in IDLE.items():
        if off not in settled.items():
            continue
        for key in idle:
            group, _, word = key.rpartition(".")
            (values[group] if group else values)[word] = (plain[group] if group else plain)[word]
    return values


def override(recipe: Recipe, settings: Iterable[str]) -> Recipe:
    """The recipe with settings such as 'epochs=5' or 'augment.flip=0.5' in place; values are TOML, bare words are strings.

    What a setting switches off takes along the recipe's own words about it.
    """
    settled = parsed(settings)
    values = without_the_idle(recipe.model_dump(mode="json"), settled)
    for key, value in settled.items():
        *groups, last = key.split(".")
        target = values
        for group in groups:
            found = target.setdefault(group, {})
            target = found if isinstance(found, dict) else target
        target[last] = value
    return parse(values, place="the recipe with --set")


def parsed(settings: Iterable[str]) -> dict[str, Any]:
    """Settings such as 'augment.flip=0.5' by their keys; raises `RecipeError` for those that are none."""
    pairs = [setting.partition("=") for setting in settings]
    problems = [f"{key}: expected KEY=VALUE" for key, equals, _ in pairs if not equals]
    if problems:
        raise RecipeError(problems, place="--set")
    return {key.strip(): _value(text.strip()) for key, _, text in pairs}


def check_settings(settings: Iterable[str]) -> None:
    """Raise `RecipeError` for settings whose key or type is wrong in any recipe; what fits together is not judged here."""
    settings = list(settings)
    try:
        override(Recipe(), settings)
    except RecipeError as error:
        keys = {setting.partition("=")[0].strip() for setting in settings}
        own = [problem for problem in error.problems if problem.partition(":")[0] in keys or "expected KEY=VALUE" in problem]
        if own:
            raise RecipeError(own, place="--set") from error


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _problem(detail: Any, model: type[BaseModel]) -> str:
    """One of pydantic's details as 'key: what is wrong, what was expected'."""
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        near = get_close_matches(str(detail["loc"][-1]), _known(model, detail["loc"][:-1]), n=1, cutoff=0.5)
        return f"{key}: unknown key" + (f", did you mean '{near[0]}'?" if near else "")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if detail["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key}: expected {message}, got {detail['input']!r}"


def _known(model: type[BaseModel], place: tuple[Any, ...]) -> list[str]:
    for part in place:
        annotation = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)

"""Diagnosis: what went wrong with a training, from its curves, its data and its cost; with evidence and the cure.

The rules are the tutorials' lists of common mistakes and of issues and solutions, each made into a question of numbers.
"""

from collections.abc import Mapping
from typing import Any

from sortal.errors import RecipeError
from sortal.evaluation.diagnosis import data, learning, machine
from sortal.evaluation.diagnosis.case import SOLVED, Case, Diagnosis, changed

RULES = (*learning.RULES, *data.RULES, *machine.RULES)
GRAVITY = ("severe", "warning", "note")
EXPLAINED = {
    "overfitting": {"rate-too-high", "thawed-rate-too-high", "imbalance-ignored"},
    "underfitting": {"rate-too-high", "not-converged"},
    "not-converged": {"rate-too-high", "thawed-rate-too-high"},
    "rate-too-high": {"thawed-rate-too-high"},
    "label-noise": {"overfitting", "underfitting", "not-converged", "rate-too-high", "leakage"},  # their mistakes are sure ones
    "too-little-data": {"rate-too-high", "underfitting"},
}
"""Kinds that are not told where one of these is found too, whose consequence they may well be."""

TRAINED = {"optimizer.name": "adamw", "optimizer.weight_decay": 1e-3, "epochs": 40}
"""How the preset `photos` trains a head."""

__all__ = ["RULES", "Case", "Diagnosis", "changed", "diagnose"]


def diagnose(case: Case) -> tuple[dict[str, Any], ...]:
    """All that is wrong, the gravest first: rows `kind`, `severity`, `evidence`, `cure`, `change`.

    `change` goes from recipe keys, such as 'schedule.thawed_rate', to values with which the recipe is still valid; it is empty
    where no recipe can cure it, such as images that are in two splits.
    """
    found = [diagnosis for rule in RULES if (diagnosis := rule(case)) is not None]
    kinds = {each.kind for each in found}
    found = [each for each in found if not EXPLAINED.get(each.kind, set()) & kinds]
    found.sort(key=lambda each: GRAVITY.index(each.severity))
    return tuple(each.to_json() | {"change": _valid(case, each.change)} for each in found)


def _valid(case: Case, change: Mapping[str, Any]) -> dict[str, Any]:
    """The change, without keys that are as they were; nothing where it does not go with the rest of the recipe."""
    solved = case.recipe.optimizer.name == SOLVED
    try:
        new = changed(case.recipe, change).model_dump(mode="json")
    except RecipeError:
        return _valid_trained(case, change) if solved and "optimizer.name" not in change else {}
    old = case.recipe.model_dump(mode="json")
    return {key: _at(new, key) for key in change if _at(new, key) != _at(old, key)}


def _valid_trained(case: Case, change: Mapping[str, Any]) -> dict[str, Any]:
    """The change together with what makes a head that was solved for one that is trained: only then rates and orders matter."""
    return _valid(case, {**TRAINED, **change})


def _at(values: Mapping[str, Any], key: str) -> Any:
    found: Any = values
    for part in key.split("."):
        found = found[part]
    return found

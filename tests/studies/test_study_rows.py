"""From a study's changes to whole recipes."""

import pytest

from sortal.errors import RecipeError
from sortal.recipe import Recipe, presets
from sortal.studies import Row, rows_of
from sortal.studies.model import parse

START = presets.named("small_compact")


def rows(**study: object) -> list[Row]:
    return rows_of(parse(study), START)


def test_a_row_is_the_base_with_its_changes() -> None:
    found = rows(base={"epochs": 3}, rows={"plain": {}, "mixed": {"augment": {"mixup": 0.2}, "batch_size": 64}})
    assert [row.name for row in found] == ["plain", "mixed"]
    assert (found[0].recipe.epochs, found[0].recipe.augment.mixup) == (3, 0)
    mixed = found[1].recipe
    assert (mixed.epochs, mixed.augment.mixup, mixed.augment.flip, mixed.batch_size) == (3, 0.2, START.augment.flip, 64)
    assert found[1].changes == {"augment.mixup": 0.2, "batch_size": 64}


def test_a_grid_is_multiplied_out_with_names_that_can_be_read() -> None:
    found = rows(grid={"augment": {"mixup": [0.2, 1.0]}, "epochs": [1, 2]})
    assert [row.name for row in found] == [
        "mixup 0.2, epochs 1", "mixup 0.2, epochs 2", "mixup 1, epochs 1", "mixup 1, epochs 2",
    ]  # fmt: skip
    assert [(row.recipe.augment.mixup, row.recipe.epochs) for row in found] == [(0.2, 1), (0.2, 2), (1.0, 1), (1.0, 2)]


def test_a_grid_goes_through_every_row() -> None:
    found = rows(rows={"a": {}, "b": {"epochs": 2}}, grid={"loss": {"label_smoothing": [0, 0.1]}})
    assert [row.name for row in found] == [
        "a, label_smoothing 0",
        "a, label_smoothing 0.1",
        "b, label_smoothing 0",
        "b, label_smoothing 0.1",
    ]


def test_cumulative_rows_keep_what_rows_before_changed() -> None:
    found = rows(cumulative=True, rows={"a": {"epochs": 2}, "b": {"augment": {"flip": 0}}, "c": {"augment": {"mixup": 1}}})
    last = found[-1]
    assert (last.recipe.epochs, last.recipe.augment.flip, last.recipe.augment.mixup) == (2, 0, 1)
    assert last.changes == {"augment.mixup": 1}


def test_a_study_without_rows_has_one() -> None:
    assert [(row.name, row.recipe.model_dump()["epochs"]) for row in rows()] == [("base", START.epochs)]


def test_every_rows_mistakes_are_told_together() -> None:
    changes = {
        "fine": {},
        "typo": {"augment": {"mixupp": 1}},
        "clash": {"strategy": "features", "augment": {"mixup": 0.2}},
        "number": {"epochs": {"x": 1}},
    }
    with pytest.raises(RecipeError) as caught:
        rows(rows=changes, show={"errors": "fin"})
    told = str(caught.value)
    assert "rows.typo: augment.mixupp: unknown key, did you mean 'mixup'?" in told
    assert "rows.clash: " in told
    assert "rows.number: epochs" in told
    assert "show.errors: there is no row called 'fin'" in told
    assert "rows.fine" not in told


@pytest.mark.parametrize("change", [{"seed": 3}, {"split": {"val": 0.1}}])
def test_what_is_the_studys_own_no_row_changes(change: dict[str, object]) -> None:
    for study in ({"base": change}, {"rows": {"a": change}}, {"rows": {"a": {}}, "grid": change}):
        with pytest.raises(RecipeError, match="the study"):
            rows(**study)


def test_the_presets_own_division_is_replaced_by_the_studys() -> None:
    start = presets.named("seed002_cifar10")
    assert start.split.val == 0.1
    assert rows_of(parse({}), start)[0].recipe.split == Recipe().split


def test_folders_are_plain_and_no_two_alike() -> None:
    found = rows(rows={"A / b": {}, "a b": {}, "../..": {}, "ä": {}, "x" * 300: {}})
    folders = [row.folder for row in found]
    assert folders[:2] == ["a-b", "a-b.2"]
    assert len(set(folders)) == 5
    assert all("/" not in folder and not folder.startswith(".") and 0 < len(folder) < 80 for folder in folders)


def test_a_seed_makes_the_recipe_of_a_run() -> None:
    row = rows()[0]
    assert row.seeded(7) == row.recipe.model_copy(update={"seed": 7})


def test_more_runs_than_anyone_waits_for_are_refused() -> None:
    with pytest.raises(RecipeError, match="more than 10,000 runs"):
        rows(grid={"epochs": list(range(1, 5000))})

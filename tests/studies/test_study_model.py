"""The study file: what it may say, and that all of its mistakes are told at once."""

from pathlib import Path

import pytest

from sortal import engines
from sortal.errors import RecipeError
from sortal.recipe import presets
from sortal.studies import read, rows_of

ROOT = Path(__file__).parents[2]


def written(folder: Path, text: str) -> Path:
    (folder / "mine.toml").write_text(text)
    return folder / "mine.toml"


def test_all_mistakes_of_a_study_file_are_told_at_once(tmp_path: Path) -> None:
    text = 'sedes = [1]\nseeds = ["a"]\nchoose = "acuracy"\n[images]\ntrian = 5\nval = -1\n'
    with pytest.raises(RecipeError) as caught:
        read(written(tmp_path, text))
    told = str(caught.value)
    assert "mine.toml" in told
    assert "sedes: unknown key, did you mean 'seeds'?" in told
    assert "images.trian: unknown key, did you mean 'train'?" in told
    assert "'acuracy'" in told
    assert "seeds.0: expected" in told
    assert "images.val" in told
    assert len(caught.value.problems) == 5


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seeds = [1, 1]", "seeds must differ"),
        ("seeds = []", "at least one"),
        ("cumulative = true\n[rows.a]\n", "two or more"),
        ("cumulative = true\n[rows.a]\n[rows.b]\n[grid]\nepochs = [1, 2]", "take one of the two"),
        ("title: no", "after a key"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(RecipeError, match=told):
        read(written(tmp_path, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"none\.toml has problems:\n  it cannot be read: No such file"):
        read(tmp_path / "none.toml")
    with pytest.raises(RecipeError, match="it cannot be read: Is a directory"):
        read(tmp_path)


STUDIES = sorted((ROOT / "studies").glob("*.toml"))


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_studies_that_ship_are_whole(path: Path) -> None:
    found = read(path)
    rows = rows_of(found, presets.named(found.recipe), place=path.name)
    assert len(found.seeds) >= 3
    assert found.title
    assert found.about
    if path.stem.endswith("_small"):
        assert (found.images.train, found.images.val, found.images.test) == (7000, 1000, 2000)
        assert "Small budget" in found.note
    else:
        assert "not run here" in found.note
    for row in rows:
        assert engines.load("torch").expects(row.recipe)


def test_every_exercise_ships_at_both_budgets() -> None:
    names = {path.stem for path in STUDIES}
    assert len(names) == 10
    assert {name.removesuffix("_small") for name in names} == {name for name in names if not name.endswith("_small")}

"""The recipe's JSON Schema, which editors complete and check TOML with."""

import json
from pathlib import Path

import pytest

from sortal.recipe import Recipe

SCHEMA = Path(__file__).parents[2] / "docs" / "recipe.schema.json"


@pytest.mark.skipif(not SCHEMA.parent.exists(), reason="the documentation is not beside the tests")
def test_the_schema_in_the_documentation_is_that_of_the_model() -> None:
    assert json.loads(SCHEMA.read_text()) == Recipe.model_json_schema(), "run: python -m benchmarks.make_schema"


def test_every_key_of_a_recipe_that_needs_explaining_is_explained() -> None:
    schema = Recipe.model_json_schema()
    groups = [schema, *schema["$defs"].values()]
    silent = {name for group in groups for name, key in group["properties"].items() if "description" not in key}
    self_explanatory = {"engine", "epochs", "batch_size", "learning_rate", "seed", "dropout", "monitor", "name"}
    nested = {
        "augment",
        "optimizer",
        "schedule",
        "loss",
        "sampler",
        "average",
        "stop",
        "best",
        "split",
        "store",
        "head",
        "thaw",
        "start",
        "grow",
        "decision",
        "kind",
    }
    assert silent <= self_explanatory | nested

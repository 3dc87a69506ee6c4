"""Write docs/recipe.schema.json from the model of the recipe; run it after changing a key."""

import json
from pathlib import Path

from sortal.recipe import Recipe

if __name__ == "__main__":
    path = Path(__file__).parents[1] / "docs" / "recipe.schema.json"
    path.write_text(json.dumps(Recipe.model_json_schema(), indent=2) + "\n")

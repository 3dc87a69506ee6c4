"""`sortal recipes [NAME]`: presets to start from."""

import inspect

import click

from sortal.cli import options
from sortal.cli.plain import print_json


@click.command("recipes")
@click.argument("name", required=False)
@options.as_json
def command(name: str | None, as_json: bool) -> None:
    """List preset recipes; with NAME, print one as TOML, to be changed and given to `sortal train DATA --recipe FILE`."""
    from sortal.recipe.presets import PRESETS

    if name is None:
        rows = [{"name": entry.name, "about": entry.about} for entry in PRESETS]
        if as_json:
            print_json({"recipes": rows})
        else:
            from sortal.cli import tables

            tables.show_recipes(rows)
        return
    from sortal.recipe.text import to_toml

    entry = PRESETS[name]
    preset = entry.load()
    recipe, doc = preset(), inspect.getdoc(preset) or ""
    if as_json:
        row = {"name": name, "about": entry.about, "description": doc, "recipe": recipe.model_dump(mode="json")}
        print_json({"recipes": [row]})
    else:
        print("".join(f"# {line}".rstrip() + "\n" for line in doc.splitlines()))
        print(to_toml(recipe), end="")

"""`sortal models [PATTERN|NAME]`: which network architectures there are, and what one is made of."""

import click

from sortal.cli import options
from sortal.cli.plain import print_json, standard_output_kept_for_the_answer
from sortal.errors import UnknownName


@click.command("models")
@click.argument("pattern", metavar="[PATTERN|NAME]", default="")
@options.as_json
def command(pattern: str, as_json: bool) -> None:
    """List network architectures: all, or those whose names contain PATTERN (or match it, if it holds * or ?).

    The whole NAME of one prints its layers, with the shape of their outputs and their parameters. Numbers of parameters
    and of multiply-adds are counted for lists of up to 40.
    """
    from sortal import engines

    with standard_output_kept_for_the_answer():
        catalogue = engines.catalogue("torch")
        rows = catalogue.rows(pattern)
        if not rows:
            raise UnknownName("model", pattern, (row["name"] for row in catalogue.rows()), hint="`sortal models` lists all")
        exact = [row for row in rows if row["name"] == pattern]
        layers = catalogue.layers(pattern) if exact else None
    rows = exact or rows
    if as_json:
        print_json({"models": rows} if layers is None else {"models": [{**rows[0], "layers": layers}]})
        return
    from sortal.cli import tables

    if layers is None:
        tables.show_models(rows)
    else:
        tables.show_model(rows[0], layers)

"""`sortal models [PATTERN|NAME]...`: which network architectures there are, what one is made of, how fast they are here."""

from typing import TYPE_CHECKING, Any

import click

from sortal.cli import options
from sortal.cli.plain import print_json, standard_output_kept_for_the_answer
from sortal.errors import NotSupported

if TYPE_CHECKING:
    from sortal.engines import Catalogue

MOST_MEASURED = 40


@click.command("models")
@click.argument("patterns", metavar="[PATTERN|NAME]...", nargs=-1)
@click.option("--measure", is_flag=True, help="Measure speed and memory on this machine: seconds to minutes a model.")
@options.as_json
def command(patterns: tuple[str, ...], measure: bool, as_json: bool) -> None:
    """List network architectures: all, or those whose names contain a PATTERN (or match it, if it holds * or ?).

    The whole NAME of one prints its layers, with the shape of their outputs and their parameters. Numbers of parameters
    and of multiply-adds are counted for lists of up to 40. With --measure: images a second in training and inference, and
    the peak memory of a process that does nothing else.
    """
    from sortal import engines

    with standard_output_kept_for_the_answer():
        catalogue = engines.catalogue("torch")
        rows = catalogue.rows(*patterns)
        one = len(patterns) == 1 and rows[0]["name"] == patterns[0]
        layers = catalogue.layers(patterns[0]) if one and not measure else None
        if measure:
            rows = _measured(catalogue, rows, patterns)
    if as_json:
        print_json({"models": rows} if layers is None else {"models": [{**rows[0], "layers": layers}]})
        return
    from sortal.cli import tables

    if measure:
        tables.show_speed(rows)
    elif layers is None:
        tables.show_models(rows)
    else:
        tables.show_model(rows[0], layers)


def _measured(catalogue: "Catalogue", rows: list[dict[str, Any]], patterns: tuple[str, ...]) -> list[dict[str, Any]]:
    from sortal.cli.console import watching

    if not patterns or len(rows) > MOST_MEASURED:
        raise NotSupported(
            f"--measure takes minutes for some models, and {len(rows):,} were asked for",
            hint=f"name up to {MOST_MEASURED}: sortal models resnet50 vit_base_patch16_224 --measure",
        )
    with watching() as observe:
        found = catalogue.measured([row["name"] for row in rows], observe)
    return [{**row, "measured": found[row["name"]]} for row in rows]

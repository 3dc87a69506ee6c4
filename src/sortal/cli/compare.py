"""`sortal compare RUN...`: which model is better on the same images, and whether that can be seen with so few."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, standard_output_kept_for_the_answer


@click.command("compare")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.as_json
def command(runs: tuple[Path, ...], as_json: bool) -> None:
    """Compare runs, or files of predictions, image by image.

    Each must have been judged on the same images; those that a run had set aside are left out and counted. A difference is
    that of the later run to the earlier one; it has a 95% interval (bootstrap over groups) and the p-value of an exact test
    (McNemar).
    """
    from sortal import workflows
    from sortal.cli import tables

    with standard_output_kept_for_the_answer():
        compared = workflows.compare(runs)
    if as_json:
        print_json(compared.to_json())
    else:
        tables.show_comparison(compared.to_json())

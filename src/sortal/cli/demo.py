"""`sortal demo`: the embedded sample, from images to report, to see what the tool does."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, standard_output_kept_for_the_answer
from sortal.cli.resumable import resumable


@click.command("demo")
@click.option(
    "--out", metavar="RUN", type=click.Path(path_type=Path), help="Folder for the run.  [default: a new one under runs/]"
)
@options.as_json
def command(out: Path | None, as_json: bool) -> None:
    """Train on the embedded sample of Fashion-MNIST (ten kinds of clothing), evaluate, write the report."""
    from sortal import workflows
    from sortal.cli import tables

    with standard_output_kept_for_the_answer(), resumable(out) as observe:
        trained = workflows.demo(out=out, observe=observe)
    if as_json:
        print_json(trained.to_json())
    else:
        tables.show_training(trained.to_json())

"""`sortal evaluate RUN`: how good a model is, with intervals."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, standard_output_kept_for_the_answer


@click.command("evaluate")
@click.argument("target", metavar="RUN|predictions.parquet", type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@options.as_json
def command(target: Path, data: Path | None, as_json: bool) -> None:
    """Score a run, a bundle or a file of predictions; with DATA, score the model on other images.

    Scores come with 95% intervals, then precision, recall, F1 and support of each class.
    """
    from sortal import workflows
    from sortal.cli import console, tables

    with standard_output_kept_for_the_answer(), console.watching() as observe:
        scores = workflows.evaluate(target, data, observe=observe)
    if as_json:
        print_json(scores.to_json())
    else:
        tables.show_scores(scores.to_json())

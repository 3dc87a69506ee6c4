"""`sortal check DATA`: is this data set fit to train on?"""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, standard_output_kept_for_the_answer


@click.command("check")
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--max-pixels",
    type=click.IntRange(min=1),
    default=100_000_000,
    show_default=True,
    help="Width times height beyond which an image is set aside without decoding it.",
)
@click.option(
    "--fix",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write a new manifest (.parquet): copies on one side, useless images quarantined. Files stay as they are.",
)
@options.as_json
@click.pass_context
def command(ctx: click.Context, data: Path, max_pixels: int, fix: Path | None, as_json: bool) -> None:
    """Look a data set over: unreadable files, placeholders, copies within and across splits or with different labels, likely
    wrong labels, class counts, classes alike, shortcuts, drift between splits.

    DATA is a folder with one folder of images for each class (or train/, val/ and test/ of such folders), a zip or
    tar of one, a CSV or Parquet with the columns path and label (and split and group, if you like), or a
    manifest.parquet. It may be the folder of a finished run: then its own splits are looked over, and what its model says of
    images that it did not see tells wrong labels.

    Exits with 1 if a finding is severe.
    """
    from sortal import workflows
    from sortal.cli import console, tables

    with standard_output_kept_for_the_answer(), console.watching() as observe:
        health = workflows.check(data, max_pixels=max_pixels, fix=fix, observe=observe)
    if as_json:
        print_json(health.to_json())
    else:
        tables.show_health(health.to_json())
    if health.severe:
        ctx.exit(1)

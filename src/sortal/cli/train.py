"""`sortal train DATA`: everything, from labelled images to a measured model and its report."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, standard_output_kept_for_the_answer
from sortal.cli.resumable import resumable


@click.command("train")
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option("--recipe", metavar="NAME|FILE", help="A preset of `sortal recipes`, or a TOML file.  [default: planned]")
@click.option("--set", "settings", metavar="KEY=VALUE", multiple=True, help="Change a key of the recipe: --set epochs=5.")
@click.option(
    "--out",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="Folder for the run.  [default: a new one under runs/]",
)
@click.option("--resume", is_flag=True, help="Continue the run in --out; DATA need not be named again.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="Start of all randomness.  [default: the recipe's]")
@options.as_json
def command(
    data: Path | None,
    recipe: str | None,
    settings: tuple[str, ...],
    out: Path | None,
    resume: bool,
    seed: int | None,
    as_json: bool,
) -> None:
    """Train, measure and explain a classifier of the images in DATA.

    DATA is a folder with one folder of images for each class (or train/, val/ and test/ of such folders), a zip or
    tar of one, a CSV or Parquet with the columns path and label (and split and group, if you like), or a
    manifest.parquet.

    Without --recipe, the plan looks at the images and at the machine and says why it chose what it chose.
    """
    if data is None and not resume:
        raise click.UsageError("DATA is missing: name a folder with one folder of images for each class")
    if resume and out is None:
        raise click.UsageError("--resume needs --out RUN: the run to continue")
    from sortal import workflows
    from sortal.cli import tables

    with standard_output_kept_for_the_answer(), resumable(out) as observe:
        trained = workflows.train(data, recipe=recipe, settings=settings, out=out, resume=resume, seed=seed, observe=observe)
    if as_json:
        print_json(trained.to_json())
    else:
        tables.show_training(trained.to_json())

"""`sortal study FILE`: rows of recipe changes over seeds, a choice on validation images, and one page."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, standard_output_kept_for_the_answer
from sortal.cli.resumable import resumable

ABOUT = "asked.json"
"""The file whose presence says that a study has begun; the workflow's own name of it would cost its imports."""


@click.command("study")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.argument("data", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Folder for the study.  [default: a new one under runs/]",
)
@click.option("--resume", is_flag=True, help="Continue the study in --out; FILE need not be named again.")
@options.as_json
def command(file: Path | None, data: Path | None, out: Path | None, resume: bool, as_json: bool) -> None:
    """Train every row of the study in FILE for every seed and compare them.

    FILE is TOML: which images, which recipe, rows of changes to it, seeds, and what is chosen by; studies/ holds some.
    DATA are the images, where they are not those that FILE names.

    The row is chosen on validation images; test images are looked at once, when the choice stands.
    """
    if file is None and not resume:
        raise click.UsageError("FILE is missing: name a study file")
    if resume and out is None:
        raise click.UsageError("--resume needs --out OUT: the study to continue")
    from sortal import workflows
    from sortal.cli import tables

    with standard_output_kept_for_the_answer(), resumable(out, "study", ABOUT) as observe:
        studied = workflows.study(file, data, out=out, resume=resume, observe=observe)
    if as_json:
        print_json(studied.to_json())
    else:
        tables.show_study(studied.to_json())

"""`sortal report RUN`: the page and the figures of a run."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, printable, standard_output_kept_for_the_answer


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@options.as_json
def command(run: Path, as_json: bool) -> None:
    """Write report.html, one page that needs nothing else, and figures for papers (PNG and SVG); print their names."""
    from sortal import workflows
    from sortal.cli import console

    with standard_output_kept_for_the_answer(), console.watching() as observe:
        written = workflows.report(run, observe=observe)
    if as_json:
        print_json(written.to_json())
        return
    for path in (written.report, *written.figures):
        print(printable(str(path)))

"""`sortal report RUN`: the page, the card and the figures of a run, or the page as a desk on which images are marked."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, printable, standard_output_kept_for_the_answer


@click.command("report")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--edit", is_flag=True, help="Serve the page on this machine alone, to relabel, exclude and group images; Ctrl-C ends."
)
@click.option("--port", type=click.IntRange(0, 65535), help="Where --edit listens; a free port if not given.")
@options.as_json
def command(run: Path, edit: bool, port: int | None, as_json: bool) -> None:
    """Write report.html, one page that needs nothing else, model-card.md, and figures for papers; print their names.

    Before that it adds what a training does not wait for: a learning curve, what breaks the model first, and what it looked
    at when it was wrong; and what `sortal check RUN` found, if that was asked. All of it is kept for the next time.

    With --edit write nothing but what is decided on the page: a new version of the manifest, for `sortal train`. Each mark is
    on the disk at once; after a crash the next --edit has it.
    """
    if port is not None and not edit:
        raise click.UsageError("--port says where --edit listens; give --edit too")
    from sortal import workflows
    from sortal.cli import console

    with standard_output_kept_for_the_answer(), console.watching() as observe:
        if edit:
            edited = workflows.edit(run, port=port or 0, observe=observe)
        else:
            written = workflows.report(run, observe=observe)
    if as_json:
        print_json(edited.to_json() if edit else written.to_json())
        return
    for path in edited.manifests if edit else (written.report, written.model_card, *written.figures):
        print(printable(str(path)))

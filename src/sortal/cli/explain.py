"""`sortal explain RUN IMAGE...`: pictures of what a model looked at."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, printable, standard_output_kept_for_the_answer


@click.command("explain")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--method",
    metavar="M",
    help="grad_cam, attention_rollout, integrated_gradients or occlusion.  [default: by the network's architecture]",
)
@click.option("--out", metavar="DIR", type=click.Path(path_type=Path), help="Folder for the pictures.  [default: explained]")
@options.as_json
@click.pass_context
def command(
    ctx: click.Context, run: Path, images: tuple[Path, ...], method: str | None, out: Path | None, as_json: bool
) -> None:
    """Show what the model of RUN, a run or a bundle, looked at when it labelled each IMAGE.

    Writes a PNG for each: the picture as the network saw it, and beside it the same with a map over it. An IMAGE that is
    a folder is walked. Nothing is overwritten. An image that cannot be read is named; the others are explained, and the
    exit code is 1.
    """
    from sortal import workflows
    from sortal.cli import console, tables

    with standard_output_kept_for_the_answer(), console.watching() as observe:
        explained = workflows.explain(run, images, method=method, out=out, observe=observe)
    for error in explained.errors:
        click.echo(f"error: {printable(error['source'])}: {printable(error['reason'])}", err=True)
    if as_json:
        print_json(explained.to_json())
    else:
        tables.show_maps(explained.to_json())
    if explained.errors:
        ctx.exit(1)

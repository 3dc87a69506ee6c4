"""`sortal predict RUN IMAGE...`: labels for images. Loads neither torch, pyarrow, pydantic nor rich, to be quick."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from sortal.cli import options
from sortal.cli.answers import FORMATS, Prediction
from sortal.cli.plain import counter, print_json, printable
from sortal.events import ignore
from sortal.files import replacing


@click.command("predict")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option("--top", metavar="K", type=click.IntRange(min=1), default=5, show_default=True, help="Labels for each image.")
@click.option("--format", "kind", type=click.Choice(list(FORMATS)), help="Form of the answer.  [default: table]")
@click.option(
    "--output", "-o", metavar="FILE", type=click.Path(path_type=Path), help="Write to FILE instead of standard output."
)
@click.option(
    "--out", metavar="FOLDER", type=click.Path(path_type=Path),
    help="For millions of images and tar shards: Parquet parts that outlive a kill.",
)  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on in the FOLDER of --out.")
@options.as_json
@click.pass_context
def command(
    ctx: click.Context,
    run: Path,
    images: tuple[str, ...],
    top: int,
    kind: str | None,
    output: Path | None,
    out: Path | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Label images with the model of RUN, a run or a bundle.

    An IMAGE that is a folder is walked; - reads names from standard input, one a line. An image that cannot be read
    gets an error line of its own; the others are answered, and the exit code is 1.

    With --out an IMAGE may be a tar file too, and what is written can be continued with --resume after any kill: one row
    for each image, exactly once.
    """
    if out is not None:
        if kind or output:
            raise click.UsageError("--out writes Parquet into a folder: leave out --format and --output")
        _many(ctx, run, images, out, top=top, resume=resume, as_json=as_json)
        return
    if resume:
        raise click.UsageError("--resume goes on in the folder of --out: name it")
    if as_json and (output or kind not in (None, "json")):
        raise click.UsageError("--json prints one JSON object on standard output: leave out --output and --format")
    kind = "json" if as_json else kind or "table"
    if kind == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is no text for a terminal: add --output FILE, or send it into a pipe")
    from sortal import workflows

    # Lines on the terminal show by themselves how far we are.
    lines_show = output is None and kind in ("table", "csv") and sys.stdout.isatty()
    errors: list[dict[str, Any]] = []
    answers = workflows.predict_stream(run, _names(images), top=top, observe=ignore if lines_show else counter())
    pieces = FORMATS[kind](_readable(answers, errors), errors)
    if output is None:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
            if sys.stdout.isatty():
                sys.stdout.buffer.flush()
    else:
        with replacing(output) as part, part.open("wb") as file:
            file.writelines(pieces)
    if errors:
        ctx.exit(1)


def _many(ctx: click.Context, run: Path, images: tuple[str, ...], out: Path, *, top: int, resume: bool, as_json: bool) -> None:
    from sortal import workflows

    done = workflows.predict_many(run, _names(images), out, top=top, resume=resume, observe=counter())
    if as_json:
        print_json(done.to_json())
    else:
        print(printable(f"{done.rows} rows in {done.parts} parts: {done.out}"))
    if done.errors:
        print(f"error: {done.errors} could not be read; the column 'reason' says why", file=sys.stderr)
        ctx.exit(1)


def _names(images: tuple[str, ...]) -> Iterator[str]:
    for image in images:
        if image == "-":
            yield from (line.rstrip("\n") for line in sys.stdin if line.strip())
        else:
            yield image


def _readable(answers: Iterator[dict[str, Any]], errors: list[dict[str, Any]]) -> Iterator[Prediction]:
    """The predictions among the answers; errors are told at once and collected."""
    for answer in answers:
        if "reason" in answer:
            errors.append(answer)
            print(f"error: {printable(answer['source'])}: {printable(answer['reason'])}", file=sys.stderr)
        else:
            yield answer

"""`sortal data [NAME]`: the standard data sets, and a reader for some of them."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, printable, standard_output_kept_for_the_answer


@click.command("data")
@click.argument("name", required=False)
@click.option("--from", "source", metavar="FOLDER", type=click.Path(path_type=Path), help="Folder with its official files.")
@click.option(
    "--to", metavar="PATH", type=click.Path(path_type=Path), help="Write it as one .parquet file, or into this folder."
)
@options.as_json
def command(name: str | None, source: Path | None, to: Path | None, as_json: bool) -> None:
    """List the standard data sets with classes, images and resolution; with NAME, say more of one.

    With --to, make one readable: `sortal data fashion-mnist --to fashion.parquet`, then `sortal train
    fashion.parquet`. Nothing is downloaded: --from names the folder of the official files, if they are not where
    Debian's packages put them.
    """
    if name is None and (source or to):
        raise click.UsageError("--from and --to need the NAME of a data set")
    if source and to is None:
        raise click.UsageError("--from needs --to PATH: where to write what was read")
    from sortal.data import standard

    chosen = list(standard.STANDARD.values()) if name is None else [standard.find(name)]
    written = None
    if name is not None and to is not None:
        from sortal.cli import console

        with standard_output_kept_for_the_answer(), console.watching() as observe:
            written = standard.write_parquet(name, source=source, to=to, observe=observe)
    if as_json:
        extra = {"written": str(written)} if written else {}
        print_json({"datasets": [entry.to_json() for entry in chosen], **extra})
    elif written:
        print(printable(str(written)))
    else:
        from sortal.cli import tables

        tables.show_datasets([entry.to_json() for entry in chosen])

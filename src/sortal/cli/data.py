"""`sortal data [NAME]`: the standard data sets, and how their official files become something to train on."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, printable, standard_output_kept_for_the_answer


@click.command("data")
@click.argument("name", required=False)
@click.option(
    "--from", "source", metavar="PATH", type=click.Path(path_type=Path), help="Folder or archive of its official files."
)
@click.option(
    "--to", metavar="PATH", type=click.Path(path_type=Path), help="Folder, or the .parquet or .csv to write. With --from: here."
)
@click.option("--labels", metavar="KIND", help="What its classes are, where it has several kinds: fine or coarse, species, ...")
@options.as_json
def command(name: str | None, source: Path | None, to: Path | None, labels: str | None, as_json: bool) -> None:
    """List the standard data sets with classes, images and resolution; with NAME, say more of one.

    With --from or --to, make it a file to train on: `sortal data cifar-10 --to data`, then `sortal train
    data/cifar-10.parquet`. Small pictures go into a .parquet; of ImageNet and iNaturalist a .csv refers to the images
    where they are. The split that papers report on is kept as the test split.

    Without --from, the files are taken from where Debian's packages put them, else downloaded into a folder of the
    set's name beside the result, with their published checksums. With --from no network is used.
    """
    if name is None and (source or to or labels):
        raise click.UsageError("--from, --to and --labels need the NAME of a data set")
    if labels and source is None and to is None:
        raise click.UsageError("--labels needs --from or --to")
    from sortal.data import standard

    chosen = list(standard.STANDARD.values()) if name is None else [standard.find(name)]
    made = None
    if name is not None and (source is not None or to is not None):
        from sortal.cli import console

        with standard_output_kept_for_the_answer(), console.watching() as observe:
            made = standard.make(name, source=source, to=to or Path(), labels=labels, observe=observe)
    if as_json:
        extra = {"path": str(made.path), "written": made.written} if made else {}
        print_json({"datasets": [entry.to_json() for entry in chosen], **extra})
    elif made:
        print(printable(str(made.path)) + ("" if made.written else " holds exactly this already; nothing was written"))
    else:
        from sortal.cli import tables

        tables.show_datasets([entry.to_json() for entry in chosen])

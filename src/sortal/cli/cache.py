"""`sortal cache`: what is stored so that it is never computed twice."""

from typing import Any

import click

from sortal.cli import options
from sortal.cli.plain import print_json


@click.command("cache")
@click.option("--clear", is_flag=True, help="Remove all stores that no process uses.")
@options.as_json
def command(clear: bool, as_json: bool) -> None:
    """Show the stores of decoded pixels and of features, the last used first.

    They stand in $SORTAL_CACHE, or in the platform's cache folder. Everything in them can be computed again; the least
    recently used go by themselves when there are too many. What is known about single files, and which split an image
    was assigned to, is no store and stays.
    """
    from sortal.data.store import Cache

    cache = Cache.default()
    freed = {"freed": cache.clear()} if clear else {}
    values: dict[str, Any] = {
        "root": str(cache.root),
        "stores": [
            {"kind": info.kind, "key": info.key, "rows": info.rows, "bytes": info.bytes, "last_used": info.last_used}
            for info in cache.list_stores()
        ],
        **freed,
    }
    if as_json:
        print_json(values)
        return
    from sortal.cli import tables

    tables.show_stores(values)

"""`sortal serve RUN...`: an HTTP server for runs and bundles."""

import os
import sys
from pathlib import Path

import click

from sortal.cli.plain import printable
from sortal.errors import DataError

LONGEST_TOKEN = 4096


@click.command("serve")
@click.argument("runs", metavar="[NAME[@VERSION]=]RUN...", nargs=-1, required=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; others than this machine need a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any that is free.")
@click.option(
    "--allowed-host", "allowed_hosts", metavar="NAME", multiple=True,
    help="By which it may be asked too, as by a proxy in front of it; may be repeated, and needs a token.",
)  # fmt: skip
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Whoever asks must know what it holds.  [env: SORTAL_TOKEN]",
)
@click.option(
    "--runtime", type=click.Choice(["auto", "onnxruntime", "openvino"]), default="auto", show_default=True,
    help="auto: the faster one that gives the same answers.",
)  # fmt: skip
@click.option("--max-body", metavar="MIB", type=click.IntRange(1, 1024), default=16, show_default=True, help="Of one request.")
@click.option(
    "--max-pixels", metavar="N", type=click.IntRange(min=1), default=50_000_000, show_default=True, help="Of one image."
)
@click.option(
    "--queue", metavar="N", type=click.IntRange(1, 100_000), default=512, show_default=True, help="Images let in at once."
)
@click.option(
    "--deadline", metavar="SECONDS", type=click.FloatRange(0.1, 3600), default=10.0, show_default=True,
    help="What cannot be answered by then is refused at once.",
)  # fmt: skip
def command(
    runs: tuple[str, ...],
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    token_file: Path | None,
    runtime: str,
    max_body: int,
    max_pixels: int,
    queue: int,
    deadline: float,
) -> None:
    """Serve the models of RUN..., runs or bundles: POST /predict, the Open Inference Protocol, a page, metrics.

    Ends on SIGTERM or Ctrl-C when whoever was let in is answered.
    """
    from sortal import workflows
    from sortal.serving.limits import MEBIBYTE, Limits

    body = max_body * MEBIBYTE
    # An idle server must have room for the largest body that it lets in.
    limits = Limits(body=body, bodies=max(Limits().bodies, body), pixels=max_pixels, queue=queue, deadline=deadline)
    token = _token(token_file)
    workflows.serve(
        runs,
        host=host,
        port=port,
        allowed_hosts=allowed_hosts,
        token=token,
        runtime=runtime,
        limits=limits,
        began=_tell,
    )


def _token(path: Path | None) -> str:
    if path is None:
        return os.environ.get("SORTAL_TOKEN", "")
    try:
        with path.open("rb") as file:
            return file.read(LONGEST_TOKEN).decode("ascii").strip()
    except FileNotFoundError:
        raise DataError(f"{path} is not there", hint="name the file that holds the token") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} holds no token", hint="a token is printable ASCII") from None


def _tell(address: str) -> None:
    print(printable(f"serving on {address}"), file=sys.stderr, flush=True)

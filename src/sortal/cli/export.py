"""`sortal export RUN --to KIND`: a model for another runtime, proved to give the same answers."""

from pathlib import Path

import click

from sortal.cli import options
from sortal.cli.plain import print_json, standard_output_kept_for_the_answer


@click.command("export")
@click.argument("run", metavar="RUN|BUNDLE", type=click.Path(path_type=Path))
@click.option("--to", metavar="KIND", help="onnx, openvino, torchscript, torch-export, safetensors, litert, torchserve or web.")
@click.option(
    "--precision", metavar="WORD", default="", help="float32, float16, bfloat16 or int8.  [default: the kind's first]"
)
@click.option("--out", metavar="FOLDER", type=click.Path(path_type=Path), help="Where it goes.  [default: RUN/exports/KIND]")
@click.option("--data", type=click.Path(path_type=Path), help="Labelled images to prove it on.  [default: the run's own]")
@click.option("--max-loss", type=float, default=0.5, show_default=True, help="Points of accuracy that less precision may cost.")
@click.option("--licence", metavar="TEXT", default="", help="Under which licence you give the model away.")
@click.option("--runtime", type=click.Path(path_type=Path), help="For web: the package onnxruntime-web, a .tgz or a folder.")
@options.as_json
def command(
    run: Path,
    to: str | None,
    precision: str,
    out: Path | None,
    data: Path | None,
    max_loss: float,
    licence: str,
    runtime: Path | None,
    as_json: bool,
) -> None:
    """Write the model of a run or bundle as KIND, run it beside the bundle on labelled images, and print what was measured.

    An export whose answers are not the bundle's is not written: in float32 probabilities may differ by 0.001, with less
    precision accuracy may fall by --max-loss. The exit code is then 1. Nothing that is there is ever overwritten.

    \b
    onnx          float32, float16, int8; also a form for images of any size
    openvino      float32, bfloat16 (float32 weights, computed in bfloat16), int8
    torchscript   float32
    torch-export  float32
    safetensors   float32; weights, plain PyTorch code and a short loader
    litert        float32; needs an environment with litert-torch
    torchserve    float32, int8; a .mar whose handler needs ONNX Runtime
    web           float32, int8; a folder for any web server, proved in Chromium
    """
    if to is None:
        raise click.UsageError("--to KIND is missing: what shall it become?")
    from sortal import workflows
    from sortal.cli import console, tables

    with standard_output_kept_for_the_answer(), console.watching() as observe:
        exported = workflows.export(
            run,
            to=to,
            precision=precision,
            out=out,
            data=data,
            max_loss=max_loss,
            licence=licence,
            runtime=runtime,
            observe=observe,
        )
    if as_json:
        print_json(exported.to_json())
    else:
        tables.show_export(exported.to_json())

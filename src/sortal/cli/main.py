"""The command table: a name, where its code is, one line about it; nothing of a command is imported before its use."""

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import cast

import click

from sortal.cli.failures import Interrupted, reader_is_gone, tell
from sortal.registry import Registry

COMMANDS = Registry("command", hint="`sortal --help` lists them")
COMMANDS.add("check", "sortal.cli.check:command", "Look a data set over: broken files, copies, class counts.")
COMMANDS.add("train", "sortal.cli.train:command", "From labelled images to a measured model: all of it.")
COMMANDS.add("evaluate", "sortal.cli.evaluate:command", "Score a model, or anyone's predictions.")
COMMANDS.add("compare", "sortal.cli.compare:command", "Compare models on the same images, pair by pair.")
COMMANDS.add("predict", "sortal.cli.predict:command", "Label images.")
COMMANDS.add("report", "sortal.cli.report:command", "Write report.html and figures of a run.")
COMMANDS.add("explain", "sortal.cli.explain:command", "Show what a model looked at.")
COMMANDS.add("serve", "sortal.cli.serve:command", "Answer over HTTP: an API and a page.")
COMMANDS.add("study", "sortal.cli.study:command", "Train variants over seeds, compare them on one page.")
COMMANDS.add("export", "sortal.cli.export:command", "Write a model for another runtime, proved.")
COMMANDS.add("models", "sortal.cli.models:command", "List network architectures, or describe one.")
COMMANDS.add("recipes", "sortal.cli.recipes:command", "List preset recipes, or print one as TOML.")
COMMANDS.add("data", "sortal.cli.data:command", "List standard data sets, or make one readable.")
COMMANDS.add("cache", "sortal.cli.cache:command", "Show what is stored on disk, or clear it.")
COMMANDS.add("demo", "sortal.cli.demo:command", "Train on the embedded sample, end to end.")
COMMANDS.add("completion", "sortal.cli.completion:command", "Print the completion script of a shell.")

COMPLETE = "_SORTAL_COMPLETE"
"""Set by completion scripts when they ask which words may come next."""


class Table(click.Group):
    """A group whose commands stand in `COMMANDS`; its help is made from the table alone."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return cast(click.Command, COMMANDS[cmd_name].load()) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-") and not ctx.resilient_parsing:
            COMMANDS[args[0]]  # raises UnknownName with the nearest names
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(entry.name, entry.about) for entry in COMMANDS])


@click.group(
    cls=Table,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done; 1 a check failed or some images could not be used; 2 a mistake in what was given, "
    "nothing was done; 3 the machine failed, or sortal did; 130 interrupted.",
)
@click.version_option(package_name="sortal", message="%(prog)s %(version)s")
@click.pass_context
def program(ctx: click.Context) -> None:
    """From labelled images to a trained, honestly measured classifier.

    Start with `sortal train FOLDER`, where FOLDER holds one folder of images for each class, or with `sortal demo`.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; what goes wrong is told on standard error."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if COMPLETE in os.environ:
        from click.shell_completion import shell_complete

        return shell_complete(program, {}, "sortal", COMPLETE, os.environ[COMPLETE])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except BaseException as error:
        if isinstance(error, BrokenPipeError) and reader_is_gone():
            return 1
        return tell(error, as_json="--json" in words)


def _run(words: list[str]) -> int:
    try:
        with program.make_context("sortal", words) as context:
            program.invoke(context)
        return 0
    except click.exceptions.Exit as done:
        return done.exit_code


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


if __name__ == "__main__":
    sys.exit(main())

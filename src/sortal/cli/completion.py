"""`sortal completion SHELL`: the script that makes the Tab key know sortal."""

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash   echo 'eval "$(sortal completion bash)"' >> ~/.bashrc
    zsh    echo 'eval "$(sortal completion zsh)"' >> ~/.zshrc
    fish   sortal completion fish > ~/.config/fish/completions/sortal.fish
    """
    from click.shell_completion import get_completion_class

    from sortal.cli.main import COMPLETE, program

    complete = get_completion_class(shell)
    assert complete is not None, shell
    # click's source() starts bash to learn its version; the script itself needs no shell at hand.
    script = complete(program, {}, "sortal", COMPLETE)
    click.echo(script.source_template % script.source_vars())

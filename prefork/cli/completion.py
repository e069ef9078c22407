"""``prefork completion``: teach a shell to complete our command line."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what SHELL runs to complete commands, flags, and the names of what runs.

    \b
    eval "$(prefork completion bash)"       in ~/.bashrc
    eval "$(prefork completion zsh)"        in ~/.zshrc, behind compinit
    prefork completion fish > ~/.config/fish/completions/prefork.fish
    """
    click.echo(script(context.find_root().command, shell))


def script(root: click.Command, shell: str) -> str:
    """What SHELL runs, to complete ``root``."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(root, {}, "prefork", "_PREFORK_COMPLETE").source()

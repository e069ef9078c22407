"""``docs/cli.md``: every command with its own help, as ``prefork COMMAND --help`` prints it.

Invariant: what stands here was printed by the command, but for flags that it shares with ``prefork run``.
"""

import copy

import click

from prefork.cli import COMMANDS, cli
from prefork.cli.run import run
from prefork.system.sockets import DEFAULT_BACKLOG

WIDTH = 80


def of_all(_: str) -> str:
    return "\n\n".join(_section(name) for name in COMMANDS)


def help_of(command: click.Command, name: str) -> str:
    """As on a terminal of 80 columns, whatever the one of whoever asks."""
    command = copy.copy(command)
    command._help_option = None  # click keeps the one of whoever asked first, who may have had no parent
    context = click.Context(command, parent=program(), info_name=name, terminal_width=WIDTH)
    text = command.get_help(context).replace(f"[default: {DEFAULT_BACKLOG}]", "[default: 2048]")  # the kernel's limit
    return "\n".join(line.rstrip() for line in text.splitlines())


def program() -> click.Context:
    """What a command is called by."""
    return click.Context(cli, info_name="prefork", terminal_width=WIDTH, **cli.context_settings)


def command_of(name: str) -> click.Command:
    """:raises AssertionError: there is none of that name."""
    command = cli.get_command(program(), name)
    assert command is not None, f"there is no prefork {name}"
    return command


def _section(name: str) -> str:
    command = command_of(name)
    shared = {option.name for option in run.params}
    own = [option for option in command.params if option.name not in shared]
    note = ""
    if command is not run and len(command.params) - len(own) > len(own) + 1:  # it takes what `run` takes
        command = copy.copy(command)
        command.params = own
        note = "\n\nAnd the target and the flags of [`prefork run`](#prefork-run)."
    return f"## prefork {name}\n\n```text\n{help_of(command, name)}\n```{note}"

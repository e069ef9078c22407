"""The command ``prefork``: one file a command, imported when it is used.

So whoever steers a master need not wait for the master's code, nor have it in order: ``prefork upgrade`` is of the new
installation, and has to tell what is wrong with it. It must not know what a command does.
Invariant: what a user does wrong is one line on standard error and an exit code.
"""

import sys
from importlib import import_module
from typing import Any

import click

from prefork import __version__
from prefork.errors import Exit, PreforkError
from prefork.system import stdio

COMMANDS = (
    "run",
    "init",
    "check",
    "doctor",
    "status",
    "health",
    "top",
    "reload",
    "upgrade",
    "refork",
    "scale",
    "recycle",
    "pause",
    "resume",
    "events",
    "dump",
    "reopen-logs",
    "log-level",
    "stop",
    "load",
    "compare",
    "tune",
    "plan",
    "completion",
)


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = name.replace("-", "_")
        command: click.Command = getattr(import_module(f"prefork.cli.{module}"), module)
        return command

    def invoke(self, context: click.Context) -> Any:
        """^C is no error, also while a command is still being imported."""
        try:
            return super().invoke(context)
        except KeyboardInterrupt:
            sys.exit(Exit.INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="prefork", message="%(prog)s %(version)s")
def cli() -> None:
    """Run synchronous network services in production."""


def main(**kwargs: Any) -> None:
    """The entry point. Errors of a user's making become one line and their exit code."""
    stdio.hold_numbers()
    stdio.guard()
    try:
        cli(**kwargs)
    except PreforkError as error:
        level = "<3>" if stdio.is_journal(stdio.ERROR) else ""  # for journald it is an error then, sd-daemon(3)
        print(f"{level}prefork: {error}", file=sys.stderr)
        sys.exit(error.exit_code)

"""``prefork run``: from the command line to a running master."""

import sys
from collections.abc import Callable
from typing import Any

import click

from prefork.config.settings import DEFAULT_WORKERS, Instance
from prefork.config.sources import from_command_line, read_file
from prefork.errors import UsageError
from prefork.master.loop import run as run_master
from prefork.system.logfile import LEVELS
from prefork.system.sockets import DEFAULT_BACKLOG

_INSTANCE = ("name", "log_file", "log_level")


def _flag(*names: str, metavar: str, text: str, default: str = "", multiple: bool = False) -> Callable[[Any], Any]:
    """A flag whose value is checked with all other settings, in ``prefork/config``."""
    shown = f"{text}  [default: {default}]" if default else text
    return click.option(*names, metavar=metavar, help=shown, multiple=multiple)


@click.command()
@click.argument("target", required=False)
@_flag("-c", "--config", metavar="FILE", text="Read services from this prefork.toml instead of the command line.")
@_flag(
    "-b", "--bind", metavar="URL", text="Listen here: tcp://, udp://, unix: or unixgram:; repeatable.", multiple=True
)
@_flag("-w", "--workers", metavar="N", text="Worker processes.", default=str(DEFAULT_WORKERS))
@_flag("-n", "--name", metavar="NAME", text="Name of the instance; a second one of that name is refused.")
@_flag("--balance", metavar="WAY", text="Idle workers get clients the warmest first, or even.", default="warm")
@_flag("--backlog", metavar="N", text="Connections the kernel may queue.", default=str(DEFAULT_BACKLOG))
@click.option("--preload/--no-preload", default=None, help="Import once, or in each worker.  [default: preload]")
@_flag("--graceful-timeout", metavar="TIME", text="What a leaving worker has to finish its request.", default="30s")
@_flag("--quick-timeout", metavar="TIME", text="What a quick stop leaves.", default="1s")
@_flag("--boot-timeout", metavar="TIME", text="What loading and starting may take.", default="60s")
@_flag("--request-hard", metavar="TIME", text="Kill a worker whose request takes longer.", default="never")
@_flag("--max-requests", metavar="N", text="Replace a worker after as many requests.", default="never")
@_flag("--max-requests-jitter", metavar="N", text="Add up to as many to that, at random for each worker.")
@_flag("--chdir", metavar="DIR", text="Change to this directory before loading.")
@_flag("--pythonpath", metavar="DIRS", text="Directories to import from first, separated by commas.")
@_flag("--log-file", metavar="FILE", text="Append the log to this file.", default="standard error")
@_flag("--log-level", metavar="LEVEL", text=f"One of {', '.join(LEVELS)}.", default="info")
def run(target: str | None, config: str | None, **flags: Any) -> None:
    """Serve TARGET, the MODULE:CLASS of a request handler, by a master and its preforked workers.

    \b
    prefork run mymodule:Handler --bind tcp://0.0.0.0:9000 --workers 8
    prefork run -c prefork.toml
    """
    given = {name: value for name, value in flags.items() if value is not None and value != ()}

    def read() -> Instance:
        if config is not None:
            return _read_file(config, target, given)
        if target is None:
            raise UsageError("nothing to run; give a TARGET as mymodule:Handler, or a file with -c")
        instance = {name: given[name] for name in _INSTANCE if name in given}
        service = {name: value for name, value in given.items() if name not in _INSTANCE}
        if "pythonpath" in service:
            service["pythonpath"] = [path for path in service["pythonpath"].split(",") if path]
        return from_command_line(target, service, instance)

    sys.exit(run_master(read(), read))


def _read_file(config: str, target: str | None, given: dict[str, Any]) -> Instance:
    if target is not None or given:
        surplus = target if target is not None else f"--{next(iter(given)).replace('_', '-')}"
        raise UsageError(f"{surplus} does not go with -c {config}; write it into the file")
    return read_file(config)

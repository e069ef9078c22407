"""The flags of ``prefork run``, for that command and all that want to know what it would run; and what they say.

It must not know the master: who only asks what would run need not wait for its code.
Invariant: no value is checked here; that is done with all other settings, in ``prefork/config``.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import click

from prefork.cli.completing import Complete, directories, files, words
from prefork.config.logs import DEFAULT_SYSLOG
from prefork.config.service import DEFAULT_CHILDREN, DEFAULT_THREADS, DEFAULT_WORKERS, MODES
from prefork.config.sources import Read, read
from prefork.system.logline import FORMATS
from prefork.system.logs import LEVELS, PLACES

_COMPLETE: dict[str, Complete] = {
    "FILE": files,
    "PATH": files,
    "DIR": directories,
    "LEVEL": words(*LEVELS),
    "MODE": words(*MODES),
}


def _flag(
    *names: str,
    metavar: str,
    text: str,
    default: str = "",
    multiple: bool = False,
) -> Callable[[Any], Any]:
    """A flag whose value is checked with all other settings, in ``prefork/config``."""
    shown = f"{text}  [default: {default}]" if default else text
    known = _COMPLETE.get(metavar)
    return click.option(*names, metavar=metavar, help=shown, multiple=multiple, shell_complete=known)


_SOURCES = (
    _flag("-c", "--config", metavar="FILE", text="Read services from this prefork.toml."),
    _flag(
        "-b",
        "--bind",
        metavar="URL",
        text="Listen here: tcp:, udp:, unix:, unixgram:, systemd:, fd:; repeatable. none: the server brings its work.",
        multiple=True,
    ),
    _flag("--handler", metavar="MODULE:CLASS", text="The request handler of a server class that wants one."),
    _flag("--mode", metavar="MODE", text=f"One of {', '.join(MODES)}.", default="as the target's class says"),
    _flag(
        "-w",
        "--workers",
        metavar="N",
        text="Worker processes; auto: by the CPUs we may use.",
        default=str(DEFAULT_WORKERS),
    ),
    _flag("--max-workers", metavar="N", text="Size the pool by its load, up to as many workers."),
    _flag("--min-workers", metavar="N", text="And at least as many; 0 starts them on demand.", default="1"),
    _flag("--min-spare", metavar="N", text="Idle workers that a sized pool keeps ready.", default="1"),
    _flag("--max-spare", metavar="N", text="Idle workers it keeps at most.", default="min-spare + 2"),
    _flag("--worker-idle-timeout", metavar="TIME", text="Keep workers not needed for so long.", default="10s"),
    _flag("--memory-budget", metavar="SIZE", text="Grow only while all workers need no more memory, as 2GiB."),
    _flag("--concurrency", metavar="WAY", text="How a worker handles requests: sync, thread or fork."),
    _flag("--threads", metavar="N", text="Requests at a time in a worker with threads.", default=str(DEFAULT_THREADS)),
    _flag("--children", metavar="N", text="Requests at a time in a worker that forks.", default=str(DEFAULT_CHILDREN)),
    _flag("-n", "--name", metavar="NAME", text="Name of the instance; a second one of that name is refused."),
    _flag("--balance", metavar="WAY", text="Idle workers get clients the warmest first, or even.", default="warm"),
    _flag("--backlog", metavar="N", text="Connections the kernel may queue.", default="2048, if somaxconn allows"),
    click.option("--preload/--no-preload", default=None, help="Import once, or in each worker.  [default: preload]"),
    _flag("--graceful-timeout", metavar="TIME", text="What a leaving worker has to finish its request.", default="30s"),
    _flag("--quick-timeout", metavar="TIME", text="What a quick stop leaves.", default="1s"),
    _flag("--boot-timeout", metavar="TIME", text="What loading and starting may take.", default="60s"),
    _flag("--probation", metavar="TIME", text="Go back if workers crash so soon after a reload.", default="none"),
    _flag("--timeout", metavar="TIME", text="Interrupt a request that takes longer.", default="never"),
    _flag("--on-timeout", metavar="WAY", text="retire or keep a worker after that.", default="retire"),
    _flag("--request-slow", metavar="TIME", text="Log where a request is that takes longer.", default="never"),
    _flag(
        "--request-hard",
        metavar="TIME",
        text="Kill a worker whose request takes longer.",
        default="never, or 5s after the timeout",
    ),
    _flag("--idle-timeout", metavar="TIME", text="End a connection whose client is silent as long.", default="never"),
    _flag("--keepalive", metavar="TIME", text="Probe TCP clients that are silent as long.", default="never"),
    _flag("--max-requests", metavar="N", text="Replace a worker after as many requests.", default="never"),
    _flag("--max-requests-jitter", metavar="N", text="Add up to as many to that, at random for each worker."),
    _flag("--refork-after", metavar="N", text="Let a worker that served as many be the next mold.", default="never"),
    _flag("--emergency-crashes", metavar="N", text="Load fresh code after as many deaths by signal.", default="never"),
    _flag("--emergency-window", metavar="TIME", text="Within as long.", default="1m"),
    _flag("--max-failures", metavar="N", text="Give the service up after as many failures in a row.", default="never"),
    _flag("--max-age", metavar="TIME", text="Replace a worker that has served as long.", default="never"),
    _flag("--max-age-jitter", metavar="TIME", text="Add up to as much to that, at random for each worker."),
    _flag("--memory-soft", metavar="SIZE", text="Replace a worker that uses more, as 300MiB.", default="never"),
    _flag("--memory-hard", metavar="SIZE", text="Kill a worker that uses more.", default="never"),
    _flag("--memory-measure", metavar="WAY", text="uss, what a worker has alone, or pss, with shares.", default="uss"),
    _flag("--max-surge", metavar="N", text="Replace at most as many at a time.", default="a quarter of the workers"),
    _flag("--chdir", metavar="DIR", text="Change to this directory before loading."),
    _flag("--pythonpath", metavar="DIRS", text="Directories to import from first, separated by commas."),
    _flag("--worker-start", metavar="MODULE:FUNCTION", text="Call this in each worker before its first request."),
    _flag("--worker-stop", metavar="MODULE:FUNCTION", text="Call this in each worker after its last request."),
    _flag("--health", metavar="MODULE:FUNCTION", text="Ask this in each new worker; False or an error: it is no good."),
    _flag("--titles", metavar="WAY", text="What ps says of a worker: request, state or none.", default="request"),
    _flag("-u", "--user", metavar="USER", text="Become this user in molds and workers, before anything is imported."),
    _flag("-g", "--group", metavar="GROUP", text="And this group.", default="the user's"),
    _flag("-m", "--umask", metavar="BITS", text="Permissions that new files never get, as 027.", default="ours"),
    _flag("--chroot", metavar="DIR", text="Make this directory the root, once the application is built."),
    _flag("--rlimits", metavar="LIMITS", text="Limits by name, as nofile=4096,core=0:unlimited."),
    click.option("--no-new-privs/--new-privs", default=None, help="No program gains privileges.  [default: new-privs]"),
    _flag("--nice", metavar="N", text="The nice value, -20 to 19.", default="ours"),
    _flag("--cpu-affinity", metavar="SETS", text="CPUs by slot: each, or sets as '0-3 4-7'.", default="all of them"),
    _flag("--on-ready", metavar="COMMAND", text="Run this once the service is ready."),
    _flag("--on-reload", metavar="COMMAND", text="Run this when a reload has ended, well or not."),
    _flag("--on-failed", metavar="COMMAND", text="Run this when the service is given up."),
    _flag("--command-timeout", metavar="TIME", text="Kill such a command if it takes longer.", default="30s"),
    _flag("--control", metavar="PATH", text="The control socket, or none.", default="found by the name"),
    _flag("--admin", metavar="URL", text="Serve metrics, health and a live page here, as tcp://127.0.0.1:9190."),
    _flag("-p", "--pid", metavar="FILE", text="Write the master's pid here, and hold a lock on it.", default="nowhere"),
    _flag("--log-file", metavar="FILE", text="Append the log to this file.", default="standard error"),
    _flag("--log-level", metavar="LEVEL", text=f"One of {', '.join(LEVELS)}.", default="info"),
    _flag("--log-format", metavar="FORMAT", text=f"Of its lines: {' or '.join(FORMATS)}.", default="console"),
    _flag("--log-to", metavar="PLACE", text=f"Where it goes without a file: {', '.join(PLACES)}.", default="stderr"),
    _flag("--log-syslog-to", metavar="URL", text="Syslog, as udp://10.0.0.7:514.", default=DEFAULT_SYSLOG),
    _flag("--log-syslog-facility", metavar="NAME", text="What syslog calls us.", default="user"),
    _flag("--access-log", metavar="FILE", text="A line a request, into this file; log: into the log.", default="none"),
    click.option(
        "--capture-output/--no-capture-output",
        default=None,
        help="Make records of what workers print.  [default: no-capture-output]",
    ),
)


def sources(command: Callable[..., None]) -> Callable[..., None]:
    """The target and all flags that say what runs, in front of a command."""
    return click.argument("target", required=False)(source_flags(command))


def source_flags(command: Callable[..., None]) -> Callable[..., None]:
    """All flags that say what runs, in front of a command."""
    for option in reversed(_SOURCES):
        command = option(command)
    return command


def read_sources(target: str | None, config: str | None, flags: Mapping[str, Any]) -> Read:
    """What file, environment and command line say now.

    :raises UsageError: one of them is wrong.
    """
    given = {name: value for name, value in flags.items() if value is not None and value != ()}
    return read(config, target, given, os.environ)

"""What commands of the lab share that start a target: what it is and what it is sent, also where a built-in workload
says both; and the arguments after ``--``, which are those of ``prefork run``.

They are checked as ``prefork run`` would, before anything starts. It must not know what is measured.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from types import MappingProxyType
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem
from msgspec.structs import replace

from prefork.cli.completing import words
from prefork.cli.completing_running import services
from prefork.cli.lab_flags import FLAG_NAMES, load_of
from prefork.cli.run_flags import sources
from prefork.config.sources import read
from prefork.errors import UsageError
from prefork.lab.load import Load

_OF_ANY_LOAD = ("timeout", "processes", "seed")  # of the flags of a load, those that a workload leaves open
_EXTRA = "prefork.lab.extra"  # in the context of click
_MEASURED = ("bind", "workers", "mode", "concurrency", "min_workers", "max_workers", "min_spare", "max_spare")
_LAB = ("config", "name", "control", "log_file", "log_format", "log_to")


class Chosen(NamedTuple):
    """What is served and what it is sent.

    :param title: the target, or the workload with its parameter.
    :param teaches: what one can learn of a workload; empty for a target.
    """

    title: str
    teaches: str
    target: str
    load: Load


class Running(NamedTuple):
    """What is said after ``--``; as of ``Subject.start``.

    :param extra: all of it, as it was written; ``settings`` are the values it sets, by name.
    """

    handler: str = ""
    children: int | None = None
    chdir: str = ""
    pythonpath: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    settings: Mapping[str, Any] = MappingProxyType({})


class RunsTarget(click.Command):
    """A command whose arguments after ``--`` are for ``prefork run``."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        before, after = (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
        context.meta[_EXTRA] = tuple(after)
        return super().parse_args(context, before)


def targets(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Workloads for the shell's completion; with ``--live`` the services of what runs."""
    if context.params.get("live"):
        return services(context, parameter, incomplete)
    from prefork.lab.workloads import NAMES

    return words(*NAMES)(context, parameter, incomplete)


def chosen(title: str, bind: str, flags: Mapping[str, Any]) -> Chosen:
    """:param title: a target, or a workload as ``cpu=2ms``.
    :param flags: those of a load are looked at.
    :raises UsageError: one of them is wrong, or is nothing for it; or there is no such workload.
    """
    load = load_of(bind, flags)
    _check(load)
    if ":" in title:
        return Chosen(title, "", title, load)
    for name in FLAG_NAMES:
        if flags[name] not in (None, (), False) and name not in _OF_ANY_LOAD:
            remedy = "leave it out, or give a TARGET"
            raise UsageError(f"{_flag(name)}: the workload {title} says itself what is sent; {remedy}")
    from prefork.lab.workloads import workload

    found = workload(title)
    target, template = found.fit(bind)
    load = replace(template, **{name: getattr(load, name) for name in _OF_ANY_LOAD})
    return Chosen(found.title, found.teaches, target, load)


def _check(load: Load) -> None:
    """Before anything is started. How many clients there are is said later.

    :raises UsageError: it cannot be sent.
    """
    from prefork.lab.load_checks import check
    from prefork.lab.talk import script_of

    check(replace(load, clients=max(load.clients, load.processes)))
    if load.script:
        with redirect_stdout(sys.stderr):  # a script may print when it is loaded
            script_of(load.script)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


@click.command("run")
@sources
def _run(**given: Any) -> None:
    """What is said to ``prefork run``, to be read and not to be run."""


def extra_arguments() -> Sequence[str]:
    """What was said after ``--`` of this command."""
    said: Sequence[str] = click.get_current_context().meta[_EXTRA]
    return said


def running(target: str, bind: str) -> Running:
    """What was said after ``--`` of this command, checked together with its target.

    :raises UsageError: it is wrong, or is said before ``--``.
    """
    extra = extra_arguments()
    try:  # nobody asks for help here
        given: dict[str, Any] = _run.make_context("run", [target, *extra], help_option_names=[]).params
    except click.UsageError as error:
        why = error.format_message().rstrip(".?")
        raise UsageError(
            f"after --: {why[:1].lower()}{why[1:]}; see prefork run --help for what may stand there"
        ) from None
    given = {name: value for name, value in given.items() if value not in (None, ()) and name != "target"}
    for name in given:
        if name in _MEASURED:
            raise UsageError(
                f"after --: {_flag(name)} is what is measured; give it before --, where it has another form"
            )
        if name in _LAB:
            raise UsageError(f"after --: {_flag(name)} is chosen for each start; leave it out")
    place = [f"{bind}lab" if bind in ("unix:", "unixgram:") else bind]
    instance = read(None, target, {**given, "bind": place}, {}).instance
    service = next(iter(instance.service.values()))
    children = service.children if "children" in given else None
    settings = {name: getattr(service if hasattr(service, name) else instance, name) for name in given}
    return Running(service.handler, children, service.chdir, service.pythonpath, tuple(extra), settings)

"""``prefork compare``: one target in several modes, with figures, and with what to doubt of them."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.core import ParameterSource
from msgspec.structs import replace

from prefork.cli.compared import FLAGS, Outputs, Saving, outputs_of, read_saved, show
from prefork.cli.completing import files, lists
from prefork.cli.lab_flags import load_flags, needs_lab
from prefork.cli.lab_flags import seconds as seconds_of
from prefork.cli.lab_signals import ends_in_order
from prefork.cli.lab_steps import CountedSteps
from prefork.cli.lab_target import RunsTarget, chosen, extra_arguments, running, targets
from prefork.config.service import MOST_WORKERS
from prefork.errors import CommandError, Exit, UsageError
from prefork.lab.load import MOST_CLIENTS
from prefork.lab.subjects import DEFAULT_BIND, LINES
from prefork.lab.winning import LEAST_ROUNDS
from prefork.report.units import age
from prefork.system import cpus

if TYPE_CHECKING:
    from prefork.lab.rounds import Plan


class Depth(NamedTuple):
    """How much is measured where nothing is said."""

    workers: str
    clients: str
    rounds: int
    duration: str
    warm_up: str
    lines: tuple[str, ...] = LINES


FULL = Depth("2,4,8", "1,8,64", LEAST_ROUNDS, "2s", "500ms")
_OF_ALL = tuple(line for line in LINES if not line.startswith("stdlib"))
SHORT = Depth("4", "1,16", LEAST_ROUNDS, "400ms", "100ms", _OF_ALL)  # of all workloads, one after the other


@click.command(cls=RunsTarget)
@click.argument("target", required=False, metavar="[TARGET] [-- FLAGS OF prefork run]", shell_complete=targets)
@click.option("-b", "--bind", metavar="URL", default=DEFAULT_BIND, help=f"Serve here.  [default: {DEFAULT_BIND}]")
@click.option(
    "--lines",
    "--modes",
    metavar="NAMES",
    shell_complete=lists(*LINES),
    help=f"What to compare, of {', '.join(LINES)}.  [default: all; without TARGET those before stdlib-sync]",
)
@click.option(
    "-w", "--workers", metavar="NUMBERS", help=f"Of prefork, hybrid and bare, each.  [default: {FULL.workers}]"
)
@click.option("-c", "--clients", metavar="NUMBERS", help=f"Requests at a time, each.  [default: {FULL.clients}]")
@click.option("--rounds", metavar="N", type=click.IntRange(1), help=f"Measure each as often.  [default: {FULL.rounds}]")
@click.option("-d", "--duration", metavar="TIME", help=f"For as long each time.  [default: {FULL.duration}]")
@click.option("--warm-up", metavar="TIME", help=f"After as long, not counted.  [default: {FULL.warm_up}]")
@load_flags("half of the CPUs")
@click.option("--json", "as_json", metavar="FILE", shell_complete=files, help="Save it after each run; -: print it.")
@click.option("--csv", "as_csv", metavar="FILE", shell_complete=files, help="Write a row for each round of each cell.")
@click.option("--markdown", "as_markdown", metavar="FILE", shell_complete=files, help="Write a page of Markdown.")
@click.option("--html", "as_html", metavar="FILE", shell_complete=files, help="Write a page with pictures.")
@click.option("--from", "saved", metavar="FILE", shell_complete=files, help="Measure nothing: show what --json saved.")
@ends_in_order
def compare(target: str | None, **flags: Any) -> None:
    """Compare ways to run TARGET: modes, numbers of workers, and references without a master.

    TARGET is MODULE:NAME as of prefork run, or a workload: echo, cpu=2ms, wait=20ms, mixed, slow-client. Without it all
    workloads are compared, in short. What follows -- goes to prefork run.

    \b
    prefork compare cpu=2ms --workers 2,4 --clients 1,16
    prefork compare shop:Handler --send 'hello\\n' --reply line --html shop.html -- --threads 8
    """
    needs_lab("compare")
    if flags["saved"] is not None:
        if target is not None:
            raise UsageError(f"--from: what was saved has its target; leave {target} out")
        _refuse_measuring()
        failed = show(read_saved(flags["saved"]), outputs_of(flags))
    else:
        failed = _compare(target, flags)
    if failed:
        raise CommandError("; ".join(failed))


def _compare(target: str | None, flags: Mapping[str, Any]) -> list[str]:
    """:returns: why files could not be written."""
    from prefork.lab.workloads import NAMES

    titles, depth = ([target], FULL) if target is not None else (NAMES, SHORT)
    plans = [_plan(title, depth, flags) for title in titles]
    outputs = [outputs_of(flags, plan.title if len(plans) > 1 else "") for plan in plans]
    cells, rounds = sum(len(plan.cells) for plan in plans), plans[0].rounds
    many = f"{cells} cell{'s' * (cells != 1)} in {rounds} round{'s' * (rounds != 1)}"
    click.echo(f"{many}: about {age(sum(plan.seconds for plan in plans))}", err=True)
    return [why for plan, paths in zip(plans, outputs, strict=True) for why in _run(plan, paths)]


# what is compared


def _plan(title: str, depth: Depth, flags: Mapping[str, Any]) -> "Plan":
    """:raises UsageError: an argument is wrong."""
    from prefork.lab.rounds import Plan

    bind = flags["bind"]
    title, teaches, target, load = chosen(title, bind, flags)
    if flags["processes"] is None:  # the other half is the service's
        load = replace(load, processes=max(1, int(cpus.usable().amount / 2)))
    run = running(target, bind)
    duration, warm_up = (flags[name] or getattr(depth, name) for name in ("duration", "warm_up"))
    workers, clients = (flags[name] or getattr(depth, name) for name in ("workers", "clients"))
    rounds = flags["rounds"] or depth.rounds
    lines = depth.lines if flags["lines"] is None else _lines(flags["lines"])
    said = {"bind": bind, "lines": ",".join(lines), "workers": workers, "clients": clients, "rounds": rounds}
    said |= {"duration": duration, "warm-up": warm_up, "processes": load.processes, "seed": load.seed}
    return Plan(
        title=_printable(title),
        teaches=teaches,
        command=_command(title, said, run.extra),
        target=target,
        load=load,
        lines=lines,
        workers=_numbers("--workers", workers, MOST_WORKERS),
        clients=_numbers("--clients", clients, MOST_CLIENTS),
        rounds=rounds,
        duration=_some_time("--duration", duration),
        warm_up=float(seconds_of("--warm-up", warm_up) or 0.0),
        seed=load.seed,
        bind=bind,
        handler=run.handler,
        children=run.children,
        chdir=run.chdir,
        pythonpath=run.pythonpath,
        extra=run.extra,
    )


def _lines(text: str) -> tuple[str, ...]:
    lines = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for line in lines:
        if line not in LINES:
            raise UsageError(f"--lines: there is no {line!r}; there is {', '.join(LINES)}")
    if not lines:
        raise UsageError(f"--lines: there is none in {text!r}; there is {', '.join(LINES)}")
    return lines


def _numbers(flag: str, text: str, most: int) -> tuple[int, ...]:
    """Some, in the order of their size."""
    parts = {part.strip() for part in text.split(",")}
    if not all(part.isascii() and part.isdecimal() and len(part) < 10 and 1 <= int(part) <= most for part in parts):
        raise UsageError(f"{flag}: {text!r} is no list of numbers from 1 to {most}; write it as 2,4,8")
    return tuple(sorted(map(int, parts)))


def _some_time(flag: str, text: str) -> float:
    found = seconds_of(flag, text)
    if not found:
        raise UsageError(f"{flag}: nothing can be measured in no time; write it as 2s")
    return float(found)


def _command(title: str, said: Mapping[str, object], extra: Sequence[str]) -> str:
    """That measures it again, whatever will be the default by then."""
    context = click.get_current_context()
    spoken = ["prefork", "compare", title]
    for name, flag in _given_to_measure():
        value = context.params[name]
        if name.replace("_", "-") not in said:
            spoken += [f"{flag}={one}" for one in (value if type(value) is tuple else (value,))]
    spoken += [f"--{flag}={value}" for flag, value in said.items()]
    return _printable(shlex.join([*spoken, *(["--", *extra] if extra else [])]))


def _printable(command: str) -> str:
    r"""Bytes that are no UTF-8 as ``\xff``, which flags that take bytes read as such."""
    return command.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _given_to_measure() -> Iterator[tuple[str, str]]:
    """Names and flags of what was said of how to measure."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        is_given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if is_given and name not in ("target", "saved", *FLAGS):
            yield name, next(one for one in parameter.opts if one.startswith("--"))


def _refuse_measuring() -> None:
    """:raises UsageError: something was said of how to measure."""
    said = [flag for _, flag in _given_to_measure()] or ["after --"] * bool(extra_arguments())
    if said:
        raise UsageError(f"{said[0]}: this is for measuring; --from only shows what was saved, leave it out")


# measuring


def _run(plan: "Plan", outputs: Outputs) -> list[str]:
    """Measure, save, print. What was measured before an interruption is printed before it ends us.

    :returns: why files could not be written.
    :raises PreforkError: nothing could be measured.
    """
    from prefork.lab.rounds import Rounds, shown

    with CountedSteps(len(plan.cells) * plan.rounds) as steps:
        rounds = Rounds(
            plan,
            lambda number, cell: steps.begin(f"round {number}: {plan.title}, {shown(cell)}"),
            Saving(outputs).save,
        )
        try:
            rounds.run()
            is_interrupted = False
        except KeyboardInterrupt:
            is_interrupted = True
    comparison = rounds.comparison()
    failed = show(comparison, outputs) if comparison.cells else []
    if is_interrupted:
        for why in failed:
            click.echo(f"prefork: {why}", err=True)
        click.echo(
            "interrupted; what was measured until then is above" if comparison.cells else "interrupted", err=True
        )
        sys.exit(Exit.INTERRUPTED)
    return failed

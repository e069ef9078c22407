"""``prefork tune``: how many workers, by measuring a target, or from what a running service does."""

import shlex
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

from prefork.cli.completing import files, words
from prefork.cli.completing_running import instances
from prefork.cli.lab_flags import FLAG_NAMES, load_flags, needs_lab
from prefork.cli.lab_flags import seconds as seconds_of
from prefork.cli.lab_signals import Stop, asked_to_stop, ends_in_order
from prefork.cli.lab_steps import TimedSteps
from prefork.cli.lab_target import RunsTarget, chosen, running, targets
from prefork.cli.tuned import check_outputs, show
from prefork.config.service import DEFAULT_THREADS, MOST_WORKERS
from prefork.config.units import parse_bytes
from prefork.errors import Exit, UsageError
from prefork.lab.goals import MEASURED, Goal, read_goals
from prefork.lab.subjects import DEFAULT_BIND
from prefork.report.units import age

if TYPE_CHECKING:
    from prefork.lab.bench import RealBench
    from prefork.lab.tuner import Wish
    from prefork.lab.tuning import Limits

MODES = ("prefork", "hybrid")
DEFAULT_BUDGET = "2m"
DEFAULT_MOST = 256
_LEAST_BUDGET = 5.0  # seconds
_ONLY_MEASURED = ("mode", "threads", "bind", "rate", "max_workers", "budget", "rounds", "picture")
_ONLY_LIVE = ("name", "control", "window")


@click.command(cls=RunsTarget)
@click.argument("target", required=False, metavar="[TARGET] [-- FLAGS OF prefork run]", shell_complete=targets)
@click.option("--live", is_flag=True, help="Watch a running instance instead; TARGET is a service of it, or none.")
@click.option("-n", "--name", metavar="NAME", shell_complete=instances, help="With --live: the instance's name.")
@click.option("--control", metavar="PATH", shell_complete=files, help="With --live: its control socket.")
@click.option("--window", metavar="TIME", help="With --live: watch for as long.  [default: 60s]")
@click.option("-r", "--rate", metavar="N", type=float, help="Requests a second that are to be served.")
@click.option("--p50", metavar="TIME", help="Half of them within this.")
@click.option("--p90", metavar="TIME", help="Nine of ten.")
@click.option("--p99", metavar="TIME", help="Ninety-nine of a hundred.")
@click.option("--p999", metavar="TIME", help="All but one of a thousand.")
@click.option("--goal", "goals", metavar="PERCENTILE=TIME", multiple=True, help="The same, as p99=50ms; repeatable.")
@click.option("--mode", metavar="MODE", shell_complete=words(*MODES), help="prefork or hybrid.  [default: prefork]")
@click.option(
    "--threads", metavar="N", type=click.IntRange(1), help=f"Of a hybrid worker.  [default: {DEFAULT_THREADS}]"
)
@click.option("-b", "--bind", metavar="URL", help=f"Serve here while it is measured.  [default: {DEFAULT_BIND}]")
@click.option("--memory", metavar="SIZE", help="The service may use as much.  [default: the group's, or the machine's]")
@click.option(
    "--max-workers", metavar="N", type=click.IntRange(1), help=f"Think of no more.  [default: {DEFAULT_MOST}]"
)
@click.option("--budget", metavar="TIME", help=f"Be done by then.  [default: {DEFAULT_BUDGET}]")
@click.option("--rounds", metavar="N", type=click.IntRange(1, 20), help="Measure each count as often.  [default: 3]")
@load_flags()
@click.option("--picture", metavar="FILE", shell_complete=files, help="Draw it, as .svg or .png.")
@click.option("--save-profile", metavar="FILE", shell_complete=files, help="Keep what prefork plan needs.")
@click.option("--json", "as_json", metavar="FILE", shell_complete=files, help="Write all of it; -: print it.")
@ends_in_order
def tune(target: str | None, live: bool, **flags: Any) -> None:
    """Find how many workers TARGET needs, by measuring it; or, with --live, a service that runs.

    TARGET is MODULE:NAME as of prefork run, or a workload: echo, cpu=2ms, wait=20ms, mixed, slow-client. What follows
    -- goes to prefork run. Without --rate: as many as raise the throughput. With --rate and a goal: as few as meet it.

    \b
    prefork tune shop:Handler --send 'hello\\n' --reply line --rate 400 --p99 50ms
    prefork tune --live --name shop --window 5m
    """
    needs_lab("tune")
    check_outputs(flags)
    goals = read_goals({name: flags.pop(name) for name in MEASURED}, flags.pop("goals"))
    if live:
        measuring = (*_ONLY_MEASURED, *FLAG_NAMES)
        _refuse(flags, measuring, "this is for measuring a target; --live only watches, leave it out")
        from prefork.cli.tune_live import tune_live

        tune_live(target, goals, flags)
        return
    _refuse(flags, _ONLY_LIVE, "this is for watching what runs; give it with --live")
    if target is None:
        raise UsageError("TARGET: nothing was named to measure; give MODULE:NAME, a workload as cpu=2ms, or --live")
    _measure(target, goals, flags)


def _refuse(flags: Mapping[str, Any], names: Iterable[str], why: str) -> None:
    for name in names:
        if flags[name] not in (None, (), False):
            raise UsageError(f"--{name.replace('_', '-')}: {why}")


def _measure(title: str, goals: list[Goal], flags: Mapping[str, Any]) -> None:
    from prefork.lab.machine import this_machine
    from prefork.lab.tuner import Tuner

    limits = _limits(flags)
    with asked_to_stop() as stop:
        wish, bench, settings = _wished(title, goals, flags, stop)
        about = age(round(wish.budget))
        click.echo(f"{wish.title}: at most {about} ({limits.cpus_why}; memory: {limits.memory_why})", err=True)
        with TimedSteps(wish.budget) as steps:
            tuning = Tuner(wish, limits, this_machine(), bench, steps.say).run()
    show(tuning, settings, flags)
    if not tuning.is_whole:
        sys.exit(Exit.INTERRUPTED)
    if tuning.choice is None:
        sys.exit(Exit.REFUSED)


def limit_of_memory(text: str | None) -> tuple[int, str]:
    """Bytes, and what says so.

    :raises UsageError: it is no size.
    """
    from prefork.system import memorylimit

    if text is None:
        return memorylimit.usable()
    try:
        size = parse_bytes(text)
    except ValueError as error:
        raise UsageError(f"--memory: {error}") from None
    if not size:
        raise UsageError("--memory: nothing runs without any; give a size as 2GiB")
    return int(size), "--memory"  # a plain number, for a file


def _limits(flags: Mapping[str, Any]) -> "Limits":
    from prefork.lab.tuning import Limits
    from prefork.system import cpus

    usable = cpus.usable()
    memory, memory_why = limit_of_memory(flags["memory"])
    most = flags["max_workers"] or DEFAULT_MOST
    if most > MOST_WORKERS:
        raise UsageError(f"--max-workers: {most} is more than a service can have; give at most {MOST_WORKERS}")
    return Limits(cpus=usable.amount, cpus_why=usable.why, memory=memory, memory_why=memory_why, most=most)


def _wished(
    title: str, goals: list[Goal], flags: Mapping[str, Any], stop: Stop
) -> "tuple[Wish, RealBench, Mapping[str, Any]]":
    """What is to be found, and the bench that measures it; and settings of the service that were given.

    :raises UsageError: an argument is wrong.
    """
    from msgspec.structs import replace

    from prefork.lab.bench import RealBench, Service
    from prefork.lab.tuner import Wish

    asked, mode, bind = flags["rate"], flags["mode"] or "prefork", flags["bind"] or DEFAULT_BIND
    if goals and asked is None:
        raise UsageError(f"--{goals[0].name}: a goal is of a rate; give --rate, requests a second")
    if asked is not None and not 0 < asked < 1e6:
        raise UsageError(f"--rate: {asked:g} a second cannot be asked for; give a number such as 400")
    if mode not in MODES:
        raise UsageError(f"--mode: {mode!r} has no number of workers to find; it is {' or '.join(MODES)}")
    if flags["threads"] is not None and mode != "hybrid":
        raise UsageError("--threads: workers of prefork have none; give --mode hybrid")
    budget = seconds_of("--budget", flags["budget"] or DEFAULT_BUDGET) or 0.0
    if budget < _LEAST_BUDGET:
        raise UsageError(f"--budget: {budget:g} s is too short to measure anything; give at least {_LEAST_BUDGET:g}s")
    threads = (flags["threads"] or DEFAULT_THREADS) if mode == "hybrid" else None
    title, _, target, load = chosen(title, bind, flags)
    run = running(target, bind)
    service = Service(mode, target, bind, threads or 1, threads, run.handler, run.chdir, run.pythonpath, run.extra)
    patience = max([1.0, *(5 * goal.seconds for goal in goals)]) if goals else load.timeout
    wish = Wish(
        title=title,
        target=target,
        command=shlex.join(["prefork", *sys.argv[1:]]),
        mode=mode,
        at_once=threads or 1,
        rate=asked,
        goals=goals,
        budget=budget,
        rounds=flags["rounds"] or 3,
        seed=load.seed,
    )
    settings = {**({} if threads is None else {"threads": threads}), **run.settings}
    return wish, RealBench(service, lambda url: replace(load, url=url), patience, stop), settings

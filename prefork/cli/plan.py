"""``prefork plan``: from a profile, a rate and a goal, how many workers on how many machines."""

import sys
from typing import Any

import click

from prefork.cli.completing import files
from prefork.cli.lab_flags import STDOUT, needs_lab, seconds, write_file, write_json
from prefork.errors import CommandError, UsageError
from prefork.lab.goals import MEASURED, Goal, read_goals

INTERRUPTED = 130
PIPED_WIDTH = 120  # columns, where no terminal tells


@click.command()
@click.argument("profile", required=False, metavar="[PROFILE.json]", shell_complete=files)
@click.option("--rate", metavar="N", required=True, help="Requests a second, of all machines together.")
@click.option("--p50", metavar="TIME", help="What half of all requests may take; one goal is wanted.")
@click.option("--p90", metavar="TIME", help="What nine of ten may take.")
@click.option("--p99", metavar="TIME", help="What ninety-nine of a hundred may take.")
@click.option("--p999", metavar="TIME", help="What all but one of a thousand may take.")
@click.option(
    "--machine",
    "machines",
    metavar="SIZE",
    multiple=True,
    help="cpus=4,memory=8GiB and maybe price=0.2; repeatable.  [default: as in the profile]",
)
@click.option("--max-utilisation", metavar="SHARE", default="0.7", help="With all machines there.  [default: 0.7]")
@click.option("--spare", metavar="N", type=click.IntRange(0, 10_000), default=1, help="May fail.  [default: 1]")
@click.option("--rolling", metavar="N|N%", default="1", help="Are restarted at a time.  [default: 1]")
@click.option("--detect", metavar="TIME", default="2s", help="Until a failure is noticed.  [default: 2s]")
@click.option("--boot", metavar="TIME", help="From a start to the first reply.  [default: as in the profile]")
@click.option("--growth", metavar="N%", default="0%", help="Plan for so much more.  [default: 0%]")
@click.option(
    "--balancer",
    type=click.Choice(["random", "round-robin"]),
    default="random",
    help="How requests are shared out.  [default: random]",
)
@click.option("--workers-per-cpu", metavar="N", type=float, help="At most; nobody considers more than were seen.")
@click.option("--service-mean", metavar="TIME", help="Without a profile: what a request takes a worker, in the mean.")
@click.option("--service-scv", metavar="N", type=float, help="How much that varies; 0: not at all.  [default: 1]")
@click.option("--seed", metavar="N", type=click.IntRange(0), default=1, help="Of the simulation.  [default: 1]")
@click.option("--json", "as_json", metavar="FILE", shell_complete=files, help="Write all figures; - prints them.")
@click.option("--picture", metavar="FILE", shell_complete=files, help="Draw it, as .svg or .png.")
def plan(profile: str | None, **flags: Any) -> None:
    """Say how many workers on how many machines answer so many requests a second within a goal.

    From what prefork tune --save-profile has written; or on paper, from --service-mean, before there is anything to
    measure. Nothing is started and nothing is sent.

    \b
    prefork plan shop.json --rate 50000 --p99 50ms --machine cpus=4,memory=8GiB --machine cpus=16,memory=32GiB
    prefork plan --service-mean 20ms --service-scv 1 --rate 2000 --p99 100ms
    """
    needs_lab("plan")
    try:
        _plan(profile, flags)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _plan(path: str | None, flags: dict[str, Any]) -> None:
    from rich.console import Console

    from prefork.cli.plan_flags import read_machine, read_number, read_percent, read_rolling, read_utilisation
    from prefork.cli.plan_service import known_service
    from prefork.cli.tuned import check_outputs
    from prefork.lab import fleet_picture, ink, plan_text, planning
    from prefork.lab.sizing import Wish

    goal = _goal(flags)
    check_outputs(flags)
    picture = flags["picture"]
    today = read_number("--rate", flags["rate"])
    if not today:
        raise UsageError("--rate: nothing is asked of these machines; give requests a second, as 50000")
    wish = Wish(
        rate=today * (1 + read_percent("--growth", flags["growth"])),
        q=goal.share,
        goal=float(goal.seconds),
        utilisation=read_utilisation(flags["max_utilisation"]),
        spare=flags["spare"],
        rolling=read_rolling(flags["rolling"]),
        balancer=flags["balancer"],
    )
    known = known_service(path, flags)
    machines = [read_machine(text) for text in flags["machines"]] or [known.machine]
    if len({one.price is None for one in machines}) > 1:
        raise UsageError("--machine: some have a price and some have none; give all of them one, or none")
    found = planning.make(
        known.service,
        machines,
        wish,
        planning.Moments(
            detect=float(seconds("--detect", flags["detect"]) or 0.0),
            restart=known.service.boot_seconds + max(known.service.seconds),  # and before that it drains
        ),
        target=known.target,
        source=known.source,
        today=today,
        doubts=known.doubts,
        seed=flags["seed"],
    )
    if flags["as_json"]:
        write_json(flags["as_json"], found)
    if flags["as_json"] != STDOUT:
        width = None if sys.stdout.isatty() else PIPED_WIDTH
        Console(highlight=False, width=width).print(plan_text.terminal(found))
    if found.option is None:
        raise CommandError("there is no such plan; give larger machines, more time, or a lower rate")
    if picture:
        drawn = fleet_picture.draw(found)
        data = ink.as_png(drawn) if picture.endswith(".png") else None
        write_file("--picture", picture, data or ink.as_svg(drawn, fleet_picture.described(found), "plan").encode())


def _goal(flags: dict[str, Any]) -> Goal:
    goals = read_goals({name: flags.pop(name) for name in MEASURED}, ())
    if len(goals) != 1:
        raise UsageError(f"--p99: plan needs one goal, not {len(goals)}; give it as --p99 50ms")
    return goals[0]

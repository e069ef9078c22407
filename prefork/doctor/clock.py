"""Checks of clocks. It must not read anything. Read next: ``checks.py``, the order they are made in."""

from prefork.doctor.facts import Facts
from prefork.doctor.findings import Findings, fine, note
from prefork.report.units import age

_SLOW = 1e-6  # seconds a look: a clock that is read without a call of the kernel takes a tenth of it


def clock(facts: Facts) -> Findings:
    """What a look at the clock costs: several are taken a request."""
    cost, source = facts.number("clock cost"), facts.words.get("clocksource", "of unknown source")
    shown = f"{source}, {cost * 1e9:.0f} ns a look"
    if cost > _SLOW:
        why = "each request takes several looks; the kernel gave up the fast clock, dmesg says why"
        yield note(
            shown, why, "sudo dmesg | grep -i clocksource; cat /sys/devices/system/clocksource/*/available_clocksource"
        )
    else:
        yield fine(shown)


def time_of_day(facts: Facts) -> Findings:
    """Whether the time of day is kept right. Only log lines tell it: limits and deadlines go by the monotonic clock."""
    if facts.number("is synchronised"):
        yield fine("kept right; and no limit of ours depends on it")
    else:
        why = "lines of several machines cannot be put in order; limits and deadlines do not depend on it"
        yield note("nobody keeps it right", why, "timedatectl set-ntp true")


def sleep(facts: Facts) -> Findings:
    """Whether the machine sleeps: its monotonic clock, by which limits go, stands still meanwhile."""
    suspended = facts.number("suspended")
    if suspended > 1:
        why = "limits count the time awake, so they seem longer by as much; clients have given up meanwhile"
        yield note(
            f"slept for {age(suspended)} since its start", why, "sudo systemctl mask sleep.target suspend.target"
        )
    else:
        yield fine("it has not slept since its start")

"""The table and the pictures of ``docs/sizing.md``, made anew: ``make sizing``, a minute. Nothing here is random."""

import re
from pathlib import Path

from tests.sizing.days import DAYS, Day
from tests.sizing.outcome import SUPERVISORS, Outcome, spend
from tests.sizing.picture import Series, draw

PAGE = Path(__file__).parents[2] / "docs" / "sizing.md"
PICTURES = PAGE.parent / "sizing"
BEGIN, END = "<!-- made by `make sizing`: -->\n", "<!-- end -->\n"
DRAWN = ("ours", "Apache prefork", "php-fpm dynamic", "php-fpm ondemand")


def table(outcomes: dict[str, dict[str, Outcome]]) -> str:
    rows = ["| day | pool | mean wait | p99 | longest | worker-seconds | forks |", "|---|---|---|---|---|---|---|"]
    for day, by_name in outcomes.items():
        rows += [row(day if number == 0 else "", name, o) for number, (name, o) in enumerate(by_name.items())]
    return "\n".join(rows) + "\n"


def row(day: str, name: str, outcome: Outcome) -> str:
    waits = " | ".join(_time(seconds) for seconds in (outcome.mean, outcome.p99, outcome.worst))
    return f"| {day} | {name} | {waits} | {outcome.worker_seconds:.0f} | {outcome.forks} |"


def _time(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def needed(day: Day) -> Series:
    """How many workers a pool without a limit would have busy."""
    changes = sorted([(c.at, 1) for c in day.clients] + [(c.at + c.work, -1) for c in day.clients])
    busy, series = 0, [(0.0, 0)]
    for at, change in changes:
        busy += change
        series.append((at, busy))
    return series


def main() -> None:
    outcomes: dict[str, dict[str, Outcome]] = {}
    PICTURES.mkdir(exist_ok=True)
    for make_day in DAYS.values():
        day = make_day()
        print(day.name, flush=True)
        outcomes[day.name] = {name: spend(day, make(day.most)) for name, make in SUPERVISORS.items()}
        pools = [(name, outcomes[day.name][name].floor.sizes) for name in DRAWN]
        text = draw(f"workers through a day: {day.name}", day.seconds, needed(day), pools)
        (PICTURES / f"{day.name.replace(' ', '-')}.svg").write_text(text)
    made = BEGIN + "\n" + table(outcomes) + "\n" + END
    PAGE.write_text(re.sub(re.escape(BEGIN) + ".*?" + re.escape(END), lambda found: made, PAGE.read_text(), flags=re.S))


if __name__ == "__main__":
    main()

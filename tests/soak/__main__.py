"""``python -m tests.soak``: faults at random under load, then a table: what was asked, answered, and lost for what."""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.end_to_end.network import own_network
from tests.soak.account import Account
from tests.soak.faults import FAULTS
from tests.soak.stage import KINDS, Stage

BEGIN, END = "<!-- make soak writes from here -->\n", "<!-- to here -->\n"
PROGRESS = 10.0  # seconds
SHORTEST, LONGEST = 0.02, 0.5  # seconds from one fault to the next


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--write", type=Path, help="a Markdown page that has a place for the table")
    options = parser.parse_args()
    print(f"python -m tests.soak --minutes {options.minutes:g} --seed {options.seed}", file=sys.stderr, flush=True)
    with own_network(), tempfile.TemporaryDirectory(prefix="soak-") as directory:
        account = run(Path(directory), options.minutes * 60, random.Random(options.seed))
    lines = [f"`python -m tests.soak --minutes {options.minutes:g} --seed {options.seed}`:", "", *account.table(), ""]
    print("\n".join(lines), flush=True)
    if verdict := account.verdict():
        sys.exit("not as promised:\n" + "\n".join(verdict))
    if options.write:
        write(options.write, lines)


def run(directory: Path, seconds: float, chance: random.Random) -> Account:
    """:returns: the books, also of a run in which something went wrong."""
    account = Account([kind.name for kind in KINDS])
    with Stage(directory, chance) as stage:
        try:
            _play(stage, account, seconds)
            _close(stage, account)
        except AssertionError as error:
            account.trouble.append(f"{error}\n{stage.tail()}")
        for kind in KINDS:
            account.outcomes.setdefault(kind.name, stage.loads[kind.name].counts())
        account.trouble += stage.trouble
    return account


def _play(stage: Stage, account: Account, seconds: float) -> None:
    begun = told = time.monotonic()
    while time.monotonic() < begun + seconds and stage.master.is_running():
        (fault,) = stage.chance.choices(list(FAULTS), weights=list(FAULTS.values()))
        account.enter((fault.__doc__ or "").strip(), fault(stage))
        stage.play_on(stage.chance.uniform(SHORTEST, LONGEST))
        if time.monotonic() > told + PROGRESS:
            told = time.monotonic()
            _tell_progress(stage, account, told - begun, seconds)


def _tell_progress(stage: Stage, account: Account, passed: float, seconds: float) -> None:
    counts = [stage.loads[kind.name].counts() for kind in KINDS]
    answered, lost = sum(c.answered for c in counts), sum(c.admitted_in_vain for c in counts)
    faults = account.injected.total()
    text = f"{answered} answered, {faults} faults, {lost} lost of at most {account.allowed}"
    print(f"  {passed:.0f} of {seconds:.0f} s: {text}", file=sys.stderr, flush=True)


def _close(stage: Stage, account: Account) -> None:
    """All is undone and loaded anew; then the master is stopped under load, as its last trial."""
    stage.settle()
    stage.steer("reload")  # workers whose mold was killed keep the master's end of its notice pipe as long as they live
    stage.settle()
    if gained := stage.gained():
        account.trouble.append(f"the master has gained descriptors: {dict(gained)}")
    for kind in KINDS:
        if refused := stage.loads[kind.name].counts().refused:
            account.trouble.append(f"{kind.name}: {refused} clients were refused")
        if not kind.is_stream:  # who sends datagrams cannot know that nobody is there any more
            account.outcomes[kind.name] = stage.loads[kind.name].finish()
    os.kill(stage.master.pid, signal.SIGTERM)
    stage.master.expect_exit(0)
    for kind in KINDS:
        if kind.is_stream:
            account.outcomes[kind.name] = stage.loads[kind.name].finish(nobody_is_left=True)


def write(page: Path, lines: list[str]) -> None:
    """Put the table where the page has its place for it."""
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit(f"{page} has no place for the table: write the lines {BEGIN.strip()!r} and {END.strip()!r}")
    page.write_text(before + begin + "\n" + "\n".join(lines) + end + after)


if __name__ == "__main__":
    main()

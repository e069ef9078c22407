"""Deaths for want of memory, told from others by the counter of a control group."""

import signal
from pathlib import Path

import pytest

from prefork.system import cgroups
from prefork.system.oomkills import OomKills
from prefork.system.processes import Ending

COUNTER = {
    "v2": ("memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill {}\noom_group_kill 0\n"),
    "v1": ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"),
}
KILLED = Ending(signal=signal.SIGKILL)


@pytest.fixture
def counter(version: str, tmp_path: Path) -> Path:
    """The file of the group, which has one kill of long ago."""
    path = tmp_path / "cgroup/slice/shop" / COUNTER[version][0]
    count(path, version, 1)
    return path


def count(path: Path, version: str, kills: int) -> None:
    path.write_text(COUNTER[version][1].format(kills))


def test_a_kill_is_explained_once(version: str, counter: Path) -> None:
    """By the death that is told first; what was counted before us explains nothing."""
    kills = OomKills()
    assert kills.explain(KILLED) == KILLED
    count(counter, version, 2)
    explained = kills.explain(KILLED)
    assert str(explained) == f"was killed by SIGKILL for want of memory (oom_kill is 2 in {counter})"
    assert kills.explain(KILLED) == KILLED


def test_several_kills_at_once_explain_as_many_deaths(version: str, counter: Path) -> None:
    """Each of them."""
    kills = OomKills()
    count(counter, version, 3)
    assert [bool(kills.explain(KILLED).starved) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("ended", [Ending(), Ending(code=0), Ending(code=137), Ending(signal=signal.SIGSEGV)])
def test_no_other_death_is_explained(version: str, counter: Path, ended: Ending) -> None:
    """Nor does it take what explains another."""
    kills = OomKills()
    count(counter, version, 2)
    assert kills.explain(ended) == ended
    assert kills.explain(KILLED).starved


def test_what_a_group_above_counts_explains_nothing(version: str, counter: Path) -> None:
    """Others die in it."""
    counter.unlink()
    above = counter.parent.parent / counter.name
    count(above, version, 1)
    kills = OomKills()
    count(above, version, 2)
    assert kills.explain(KILLED) == KILLED


def test_what_cannot_be_read_explains_nothing(version: str, counter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file than we know, or no control groups at all."""
    kills = OomKills()
    counter.write_text("oom_kill plenty\n")
    assert kills.explain(KILLED) == KILLED
    monkeypatch.setattr(cgroups, "MOUNTS", "/nowhere")
    assert kills.explain(KILLED) == KILLED

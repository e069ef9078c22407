"""Rounds: every cell once in each, in an order of its own, and what goes wrong with one costs the others nothing."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hdrh.histogram import HdrHistogram

from prefork.errors import CommandError, TargetError
from prefork.lab.comparison import Cell, Comparison
from prefork.lab.load import Load
from prefork.lab.rounds import Plan, Rounds, fairness
from prefork.lab.workloads import workload
from tests.lab.test_reference import SERVERS

ECHO, LOAD = workload("echo").fit("unix:")


def plan(**changes: Any) -> Plan:
    usual: dict[str, Any] = {
        "title": "echo",
        "command": "prefork compare echo",
        "target": ECHO,
        "load": LOAD,
        "lines": ("prefork", "bare"),
        "workers": (2,),
        "clients": (2,),
        "rounds": 2,
        "duration": 0.2,
        "warm_up": 0.1,
        "bind": "unix:",
    }
    return Plan(**usual | changes)


def test_what_is_one_process_is_measured_once() -> None:
    """Whatever numbers of workers there are for others."""
    found = plan(lines=("sync", "hybrid", "stdlib-fork"), workers=(2, 4), clients=(1, 8)).cells
    assert [(cell.line, cell.workers) for cell in found if cell.clients == 8] == [
        ("sync", 1),
        ("hybrid", 2),
        ("hybrid", 4),
        ("stdlib-fork", 1),
    ]
    assert len(found) == 8


def test_each_round_has_an_order_of_its_own() -> None:
    """Each holds every cell once; the seed says which order, so that it can be had again."""
    one = plan(lines=("sync", "thread", "prefork", "hybrid"), workers=(1, 2, 4), clients=(1, 8))
    orders = [one.order(number) for number in range(1, 11)]
    assert all(sorted(order) == sorted(one.cells) for order in orders)
    assert all(a != b for a, b in pairwise(orders))
    assert orders[2] == plan(lines=one.lines, workers=one.workers, clients=one.clients).order(3)
    assert orders[2] != plan(lines=one.lines, workers=one.workers, clients=one.clients, seed=2).order(3)


def test_all_figures_are_there() -> None:
    """Of each cell as many rounds as were asked for; and whoever saves is told after each run."""
    saved: list[Comparison] = []
    begun: list[tuple[int, Cell]] = []
    found = Rounds(plan(), lambda number, cell: begun.append((number, cell)), saved.append).run()
    assert [sum(len(cell.rounds) for cell in one.cells) for one in saved] == [1, 2, 3, 4]
    assert [number for number, _ in begun] == [1, 1, 2, 2]
    assert {cell.cell for cell in found.cells} == set(plan().cells)
    assert found.left_out == {}
    measured = [one for cell in found.cells for one in cell.rounds]
    # a machine that stands still may have looked twice in the same moment, in which nobody was served
    shares = [one.fairness for one in measured if one.fairness is not None]
    assert shares
    assert all(0.5 <= share <= 1 for share in shares)
    for one in measured:
        assert one.errors == {}
        assert one.requests > 0
        assert one.rate == pytest.approx(one.requests / one.seconds)
        assert one.latency is not None
        assert one.latency.p50 <= one.latency.p999 <= one.latency.maximum
        assert 0 < one.cpu_seconds < 0.01
        assert one.switches is not None
        assert one.pss_bytes > 1 << 20
        assert one.generator_share > 0
        assert one.generator_cpus is not None
        assert one.generator_cpus >= one.generator_share
        histogram = HdrHistogram.decode(one.histogram)
        assert histogram.get_total_count() == one.requests
        assert histogram.get_value_at_percentile(50) / 1e9 == pytest.approx(one.latency.p50, rel=0.01)


@pytest.mark.parametrize(
    ("before", "after", "index"),
    [
        ({7: 100, 8: 100}, {7: 150, 8: 150}, 1.0),  # whatever they served before
        ({7: 0, 8: 50}, {8: 50, 7: 20}, 0.5),
        ({7: 0, 8: 0}, {7: 500, 9: 3}, None),  # 8 has been replaced
        ({7: 0, 8: 0}, {7: 5, 8: 5, 9: 0}, None),
        ({7: 0, 8: 0}, None, None),
        (None, None, None),
    ],
)
def test_fairness_is_among_workers_that_were_there_all_the_time(
    before: dict[int, int] | None, after: dict[int, int] | None, index: float | None
) -> None:
    """Of one who came later nobody could say whether his share was fair."""
    assert fairness(before, after) == (None if index is None else pytest.approx(index))


@pytest.mark.long
def test_a_line_that_is_not_for_the_target_is_left_out(tmp_path: Path) -> None:
    """With its reason, and only it."""
    (tmp_path / "servers.py").write_text(SERVERS)
    found = Rounds(
        plan(
            target="servers:Threaded",
            load=Load(url="", send=b"hello\n", reply="eof", expect=b"HELLO\n"),
            lines=("thread", "bare", "stdlib-thread"),
            bind="tcp://127.0.0.1:0",
            pythonpath=(str(tmp_path),),
            rounds=1,
        )
    ).run()
    assert {cell.cell.line for cell in found.cells} == {"thread", "stdlib-thread"}
    assert list(found.left_out) == ["bare"]
    assert "no request handler class" in found.left_out["bare"]


def test_a_target_that_cannot_be_loaded_ends_it() -> None:
    """At once: it would be the same with every cell."""
    begun: list[Cell] = []
    with pytest.raises(TargetError, match="no module named 'nowhere'"):
        Rounds(plan(target="nowhere:Handler", lines=("sync", "thread")), lambda _, cell: begun.append(cell)).run()
    assert len(begun) == 1


def test_what_answers_nothing_is_no_figure() -> None:
    """Nor is it tried again in each round."""
    wrong = Load(url="", send=b"hello\n", reply="line", expect=b"something else\n")
    rounds = Rounds(plan(load=wrong, lines=("bare",), rounds=3))
    with pytest.raises(
        CommandError, match="nothing could be measured; bare, 2 workers, 2 clients: nothing was answered"
    ):
        rounds.run()
    assert rounds.comparison().cells == []


SUICIDAL = """
import os, signal, socketserver

class Handler(socketserver.StreamRequestHandler):
    served = 0
    def handle(self):
        self.rfile.readline()
        Handler.served += 1
        if Handler.served == 5:
            os.kill(os.getppid(), signal.SIGKILL)
        self.wfile.write(b"fine\\n")
"""


def test_a_service_that_ends_under_the_load_has_no_figures(tmp_path: Path) -> None:
    """What it used is gone with it."""
    (tmp_path / "suicidal.py").write_text(SUICIDAL)
    load = Load(url="", send=b"hello\n", reply="line")
    rounds = Rounds(
        plan(
            target="suicidal:Handler",
            lines=("bare",),
            workers=(1,),
            pythonpath=(str(tmp_path),),
            load=load,
            warm_up=0.0,
        )
    )
    with pytest.raises(CommandError, match="the service ended under the load"):
        rounds.run()

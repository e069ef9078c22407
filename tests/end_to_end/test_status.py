"""What status tells of a running instance: who waits, who is busy, what was served ever and lately, what it uses."""

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from prefork.control.client import ask_status, connect, find
from prefork.control.report import Report
from prefork.system.usage import Census
from tests.end_to_end.clients import LIMIT, Question, ask
from tests.end_to_end.harness import DATAGRAM, ROOT, STREAM, TCP, UDP, Application, Gate, look_until, serving

NAME = f"status-{os.getpid()}"
NAMED = ("-n", NAME)
TOTALS = ("requests", "errors", "busy_seconds")


def report() -> Report:
    with connect(find(NAME)) as connection:
        return ask_status(connection)


def only(found: Report) -> dict[str, Any]:
    """The only service, as ``status --json`` has it."""
    (service,) = found.as_plain()["services"]
    return dict(service)


def prefork(*arguments: str) -> str:
    command = [sys.executable, "-m", "prefork", *arguments, *NAMED]
    return subprocess.run(command, cwd=ROOT, check=True, text=True, capture_output=True, timeout=LIMIT).stdout


def test_who_waits_is_told_where_all_are_busy(gate: Gate) -> None:
    """With every worker held, the queue, its limit, and for how long nobody had room: no worker is asked."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2", "--backlog", "50") as master:
        assert only(report())["all_busy_seconds"] is None
        held = [Question(master.bind(), f"hold {gate.path}") for _ in range(2)]
        visitors = gate.visitors(2)
        waiting = [Question(master.bind(), "anybody?") for _ in range(3)]
        service = only(report())
        assert service["queues"] == [
            {"bind": master.bind(), "waiting": 3, "limit": 50, "dropped": None, "overflows": 0}
        ]
        assert service["all_busy_seconds"] >= 0
        assert (service["busy"], service["idle"]) == (2, 0)
        for visitor in visitors:
            visitor.let_pass()
        assert [question.answer() for question in waiting] == ["ANYBODY?"] * 3
        for question in held:
            question.answer()
        look_until(lambda: only(report())["queues"][0]["waiting"] == 0, "nobody waits")
        assert only(report())["all_busy_seconds"] is None


def test_datagrams_wait_without_a_limit(gate: Gate) -> None:
    """They are counted, and so are those that found no room."""
    with serving(DATAGRAM, *NAMED, "-b", UDP, "-w", "1") as master:
        (queue,) = only(report())["queues"]
        assert queue == {"bind": master.bind(), "waiting": 0, "limit": None, "dropped": 0, "overflows": None}


def test_what_was_served_lately_is_told_as_rate_and_percentiles() -> None:
    """The requests of this test are the last minute's; a half of them took no longer than p50."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2") as master:
        for _ in range(20):
            ask(master.bind(), "how fast?")
        look_until(lambda: only(report())["recent"]["requests"] == 20, "all are counted")
        recent = only(report())["recent"]
        assert recent["rate_per_second"] > 0
        assert 0 < recent["p50_seconds"] <= recent["p90_seconds"] <= recent["p99_seconds"] <= LIMIT
        assert 0 < recent["utilisation"] <= 1


def test_totals_only_grow(application: Application, gate: Gate) -> None:
    """Over the death of a worker, a reload, and an upgrade: what the dead have served still counts."""
    with serving(*application.arguments, *NAMED, "-b", TCP, "-w", "2") as master:
        seen = [only(report())]

        def look(requests: int) -> None:
            look_until(lambda: only(report())["requests"] == requests, f"{requests} requests are counted")
            seen.append(only(report()))
            assert all(seen[-1][name] >= seen[-2][name] for name in TOTALS), seen[-2:]
            counted = report().snapshot.services[0].service_times
            assert sum(counted) == requests

        for _ in range(3):
            ask(master.bind(), "version")
        look(3)
        master.kill(next(iter(master.workers().values())))
        ask(master.bind(), "version")
        look(4)
        prefork("reload")
        ask(master.bind(), "version")
        look(5)
        prefork("upgrade")
        ask(master.bind(), "version")
        look(6)


def test_what_is_not_as_by_default_is_told(application: Application) -> None:
    """As one would write it, so that nobody has to look for the file."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1", "--timeout", "90s", "--max-requests", "1000"):
        assert only(report())["settings"] == {"timeout": "90s", "request_hard": "95s", "max_requests": "1000"}


def test_memory_and_cpu_are_looked_up_by_whoever_asks() -> None:
    """Of master, mold and workers; the master is not kept busy with it."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "3") as master:
        found = report()
        assert len(found.pids) == 5
        assert set(found.pids) == {process.pid for process in master.processes()}
        plain = found._replace(usage=Census().look(found.pids, LIMIT)).as_plain()
        assert json.loads(json.dumps(plain, allow_nan=False))["memory"]["processes"] == 5
        assert plain["memory"]["unread"] == 0
        own = sum(process["usage"]["pss_bytes"] for process in plain["processes"])
        workers = sum(worker["usage"]["pss_bytes"] for worker in plain["services"][0]["workers"])
        assert own + workers == plain["memory"]["pss_bytes"]


def test_the_table_tells_it_to_people_and_of_one_service_where_one_is_named(gate: Gate) -> None:
    """With the memory of all processes; also where every worker is held. What is not there is one line and exit 1."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "2") as master:
        held = [Question(master.bind(), f"hold {gate.path}") for _ in range(2)]
        visitors = gate.visitors(2)
        for arguments in ((), ("apps",)):
            first, _, service, phase, load, head, *rows = prefork("status", *arguments).splitlines()
            assert re.search(r"memory [\d.]+M in 4 processes  log level debug$", first)
            assert service == f"apps  {STREAM}  {master.bind()}"
            assert phase == "  healthy; generation 1; 2 of 2 workers ready, 2 busy; 0 requests, 0 failed"
            assert re.fullmatch(r"  all 2 busy( for .*s)?; queue 0 of \d+", load)
            assert head.split() == ["slot", "pid", "gen", "state", "age", "requests", "errors", "busy", "pss", "now"]
            assert [int(row.split()[1]) for row in rows] == [pid for _, pid in sorted(master.workers().items())]
        assert list(json.loads(prefork("status", "apps", "--json"))["services"][0]["workers"][0]["usage"]) == [
            "pss_bytes",
            "uss_bytes",
            "cpu_seconds",
            "ago_seconds",
        ]
        with pytest.raises(subprocess.CalledProcessError) as refused:
            prefork("status", "shop")
        assert refused.value.returncode == 1
        assert refused.value.stderr == "prefork: there is no service 'shop'; there is apps\n"
        for visitor in visitors:
            visitor.let_pass()
        assert {int(question.answer()) for question in held} == {visitor.pid for visitor in visitors}

"""A service whose workers keep dying says so, and is given up where it is told to be; its neighbours serve on."""

import os
from pathlib import Path

from tests.end_to_end.clients import Question, ask, is_refused
from tests.end_to_end.harness import STREAM, TCP, Gate, Master, look_until, serving
from tests.end_to_end.test_control import NAME, NAMED, echo, status, steer


def test_a_service_says_when_it_is_degraded_and_when_it_is_healthy_again() -> None:
    """Once each: after two workers that died of their first request, and after ten that one has served."""
    with serving(STREAM, *NAMED, "-b", TCP, "-w", "1") as master:
        for _ in range(2):
            assert Question(master.bind(), "exit 9").is_lost()
        line = master.wait_for("degraded, after 2 failures in a row")
        assert line.endswith(": its workers die before they have proven themselves; the last one exited with 9")
        assert echo()["phase"] == "degraded"
        for _ in range(10):
            assert ask(master.bind(), "hello") == "HELLO"
        master.wait_for("healthy again")
        service = echo()
        assert (service["phase"], service["degraded"]) == ("healthy", None)
        assert len(master.lines("degraded,")) == len(master.lines("healthy again")) == 1


def test_a_service_is_given_up_after_as_many_failures_alone(tmp_path: Path, short_path: Path, gate: Gate) -> None:
    """Its clients are refused and its path is gone; what its other worker had is answered, and the others serve on."""
    path, place = tmp_path / "prefork.toml", short_path / "socket"
    path.write_text(f"""
        name = "{NAME}"
        [service.good]
        target = "{STREAM}"
        bind = ["{TCP}"]
        workers = 1
        [service.bad]
        target = "{STREAM}"
        bind = ["{TCP}", "unix:{place}"]
        workers = 2
        max_failures = 3
        """)
    with Master("-c", str(path)) as master:
        master.wait_serving(services=2)
        good, bad = master.bind(service="good"), master.bind(service="bad")
        held = Question(bad, f"hold {gate.path}")
        visitor = gate.visitor()
        for _ in range(3):
            assert Question(bad, "exit 9").is_lost()
        master.wait_for("bad: given up")
        look_until(lambda: is_refused(bad), "new clients are refused")
        visitor.let_pass()
        assert held.answer() == str(visitor.pid)
        look_until(lambda: not os.path.lexists(place), "its path is gone")
        assert ask(good, "hello") == "HELLO"
        phases = {service["name"]: (service["phase"], service["failed"]) for service in status()["services"]}
        assert phases["good"] == ("healthy", "")
        assert phases["bad"][0] == "failed"
        assert "3 times in a row" in phases["bad"][1]
        outcome = steer("reload")
        assert outcome.end == (3, "bad: it was given up; restart for it")
        assert ask(good, "hello") == "HELLO"
        assert steer("stop").out == "stopped, exit 3\n"
        master.expect_exit(3)


def test_the_master_ends_when_no_service_is_left() -> None:
    """Exit 3, so that whoever started it learns of it."""
    with serving(STREAM, "-b", TCP, "-w", "1", "--max-failures", "2") as master:
        for _ in range(2):
            assert Question(master.bind(), "exit 9").is_lost()
        master.expect_exit(3)
        assert "2 times in a row" in master.wait_for("given up")

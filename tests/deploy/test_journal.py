"""What journald has of a service under systemd, by the units that we ship, as ``journalctl`` reads it back."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.deploy import nspawn, roots
from tests.deploy.nspawn import Machine
from tests.end_to_end.clients import Question, ask
from tests.end_to_end.harness import ROOT, look_until

pytestmark = pytest.mark.deployed

UNIT = "shop.service"
URL = "tcp://127.0.0.1:9000"
CONFIG = """
name = "shop"
access_log = "log"
[service.shop]
target = "apps:Stream"
bind = ["systemd:shop"]
workers = 2
"""

Entry = dict[str, Any]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One with the service in it, started."""
    if missing := nspawn.missing():
        pytest.skip(f"no machine can be booted without {missing}")
    root = roots.host()
    with Machine(root.path, copied=roots.installation(root, tmp_path_factory.mktemp("installation"))) as machine:
        machine.expect("useradd", "--system", "--shell=/usr/sbin/nologin", "shop")
        machine.write("/srv/shop/apps.py", (ROOT / "tests/end_to_end/apps.py").read_text())
        machine.write("/etc/prefork/shop.toml", CONFIG)
        for unit in ("shop.socket", UNIT):
            machine.write(f"/etc/systemd/system/{unit}", (ROOT / "deploy/systemd" / unit).read_text())
        machine.systemctl("daemon-reload")
        machine.systemctl("start", UNIT)
        yield machine
        print(machine.expect("journalctl", "--quiet", f"--unit={UNIT}"))


def read(machine: Machine, *matches: str) -> list[Entry]:
    """What journalctl finds."""
    done = machine.run("journalctl", "--quiet", "--output=json", "--all", *matches)
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def wait_read(machine: Machine, *matches: str) -> Entry:
    """The last entry, once there is one."""
    found: list[Entry] = []

    def is_there() -> bool:
        found[:] = read(machine, *matches)
        return bool(found)

    look_until(is_there, f"the journal has {' '.join(matches)}")
    return found[-1]


def fields(entry: Entry) -> dict[str, str]:
    """Those that are ours to say, but for the text and for pids."""
    ours = {name: value for name, value in entry.items() if name.startswith("PREFORK_") and not name.endswith("_PID")}
    return ours | {name: entry[name] for name in ("PRIORITY", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT")}


def test_the_master_is_heard_with_fields(machine: Machine) -> None:
    """By the configuration that says nothing of journald, under the unit that says nothing of it either."""
    entry = wait_read(machine, "PREFORK_SERVICE=shop", "PREFORK_EVENT=generation-settled")
    assert entry["MESSAGE"] == "shop: generation 1 serves with 2 workers"
    assert entry["_TRANSPORT"] == "journal"
    assert fields(entry) == {
        "PREFORK_INSTANCE": "shop",
        "PREFORK_PROCESS": "master",
        "PREFORK_SERVICE": "shop",
        "PREFORK_GENERATION": "1",
        "PREFORK_EVENT": "generation-settled",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "shop",
        "_SYSTEMD_UNIT": UNIT,
    }


def test_each_request_can_be_found_by_its_worker(machine: Machine) -> None:
    """A line of the access log is an entry with fields, written by the worker itself."""
    with machine.network():
        assert ask(URL, "hello") == "HELLO"
    entry = wait_read(machine, "PREFORK_SERVICE=shop", "PREFORK_OUTCOME=ok", "PREFORK_BYTES_IN=6")
    assert {entry["_PID"]} <= {str(pid) for pid in workers(machine)}
    assert entry["PREFORK_PROCESS"] == "worker"
    assert entry["PREFORK_SLOT"] in ("1", "2")
    assert entry["LOGGER"] == "prefork.access"
    assert re.fullmatch(r"shop worker \d g1: 127\.0\.0\.1:\d+ #\d+ ok .*", entry["MESSAGE"])


def steer(machine: Machine, *command: str) -> str:
    """As the user of the service, whose instance is found by its name."""
    return machine.expect("runuser", "--user=shop", "--", "/opt/prefork/bin/prefork", *command, "--name=shop")


def workers(machine: Machine) -> list[int]:
    status = json.loads(steer(machine, "status", "--json"))
    return [worker["pid"] for worker in status["services"][0]["workers"]]


def test_severities_can_be_asked_for(machine: Machine) -> None:
    """What a handler raised is an error with its traceback, a death a warning with its slot; a start is neither."""
    with machine.network():
        assert Question(URL, "raise it").is_lost()
    error = wait_read(machine, f"--unit={UNIT}", "--priority=err")
    assert "ValueError: it" in error["MESSAGE"]
    assert error["PREFORK_PROCESS"] == "worker"
    victim = workers(machine)[0]
    machine.expect("kill", "-KILL", str(victim))
    death = wait_read(machine, "PREFORK_EVENT=worker-exited", f"PREFORK_WORKER_PID={victim}")
    assert (death["PRIORITY"], death["PREFORK_PROCESS"]) == ("4", "master")
    serious = read(machine, "PREFORK_INSTANCE=shop", "--priority=warning")
    assert not [entry for entry in serious if "serves with" in entry["MESSAGE"]]


def shown_commands() -> list[str]:
    page = (ROOT / "docs" / "logs.md").read_text()
    return [command.strip() for command in re.findall(r"^(journalctl .+?)   ", page, re.MULTILINE)]


@pytest.mark.parametrize("command", shown_commands())
def test_what_the_page_shows_finds_something(machine: Machine, command: str) -> None:
    """docs/logs.md, after what the tests before have done."""
    told = machine.expect(*command.split(), "--no-pager", "--quiet")
    assert told.strip()
    assert "serves with" not in told or "PREFORK_SERVICE" in command


def test_a_journal_that_is_started_anew_is_found(machine: Machine) -> None:
    """By the processes that had begun before it."""
    machine.systemctl("restart", "systemd-journald.service")
    steer(machine, "scale", "shop", "3")
    wait_read(machine, "PREFORK_PROCESS=master", "PREFORK_EVENT=scale-asked", "PREFORK_EVENT=count-asked")
    with machine.network():
        assert ask(URL, "anew again") == "ANEW AGAIN"
    wait_read(machine, "PREFORK_SERVICE=shop", "PREFORK_OUTCOME=ok", "PREFORK_BYTES_IN=11")


def test_why_it_does_not_start_is_an_error(machine: Machine) -> None:
    """Also where it fails before there is a log."""
    machine.systemctl("stop", UNIT)
    machine.write("/etc/prefork/shop.toml", CONFIG.replace("workers", "wrokers"))
    assert machine.run("systemctl", "start", UNIT).returncode != 0
    entry = wait_read(machine, f"--unit={UNIT}", "--priority=err", "--grep=wrokers")
    assert entry["MESSAGE"].startswith("prefork: ")
    assert entry["_TRANSPORT"] == "stdout"

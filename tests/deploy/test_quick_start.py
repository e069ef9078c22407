"""The quick start, typed as it stands into a machine: from nothing to a service that is deployed, killed and stopped.

What fetches from elsewhere is left out, for the machine has a network of its own: how prefork is installed is tried by
``test_installing.py``, and an upgrade here is to the same version.
"""

import re
from collections.abc import Iterator

import pytest

from tests.deploy import nspawn, roots
from tests.deploy.nspawn import Machine
from tests.end_to_end.harness import ROOT, look_until

pytestmark = pytest.mark.deployed
PAGE = ROOT / "docs" / "quick-start.md"
SERVICE = "kv.service"
FETCHES = ("apt ", "python3 -m venv", f"{roots.HOME}/bin/pip ")
PROGRAMS = ("curl", "nc", "prometheus", "promtool")  # what its `apt install` brings

_BLOCK = re.compile(r"^(?:## (?P<section>[^\n]*)|```(?P<language>\w+)\n(?P<text>.*?)^```)$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if missing := nspawn.missing():
        pytest.skip(f"no machine can be booted without {missing}")
    root = roots.host()
    with Machine(root.path, copied=roots.installation(root, tmp_path_factory.mktemp("installation"))) as machine:
        for name in PROGRAMS:
            if machine.run("which", name).returncode:
                pytest.skip(f"{name} is not installed")
        yield machine


def sections() -> dict[str, str]:
    """What is typed in each, by its heading; the Python is written to where the page says."""
    typed: dict[str, str] = {}
    section = ""
    for block in _BLOCK.finditer(PAGE.read_text()):
        section = block["section"] or section
        text = block["text"] or ""
        if block["language"] == "python":
            text = f"mkdir --parents /srv/kv\ncat > /srv/kv/kv.py <<'EOF'\n{text}EOF\n"
        typed[section] = typed.get(section, "") + text
    return typed


def test_all_of_it_works_in_this_order(machine: Machine) -> None:
    """Each step succeeds and shows what it is for; a change and an upgrade keep the master, a kill does not."""
    typed = sections()

    def type_in(section: str) -> str:
        lines = [line for line in typed.pop(section).splitlines() if not line.startswith(FETCHES)]
        return machine.expect("bash", "-euc", "\n".join(lines))

    def master() -> str:
        return machine.show(SERVICE, "MainPID")

    type_in("Install")
    type_in("Your code")
    advised = type_in("Write it down").partition("next:\n")[2]
    assert "nothing would bite" in type_in("Start it")
    assert {line.strip() for line in advised.splitlines() if "promtool" not in line and "doctor" not in line} <= set(
        sections()["Start it"].splitlines()
    )

    shown = type_in("Look at it")
    for expected in ("OK\nblue\n", "active (running)", "generation 1 serves", "4 of 4 workers ready", "\nready\n"):
        assert expected in shown
    assert 'prefork_requests_total{service="kv"} 1.0' in shown
    assert "SUCCESS" in type_in("Have it watched")

    first = master()
    shown = type_in("Deploy a change")
    assert "generation 3 was given up: ModuleNotFoundError: No module named 'so'" in shown
    assert "UNKNOWN" in machine.expect("bash", "-c", "echo WHO | nc -N 127.0.0.1 7000")
    assert "kv: generation 4 serves" in type_in("Upgrade prefork")
    assert master() == first

    assert type_in("Kill it") == "blue\n"
    look_until(lambda: master() not in (first, "0"), "another master runs")
    type_in("Stop it")
    assert machine.run("systemctl", "is-active", SERVICE, "kv.socket").stdout == "inactive\ninactive\n"
    assert typed == {}

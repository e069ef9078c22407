"""The units of deploy/systemd under a real systemd, each step with clients that check every reply."""

import re
import time
from pathlib import Path

import pytest

from tests.deploy.shop import GATE, PREFORK, SERVICE, SOCKET, WORKERS, Shop
from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import look_until
from tests.end_to_end.http import fetch
from tests.end_to_end.load import Outcome

# the machine has a limit of its own: where none was made before, that takes longer than any test
pytestmark = [pytest.mark.deployed, pytest.mark.timeout(120, func_only=True)]

SOME = 50  # answers
NOTIFY_RELOAD = 253  # the first systemd that has this type
ADMIN = "tcp://127.0.0.1:9190"


def expect_all_answered(outcome: Outcome) -> None:
    assert outcome.answered > 0
    assert outcome.refused == outcome.admitted_in_vain == 0, outcome


def test_units_are_in_order(shop: Shop) -> None:
    """systemd has nothing to say of them, and little is left open to whoever takes over a worker."""
    for unit in (SERVICE, SOCKET):
        verified = shop.machine.run("systemd-analyze", "verify", unit)
        assert (verified.returncode, verified.stdout) == (0, "")
    shop.machine.expect("systemd-analyze", "security", "--no-pager", "--threshold=25", SERVICE)


def test_started_service_serves(shop: Shop) -> None:
    shop.machine.systemctl("start", SERVICE)
    assert shop.show("ActiveState") == "active"
    assert shop.show("ActiveState", SOCKET) == "active"
    assert shop.ask("hello") == "HELLO"


def test_admin_pages_are_served_too(shop: Shop) -> None:
    """By their own process, as the same user, under the same restrictions."""
    shop.configure(instance=f'admin = "{ADMIN}"')
    shop.machine.systemctl("start", SERVICE)
    with shop.machine.network():
        assert fetch(ADMIN, "/readyz").status == 200
        assert "prefork_workers" in fetch(ADMIN, "/metrics").text


def test_start_waits_for_the_wanted_workers(shop: Shop) -> None:
    """Until the last of them is ready the unit is activating, its status tells how far it is, and clients wait."""
    shop.deploy("1", "def start(worker):", f"    apps.pass_gate({GATE!r})")
    shop.machine.systemctl("start", SOCKET)
    with shop.load() as load, shop.machine.begin("systemctl", "start", SERVICE) as started:
        *most, last = shop.gate.visitors(WORKERS)
        for visitor in most:
            visitor.let_pass()
        shop.wait_status(f"starting: {WORKERS - 1} of {WORKERS} workers ready")
        assert shop.show("ActiveState") == "activating"
        assert started.poll() is None
        last.let_pass()
        assert started.wait(LIMIT) == 0
        assert shop.show("ActiveState") == "active"
        load.wait_answered(SOME)
        expect_all_answered(load.finish())
    status = shop.machine.systemctl("status", SERVICE)
    assert re.search(rf'Status: "{WORKERS} of {WORKERS} workers ready, \d busy, \d queued"', status), status


def test_first_client_starts_it(shop: Shop) -> None:
    """Only the socket unit is started; the clients that come are answered, by a service that nobody else started."""
    shop.machine.systemctl("start", SOCKET)
    assert shop.show("ActiveState") == "inactive"
    with shop.load() as load:
        load.wait_answered(SOME)
        expect_all_answered(load.finish())
    shop.machine.wait_show(SERVICE, "ActiveState", "active")  # when the last worker is ready; the first answers before


def reload_to_version_2(shop: Shop, *systemctl: str, waits: bool = True) -> None:
    """Until the new code serves the unit is reloading, and the old code serves.

    :param systemctl: what is asked for.
    :param waits: it ends when the new code serves, and not before.
    """
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        shop.deploy("2", f"apps.pass_gate({GATE!r})")
        with shop.machine.begin("systemctl", *systemctl) as asked:
            visitor = shop.gate.visitor()
            shop.wait_status("generation 2 is coming")
            assert shop.show("ActiveState") == "reloading"
            assert shop.ask("version") == "1"
            assert asked.poll() is None or not waits
            visitor.let_pass()
            assert asked.wait(LIMIT) == 0
        if not waits:
            shop.machine.wait_show(SERVICE, "ActiveState", "active")
        assert shop.ask("version") == "2"
        assert shop.show("ActiveState") == "active"
        load.wait_answered(SOME)
        expect_all_answered(load.finish())


def test_reload_waits_until_the_new_code_serves(shop: Shop) -> None:
    """By the command in the unit."""
    reload_to_version_2(shop, "reload", SERVICE)


def test_reload_by_signal_is_seen(shop: Shop) -> None:
    """Whoever sends it; and where systemd has a type for that it sends it itself, and waits."""
    if shop.machine.version() >= NOTIFY_RELOAD:
        shop.unit(SERVICE, Type="notify-reload", ExecReload="")
        reload_to_version_2(shop, "reload", SERVICE)
    else:
        reload_to_version_2(shop, "kill", "--kill-whom=main", "--signal=HUP", SERVICE, waits=False)


def test_reload_of_broken_code_fails_and_changes_nothing(shop: Shop) -> None:
    """``systemctl reload`` says that it failed, the journal why, and the old code serves on."""
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        shop.deploy("2", "import no_such_module")
        reloaded = shop.machine.run("systemctl", "reload", SERVICE)
        assert reloaded.returncode == 1
        assert "No module named 'no_such_module'" in shop.journal()
        assert "generation 2 was given up: ModuleNotFoundError" in shop.show("StatusText")
        assert shop.show("ActiveState") == "active"
        assert shop.ask("version") == "1"
        load.wait_answered(SOME)
        expect_all_answered(load.finish())


def test_upgrade_keeps_the_pid(shop: Shop) -> None:
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        master = shop.master()
        shop.machine.expect(PREFORK, "upgrade", "--name", "shop")
        assert (shop.master(), shop.show("NRestarts")) == (master, "0")
        shop.machine.wait_show(SERVICE, "ActiveState", "active")
        load.wait_answered(SOME)
        expect_all_answered(load.finish())


def test_clients_of_a_restart_wait(shop: Shop) -> None:
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        shop.machine.systemctl("restart", SERVICE)
        load.wait_answered(SOME)
        expect_all_answered(load.finish())


def test_stopped_service_is_started_by_who_comes_next(shop: Shop) -> None:
    """A stop of the service alone: what is under way is answered, and whoever comes meanwhile waits."""
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        master = shop.master()
        held = shop.hold(WORKERS - 1)
        shop.machine.systemctl("stop", "--no-block", SERVICE)
        shop.let_go(held)
        shop.wait_restarted(master)
        load.wait_answered(SOME)
        expect_all_answered(load.finish())
    assert "code=exited" not in shop.journal()


def test_stop_loses_nothing_where_the_listener_is_its_own(shop: Shop) -> None:
    """Without a socket unit new clients are refused, and whoever was let in is answered."""
    shop.own_listener("tcp://0.0.0.0:9000")
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        shop.machine.systemctl("stop", SERVICE)
        load.halt()
        outcome = load.finish(nobody_is_left=True)
    assert outcome.answered > 0
    assert outcome.refused > 0
    assert outcome.admitted_in_vain == 0, outcome
    assert shop.show("NFileDescriptorStore") == "0"
    assert (shop.show("ActiveState"), shop.show("Result")) == ("inactive", "success")


def test_a_long_drain_has_the_time_it_needs(shop: Shop) -> None:
    """Longer than the unit allows, while the master asks for more; whoever is served meanwhile is answered."""
    shop.unit(SERVICE, TimeoutStopSec="2s")
    shop.machine.systemctl("start", SERVICE)
    held = shop.hold(1)
    with shop.machine.begin("systemctl", "stop", SOCKET, SERVICE) as stopped:
        shop.wait_status("stopping, 1 worker left")
        over = time.monotonic() + 3
        look_until(lambda: time.monotonic() > over, "the time that the unit allows is over")
        assert shop.show("ActiveState") == "deactivating"
        shop.let_go(held)
        assert stopped.wait(LIMIT) == 0
    assert (shop.show("ActiveState"), shop.show("Result")) == ("inactive", "success")


def test_the_application_finds_its_credential(shop: Shop) -> None:
    """Which nobody but root can read outside."""
    shop.machine.write("/etc/prefork/database-password", "xyzzy", mode=0o600)
    shop.unit(SERVICE, LoadCredential="database-password:/etc/prefork/database-password")
    secret = 'open(os.environ["CREDENTIALS_DIRECTORY"] + "/database-password").read()'
    shop.deploy("1", "import os", f'apps.COMMANDS["secret"] = lambda rest: {secret}')
    shop.machine.systemctl("start", SERVICE)
    assert shop.ask("secret") == "xyzzy"
    shop.machine.systemctl("reload", SERVICE)
    assert shop.ask("secret") == "xyzzy"


def test_a_worker_can_do_nothing_but_serve(shop: Shop) -> None:
    """It is nobody in particular, has no capability and gets none, and the kernel looks at each of its calls."""
    shop.machine.systemctl("start", SERVICE)
    pid = shop.machine.our_pid(int(shop.ask("pid")), SERVICE)
    status = dict(re.findall(r"^(\w+):\s+(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE))
    assert status["Uid"].split() == [shop.machine.expect("id", "-u", "shop").strip()] * 4
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")

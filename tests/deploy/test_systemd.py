"""The units of deploy/systemd under a real systemd, each step with clients that check every reply."""

import pytest

from tests.deploy.shop import PREFORK, SERVICE, SOCKET, UNITS, WORKERS, Shop
from tests.end_to_end.load import Outcome

pytestmark = pytest.mark.deployed

SOME = 100  # answers


def expect_all_answered(outcome: Outcome) -> None:
    assert outcome.answered > 0
    assert outcome.refused == outcome.admitted_in_vain == 0, outcome


def test_units_are_in_order(shop: Shop) -> None:
    """systemd has nothing to say of them, and little is left open to whoever takes over a worker."""
    for unit in (SERVICE, SOCKET):
        verified = shop.machine.run("systemd-analyze", "verify", unit)
        assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")
    shop.machine.expect("systemd-analyze", "security", "--no-pager", "--threshold=25", SERVICE)


def test_started_service_serves(shop: Shop) -> None:
    shop.machine.systemctl("start", SERVICE)
    assert shop.show("ActiveState") == "active"
    assert shop.show("ActiveState", SOCKET) == "active"
    assert shop.ask("hello") == "HELLO"


def test_first_client_starts_it(shop: Shop) -> None:
    """Only the socket unit is started; the clients that come are answered, by a service that nobody else started."""
    shop.machine.systemctl("start", SOCKET)
    assert shop.show("ActiveState") == "inactive"
    with shop.load() as load:
        load.wait_answered(SOME)
        expect_all_answered(load.finish())
    assert shop.show("ActiveState") == "active"


def test_reload_waits_until_the_new_code_serves(shop: Shop) -> None:
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        shop.deploy("2")
        shop.machine.systemctl("reload", SERVICE)
        assert shop.ask("version") == "2"
        load.wait_answered(SOME)
        expect_all_answered(load.finish())


def test_reload_of_broken_code_fails_and_changes_nothing(shop: Shop) -> None:
    """``systemctl reload`` says that it failed, the journal why, and the old code serves on."""
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        shop.deploy("2", "import no_such_module")
        reloaded = shop.machine.run("systemctl", "reload", SERVICE)
        assert reloaded.returncode == 1
        assert "No module named 'no_such_module'" in shop.journal()
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
        assert shop.master() == master
        assert shop.show("NRestarts") == "0"
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
        shop.let_go()
        assert all(question.answer().isdigit() for question in held)
        shop.wait_restarted(master)
        load.wait_answered(SOME)
        expect_all_answered(load.finish())
    assert "code=exited" not in shop.journal()


def test_stop_loses_nothing_where_the_listener_is_its_own(shop: Shop) -> None:
    """Without a socket unit new clients are refused, and whoever was let in is answered."""
    shop.unit(SERVICE, Requires="")
    shop.configure(bind="tcp://0.0.0.0:9000")
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        shop.machine.systemctl("stop", SERVICE)
        load.halt()
        outcome = load.finish(nobody_is_left=True)
    assert outcome.answered > 0
    assert outcome.refused > 0
    assert outcome.admitted_in_vain == 0, outcome
    assert (shop.show("ActiveState"), shop.show("Result")) == ("inactive", "success")

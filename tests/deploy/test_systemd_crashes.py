"""What systemd does when the master is killed or hangs, and what clients notice of it: nothing, or that they wait."""

import pytest

from tests.deploy.shop import PREFORK, SERVICE, SOCKET, URL, WORKERS, Shop
from tests.deploy.test_systemd import SOME, expect_all_answered
from tests.end_to_end.clients import is_refused

# the machine has a limit of its own: where none was made before, that takes longer than any test
pytestmark = [pytest.mark.deployed, pytest.mark.timeout(120, func_only=True)]


def test_a_killed_master_costs_nothing(shop: Shop) -> None:
    """The next one starts at once; those whose requests are under way are answered, and nobody is refused."""
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        master = shop.master()
        held = shop.hold(WORKERS - 1)
        shop.kill("KILL")
        shop.wait_restarted(master)
        load.wait_answered(SOME)
        shop.let_go(held)
        expect_all_answered(load.finish())
    assert shop.show("NRestarts") == "1"
    assert "the master before this one ended without a stop; its worker" in shop.journal()


@pytest.mark.parametrize("bind", ["tcp://0.0.0.0:9000", "unix:/run/shop/shop.sock?mode=0666"])
def test_a_listener_of_its_own_outlives_the_master(bind: str, shop: Shop) -> None:
    """Without a socket unit: systemd keeps it for the next master, with the scoreboard."""
    shop.own_listener(bind)
    shop.machine.systemctl("start", SERVICE)
    assert shop.show("NFileDescriptorStore") == "2"
    with shop.load(URL if bind.startswith("tcp") else f"unix:{shop.machine.path('/run/shop/shop.sock')}") as load:
        load.wait_answered(SOME)
        master = shop.master()
        shop.kill("KILL")
        shop.wait_restarted(master)
        load.wait_answered(SOME)
        expect_all_answered(load.finish())
    assert shop.show("NFileDescriptorStore") == "2"


def test_a_master_that_hangs_is_replaced(shop: Shop) -> None:
    """Its workers serve on until the watchdog ends it, and finish; the journal has where it was."""
    shop.unit(SERVICE, WatchdogSec="2s")
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        master = shop.master()
        held = shop.hold(1)
        shop.kill("STOP")
        load.wait_answered(SOME)
        shop.wait_restarted(master)
        load.wait_answered(SOME)
        shop.let_go(held)
        expect_all_answered(load.finish())
    journal = shop.journal()
    assert "Watchdog timeout" in journal
    assert "Fatal Python error: Aborted" in journal
    assert "prefork/master/loop.py" in journal


def test_a_master_deaf_to_the_watchdog_is_killed(shop: Shop) -> None:
    shop.unit(SERVICE, WatchdogSec="2s", TimeoutAbortSec="500ms")
    shop.machine.systemctl("start", SERVICE)
    with shop.load() as load:
        load.wait_answered(SOME)
        master = shop.master()
        shop.hang()
        shop.wait_killed()
        shop.wait_restarted(master)
        load.wait_answered(SOME)
        expect_all_answered(load.finish())


def test_a_stop_ends_a_master_that_hangs(shop: Shop) -> None:
    """Once its time is over it is killed; its workers finish what they have, and nobody is left."""
    shop.unit(SERVICE, TimeoutStopSec="500ms")
    shop.machine.systemctl("start", SERVICE)
    held = shop.hold(1)
    shop.hang()
    shop.machine.systemctl("stop", "--no-block", SOCKET, SERVICE)
    shop.wait_killed()
    shop.machine.wait_show(SERVICE, "ActiveState", "failed")
    assert shop.show("Result") == "timeout"
    shop.let_go(held)


def test_what_cannot_start_is_given_up(shop: Shop) -> None:
    """A wrong configuration is not tried again: the exit code says that it would be of no use."""
    shop.configure(graceful_timeout="soon")
    started = shop.machine.run("systemctl", "start", SERVICE)
    shop.machine.wait_show(SERVICE, "ActiveState", "failed")
    assert (shop.show("ExecMainStatus"), shop.show("NRestarts")) == ("2", "0"), started
    assert "graceful_timeout" in shop.journal()


def test_what_keeps_failing_is_given_up(shop: Shop) -> None:
    """After so many starts within so long, and with it the listener: nobody waits for what does not come."""
    shop.unit(SERVICE, StartLimitBurst="2")
    shop.deploy("1", "import no_such_module")
    shop.machine.run("systemctl", "start", SERVICE)
    shop.machine.wait_show(SERVICE, "ActiveState", "failed")
    assert (shop.show("ExecMainStatus"), shop.show("NRestarts")) == ("3", "2")
    assert "No module named 'no_such_module'" in shop.show("StatusText")
    shop.machine.wait_show(SOCKET, "ActiveState", "failed")
    with shop.machine.network():
        assert is_refused(URL)


def test_what_was_told_to_stop_is_not_started_again(shop: Shop) -> None:
    """Not even where a request had to be cut off."""
    shop.own_listener("tcp://0.0.0.0:9000")
    shop.machine.systemctl("start", SERVICE)
    (held,) = shop.hold(1)
    shop.machine.run(PREFORK, "stop", "--name", "shop", "--now")
    assert held.is_lost()
    shop.machine.wait_show(SERVICE, "ActiveState", "failed")
    assert (shop.show("ExecMainStatus"), shop.show("NRestarts")) == ("5", "0")

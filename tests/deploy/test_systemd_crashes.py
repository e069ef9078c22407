"""What systemd does when the master is killed or hangs, and what clients notice of it: nothing, or that they wait."""

import pytest

from tests.deploy.shop import SERVICE, SOCKET, WORKERS, Shop
from tests.deploy.test_systemd import SOME, expect_all_answered

pytestmark = pytest.mark.deployed


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
        shop.let_go()
        assert all(question.answer().isdigit() for question in held)
        expect_all_answered(load.finish())
    assert shop.show("NRestarts") == "1"


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
    shop.let_go()
    assert all(question.answer().isdigit() for question in held)


def test_what_cannot_start_is_given_up(shop: Shop) -> None:
    """A wrong configuration is not tried again: the exit code says that it would be of no use."""
    shop.configure(graceful_timeout="soon")
    started = shop.machine.run("systemctl", "start", SERVICE)
    shop.machine.wait_show(SERVICE, "ActiveState", "failed")
    assert (shop.show("ExecMainStatus"), shop.show("NRestarts")) == ("2", "0"), started
    assert "graceful_timeout" in shop.journal()

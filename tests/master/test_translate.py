"""Facts that become events, where that is more than reading."""

import contextlib
import os
import signal
from typing import Any, cast

from prefork.config.service import Service
from prefork.master.hands import Child, Hands, Machine
from prefork.master.translate import born
from prefork.system.slots import Scoreboard
from tests.children import Child as Process
from tests.children import Link


def wait_for_usr1(parent: Link) -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    parent.say("blocked")
    return signal.sigwait({signal.SIGUSR1})


def test_who_is_born_while_the_log_is_reopened_is_told_of_it() -> None:
    """It may have taken the old file a moment before, when nobody knew of it yet."""
    hands = Hands("echo", Service(target="app:Echo", bind=("unix:/nowhere/x.sock",)), [], Scoreboard.create(2))
    machine = Machine("shop", lifeline=-1, descriptors=64, molding=cast(Any, None), has_reopened=True)
    with contextlib.closing(hands), contextlib.closing(machine), Process(wait_for_usr1) as newborn:
        newborn.hear()
        list(born(Child(slot=1, order=1, pid=newborn.pid, pidfd=-1), hands, machine))
        assert newborn.hear() == signal.SIGUSR1
        assert os.get_inheritable(hands.children[1].pidfd) is False

"""The log level that an operator asked for, in every process: a cell of each scoreboard, and a signal to look there.

It lasts over reloads and upgrades, for the scoreboards do; a next image that cannot read the book begins as configured.
It must not know who asks. Invariant: who is born later logs like all others.
"""

import logging
from collections.abc import Mapping

from prefork.master.hands import Hands, Machine
from prefork.system import processes, slots
from prefork.system.logs import heed_level, number_of
from prefork.worker.protocol import READ_YOUR_ORDERS


def set_level(level: str, machine: Machine, all_hands: Mapping[str, Hands]) -> None:
    """Log from ``level`` on, here and in every process, also in those that are still to be born."""
    number = number_of(level)
    machine.logs = machine.logs._replace(level=level)
    heed_level(number)
    for hands in all_hands.values():
        hands.board.header[slots.LOG_LEVEL] = number
        for pidfd in hands.pidfds():
            processes.tell(pidfd, READ_YOUR_ORDERS)


def resume_level(machine: Machine, all_hands: Mapping[str, Hands]) -> None:
    """Log as the image before us was told to, if it was."""
    number = max((hands.board.header[slots.LOG_LEVEL] for hands in all_hands.values()), default=0)
    if number:
        machine.logs = machine.logs._replace(level=logging.getLevelName(number).lower())
        heed_level(number)

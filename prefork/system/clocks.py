"""Clocks: what the kernel reads them from, what a look at one costs, and whether the time of day is kept right.

It must not know who looks at a clock. Invariant: nothing is set.
Sources: clock_gettime(2); adjtimex(2), which with no mode only tells.
"""

import ctypes
import time

SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
_LOOKS = 1000
_TIMEX = 256  # bytes of a struct timex, and more
_TIME_ERROR = 5  # the clock is not synchronized


def source() -> str:
    """``tsc``, ``kvm-clock``, ``hpet`` and the like.

    :raises OSError: the kernel does not tell.
    """
    with open(SOURCE) as file:
        return file.read().strip()


def cost() -> float:
    """Seconds that a look at the monotonic clock takes from Python, the call included."""
    before = time.perf_counter()
    for _ in range(_LOOKS):
        time.monotonic()
    return (time.perf_counter() - before) / _LOOKS


def suspended() -> float:
    """Seconds that the machine has slept since it was started: the monotonic clock stood still."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def is_synchronised() -> bool:
    """Whether somebody keeps the time of day right.

    :raises OSError: the kernel, or a sandbox, does not tell.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, "the kernel does not tell")
    return bool(state != _TIME_ERROR)

"""Why a worker ended, and how a load did: fixed words, for whoever counts.

It must not know who is counted. Invariant: a word never changes its meaning, for metrics are compared over years.
Read next: ``tally.py``, the counts; ``docs/control.md``, the words for users.
"""

from enum import StrEnum


class Reason(StrEnum):
    """By what a worker ended, or was made to."""

    REQUESTS = "requests"  # it had served as many as it may
    AGE = "age"
    MEMORY = "memory"  # it had grown beyond its soft limit
    RELOAD = "reload"  # another generation replaced it, or its own was given up
    SURPLUS = "surplus"  # fewer were wanted
    ASKED = "asked"  # an operator had it recycled
    TIMEOUT = "timeout"  # it left after an interrupted request
    REQUEST_HARD = "request-hard"
    MEMORY_HARD = "memory-hard"
    BOOT = "boot"  # it was never ready
    DRAIN = "drain"  # its request was not finished within ``graceful_timeout``
    STOP = "stop"
    OOM = "oom"  # the kernel killed it for want of memory
    SIGNAL = "signal"  # it died by one that was not ours
    EXIT = "exit"  # it ended by itself, told by nobody
    LEFT = "left"  # it decided to: out of memory, told by somebody else, the loop of its server was over
    PROMOTED = "promoted"  # it became a mold


class LoadEnd(StrEnum):
    """How an attempt to bring in a generation ended."""

    SERVES = "serves"
    ABANDONED = "abandoned"  # what served before serves on; or nothing did
    REFUSED = "refused"  # by its configuration
    ROLLED_BACK = "rolled-back"  # it served, and failed its probation

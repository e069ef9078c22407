"""What a generator is told, and what it tells: a line of JSON each. It must not know who writes or reads them.

Invariant: a line has one of these records, and its type is in it.
"""

import msgspec

from prefork.lab.load import GeneratorUse, Load


class Order(msgspec.Struct, frozen=True):
    """The first line to a generator; the second is the instant to begin at, on the monotonic clock.

    :param part: of ``parts``, which of the load is its own.
    :param tape: descriptor of the file in memory for its samples.
    """

    load: Load
    part: int
    parts: int
    tape: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """It waits for the instant."""


class State(msgspec.Struct, frozen=True, tag=True):
    """Now and then.

    :param in_flight: requests that were begun and are not over.
    :param waiting: that are due and have no connection.
    """

    in_flight: int
    waiting: int


class Finished(msgspec.Struct, frozen=True, tag=True):
    """At last.

    :param seconds: of the measured time, until its end or what ended it earlier.
    :param kinds: names of the numbers in the samples.
    :param dropped: connections that the server closed while they carried no request.
    :param first_error: in full; empty where there was none.
    :param first_error_at: in seconds of the measured time.
    """

    use: GeneratorUse
    seconds: float
    kinds: list[str]
    connections: int
    dropped: int
    sent: int
    received: int
    first_error: str
    first_error_at: float


class Failed(msgspec.Struct, frozen=True, tag=True):
    """It cannot do its part.

    :param is_usage: by a mistake in the load, not by what the service does.
    """

    text: str
    is_usage: bool


Report = Ready | State | Finished | Failed

"""A load and what came of it, as records: how a service is asked, and how it answered.

It must not know how requests are sent: that is ``generators.py`` and what it starts.
Invariant: latency is counted from when a request was meant to start, so that a server that stalls cannot hide it.
Source of that: Gil Tene, "How NOT to Measure Latency" (coordinated omission); the correction of wrk2.
Read next: ``generators.py``, which carries a load out.
"""

from typing import Literal

import msgspec

from prefork.lab.doubts import Doubt

MOST_RATE = 1_000_000  # requests a second; what is late is still gone through, one by one
MOST_CLIENTS = 10_000  # of a load: one address has hardly more ports for them


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What is sent, where, and when. Seconds and bytes throughout.

    :param url: ``tcp://``, ``udp://``, ``unix:``, ``unixgram:``, ``tls://``; what ``http://`` and ``https://`` say is
        kept as ``tcp://`` or ``tls://`` with ``path``.
    :param rate: requests a second in all, whatever the server does (open loop); ``None``: each client sends its next
        request when it has its reply (closed loop).
    :param arrivals: when requests of an open loop start: at random, independent of each other, or evenly.
    :param clients: in a closed loop how many; in an open one how many connections there are at most.
    :param duration: seconds that are measured.
    :param warm_up: seconds before that, whose requests are sent and not counted.
    :param requests: end earlier, after as many measured requests; ``None`` is no such end.
    :param per_connection: requests a connection carries before it is closed; ``None`` is as many as there are.
    :param timeout: seconds a request may take, from its sending, before it is an error of kind ``timeout``.
    :param processes: that send; the load is shared out among them.
    :param send: the bytes of a request; of an HTTP request its body.
    :param reply: where a reply ends: ``eof``, ``line``, ``bytes=N``, ``length=N`` (N bytes, big-endian, say how many
        follow), ``until=TEXT`` (with escapes), ``datagram``, ``none``; ``http`` where ``path`` is given.
    :param expect: what a reply has to be; ``None`` takes any.
    :param path: of HTTP requests; empty speaks no HTTP.
    :param method: of HTTP requests.
    :param headers: of HTTP requests, beyond Host and Content-Length.
    :param script: ``MODULE:FUNCTION``, a generator function that is called with the number of each request, yields what
        to send and is given the reply; what it raises is an error of kind ``wrong``.
    :param pace: bytes a second at which a request is sent, for clients that are slow; ``None`` sends it at once.
    :param seed: of what is random.
    :param insecure: believe any certificate of a TLS server.
    :param authorities: path of the certificates to believe instead of the system's.
    :param server_name: that a certificate has to be for, if it is not the URL's host.
    """

    url: str
    rate: float | None = None
    arrivals: Literal["poisson", "constant"] = "poisson"
    clients: int = 1
    duration: float = 10.0
    warm_up: float = 1.0
    requests: int | None = None
    per_connection: int | None = 1
    timeout: float = 10.0
    processes: int = 1
    send: bytes = b""
    reply: str = "eof"
    expect: bytes | None = None
    path: str = ""
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    script: str = ""
    pace: float | None = None
    seed: int = 1
    insecure: bool = False
    authorities: str = ""
    server_name: str = ""


class Latencies(msgspec.Struct, frozen=True):
    """Of requests that were answered rightly, in seconds."""

    mean: float
    p50: float
    p90: float
    p99: float
    p999: float
    maximum: float


class GeneratorUse(msgspec.Struct, frozen=True):
    """What one generating process needed itself, in the measured time.

    :param cpu_seconds: of its own.
    :param seconds: of the clock.
    :param late_p99: seconds by which it sent a request later than it was meant to although a connection was free;
        0 in a closed loop.
    :param least_latency: seconds that it measures of a service that takes no time, see ``calibration.py``.
    """

    cpu_seconds: float
    seconds: float
    requests: int
    late_p50: float = 0.0
    late_p99: float = 0.0
    least_latency: float = 0.0

    @property
    def share(self) -> float:
        """Of one CPU; 1 is all of it, and more than one generator can have."""
        return self.cpu_seconds / self.seconds if self.seconds else 0.0


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a load.

    :param seconds: that were measured.
    :param requests: answered rightly.
    :param errors: by kind: ``refused``, ``reset``, ``timeout``, ``closed`` (ended before the reply was whole),
        ``wrong`` (not the reply that was expected), ``status`` (HTTP 400 and above), ``lost`` (a datagram without
        answer), ``unsent`` (an open loop had no connection left for it before the end), ``unfinished`` (under way when
        the load was ended early), ``tls``, ``descriptors``, ``ports``, ``size`` (of a datagram), or an errno's name.
    :param latency: from the intended start to the whole reply; ``None`` where nothing was answered.
    :param service: from the sending to the whole reply, as most tools show it.
    :param histogram: of the latencies in nanoseconds, an HdrHistogram in its standard coding (V2, compressed, base64).
    :param first_error: in full, with its count of the kind in ``errors``.
    """

    load: Load
    seconds: float
    requests: int
    errors: dict[str, int]
    latency: Latencies | None
    service: Latencies | None
    histogram: str
    bytes_sent: int
    bytes_received: int
    connections: int
    generators: list[GeneratorUse]
    doubts: list[Doubt]
    first_error: str = ""

    @property
    def rate(self) -> float:
        """Requests a second that were answered rightly."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        return sum(self.errors.values())

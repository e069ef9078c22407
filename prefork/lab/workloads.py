"""The built-in workloads: requests whose cost is known, each chosen for what it teaches about the modes.

A workload is written ``cpu=2ms``, ``wait=20ms``, or by its name alone. It must not know how it is run.
Invariant: every line of a comparison is sent the same requests, told by their number and by nothing else.
Read next: ``handlers.py``, which does what the requests ask for.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple

from msgspec.structs import replace

from prefork.config.units import parse_seconds
from prefork.errors import UsageError
from prefork.lab.load import Load

EACH = 10  # requests of ``mixed`` of which one is long
LEAST_DRIP = 0.1  # seconds from one byte to the next; what is due sooner is sent together


class Workload(NamedTuple):
    """See above.

    :param title: its name, with the parameter if it has one.
    :param teaches: what one can learn of it.
    :param load: without an address; how many clients and for how long is not said.
    :param handler: of connections, in ``handlers.py``.
    """

    title: str
    teaches: str
    load: Load
    handler: str = "Stream"

    def fit(self, bind: str) -> tuple[str, Load]:
        """What serves it at such a bind, and what is sent there.

        :raises UsageError: it makes no sense there.
        """
        is_stream = bind.startswith(("tcp:", "unix:"))
        if not is_stream and self.load.pace is not None:
            raise UsageError(f"workload {self.title}: a datagram is not sent slowly; give --bind tcp:// or unix:")
        load = self.load if is_stream else replace(self.load, reply="datagram", per_connection=None)
        return f"prefork.lab.handlers:{self.handler if is_stream else 'Datagram'}", load


class _Kind(NamedTuple):
    """:param load: of the parameter in seconds.
    :param default: the parameter; empty where there is none.
    :param least: seconds.
    """

    teaches: str
    load: Callable[[float], Load]
    default: str = ""
    least: float = 1e-6
    handler: str = "Stream"


def _line(line: bytes) -> Load:
    return Load(url="", send=line, expect=line, reply="line")


def slowly(number: int) -> Generator[bytes, bytes, None]:
    """The script of ``slow-client``: it is spoken to before it sends slowly.

    What is sent to a queue, slowly or not, lies in the kernel's buffers when its turn comes: there nobody is slow. Who
    waits for an answer first has his place by then, and keeps it.
    """
    for line in (b"\n", b".\n"):
        reply = yield line
        assert reply == line, f"{line!r} was answered by {reply!r}"


def mixed(number: int) -> Generator[bytes, bytes, None]:
    """The script of ``mixed``: one request of ten waits for 50 ms, the others compute for 1 ms."""
    line = b"wait 0.05\n" if number % EACH == 0 else b"cpu 0.001\n"
    reply = yield line
    assert reply == line, f"{line!r} was answered by {reply!r}"


_KINDS = {
    "echo": _Kind(
        "A request that costs nothing shows what a mode itself costs: to accept, to hand over, to close."
        " Bare is the least there can be, and what separates prefork from it is the price of supervision.",
        lambda _: _line(b"echo\n"),
    ),
    "cpu": _Kind(
        "A request that computes holds the interpreter: threads share one, processes have one each."
        " More workers help up to the number of CPUs, and no further.",
        lambda seconds: _line(b"cpu %g\n" % seconds),
        "2ms",
    ),
    "wait": _Kind(
        "A request that waits, as for a database, needs a place to wait in and no CPU: the rate is the number of places"
        " divided by the wait. Threads are cheap places, processes dear ones.",
        lambda seconds: _line(b"wait %g\n" % seconds),
        "20ms",
    ),
    "mixed": _Kind(
        "Of ten requests nine compute for 1 ms and one waits for 50 ms. Where places are few the short ones queue"
        " behind the long one, and p99 shows it long before the rate does.",
        lambda _: Load(url="", script=f"{__name__}:mixed", reply="line"),
    ),
    "slow-client": _Kind(
        "A client that is answered and then sends slowly holds its place as long, though nothing is computed: processes"
        " are soon all taken, threads bear it. Before processes put a proxy that reads requests first.",
        lambda seconds: Load(url="", script=f"{__name__}:slowly", reply="line", pace=1 / seconds),
        "100ms",
        LEAST_DRIP,
        "Dialogue",
    ),
}
NAMES = tuple(_KINDS)


def workload(text: str) -> Workload:
    """The workload of that name, as ``cpu=2ms``.

    :raises UsageError: there is none, or its parameter is wrong.
    """
    name, equals, parameter = text.partition("=")
    kind = _KINDS.get(name)
    if kind is None:
        remedy = f"the workloads are {', '.join(NAMES)}; a target is written MODULE:NAME"
        raise UsageError(f"there is no workload {name!r}; {remedy}")
    if not kind.default:
        if equals:
            raise UsageError(f"workload {text!r}: {name} takes no parameter; write it alone")
        return Workload(name, kind.teaches, kind.load(0.0), kind.handler)
    try:
        seconds = parse_seconds(parameter if equals else kind.default)
    except ValueError as error:
        raise UsageError(f"workload {text!r}: {error}") from None
    if seconds < kind.least:
        raise UsageError(f"workload {text!r}: {kind.least:g} s is the least there is; write {name}={kind.default}")
    return Workload(f"{name}={parameter or kind.default}", kind.teaches, kind.load(float(seconds)), kind.handler)

"""A result for people, in a few calm lines. Pure.

It must not know how anything was measured. Invariant: no figure stands without the doubts one should have about it.
"""

from collections.abc import Iterator

from prefork.lab.load import GeneratorUse, Latencies, Load, Result
from prefork.report.units import age, cut, latency, plain, rate, share, size

_COLUMNS = ("p50", "p90", "p99", "p99.9", "max", "mean")
_LABEL, _CELL = 11, 9  # characters
LONGEST_ERROR = 300


def lines(result: Result) -> Iterator[str]:
    """The whole table."""
    yield f"{headline(result.load)}, {age(result.seconds)} measured"
    yield ""
    yield _row("answered", f"{result.requests}", rate(result.rate))
    if result.failed:
        kinds = ", ".join(f"{kind} {count}" for kind, count in result.errors.items())
        yield _row("failed", f"{result.failed}", f"{kinds}")
    traffic = f"{size(result.bytes_sent)} sent, {size(result.bytes_received)} received"
    yield _row("traffic", traffic, f"{result.connections} connections made" if result.connections else "")
    if result.latency is not None:
        yield ""
        yield " " * _LABEL + "".join(f"{name:>{_CELL}}" for name in _COLUMNS)
        yield _figures("latency", result.latency)
        if result.service is not None and result.load.rate is not None:
            yield _figures("service", result.service)
    yield ""
    yield from _generators(result.generators, is_open=result.load.rate is not None)
    if result.first_error:
        yield ""
        yield f"first error: {cut(plain(result.first_error), LONGEST_ERROR)}"
    if result.doubts:
        yield ""
        yield from (f"doubt: {doubt.text}" for doubt in result.doubts)


def headline(load: Load) -> str:
    """What is sent, and where."""
    each = {None: "kept", 1: "one a request"}.get(load.per_connection, f"{load.per_connection} requests each")
    what = f"{load.method} {load.path} at {load.url}" if load.path else load.url
    if load.rate is None:
        how = f"closed loop, {load.clients} client{'s' * (load.clients != 1)}"
    else:
        how = f"open loop, {load.rate:g}/s {load.arrivals}"
    return f"{what}: {how}, connections {each}"


def _row(label: str, *words: str) -> str:
    return f"{label:<{_LABEL}}{'   '.join(word for word in words if word)}"


def _figures(label: str, latencies: Latencies) -> str:
    values = (latencies.p50, latencies.p90, latencies.p99, latencies.p999, latencies.maximum, latencies.mean)
    return f"{label:<{_LABEL}}" + "".join(f"{latency(value):>{_CELL}}" for value in values)


def _generators(uses: list[GeneratorUse], is_open: bool) -> Iterator[str]:
    """What the measuring itself needed."""
    requests = sum(use.requests for use in uses)
    if not requests:
        return
    cost = sum(use.cpu_seconds for use in uses) / requests
    busiest = max(use.share for use in uses)
    who = "of one CPU" if len(uses) == 1 else f"of one CPU in the busiest of {len(uses)}"
    least = max(use.least_latency for use in uses)
    late = f", late by {latency(max(use.late_p99 for use in uses))} at p99" if is_open else ""
    sees = f", sees {latency(least)} where a service takes no time" if least else ""
    yield _row("generator", f"{latency(cost)} CPU a request, {share(busiest)} {who}{late}{sees}")

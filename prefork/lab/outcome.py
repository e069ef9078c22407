"""From raw samples to a result: percentiles, errors by kind, a histogram.

Percentiles are of the raw samples, nearest rank: each is a latency that was measured. The histogram carries the same
samples in the coding that other tools read. It must not know processes.
Invariant: nothing is left out: the requests and the errors of a result are the rows of its samples.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hdrh.histogram import HdrHistogram
from msgspec.structs import replace

from prefork.lab.load import Latencies, Load, Result
from prefork.lab.load_judging import Surroundings, doubts_of, fell_behind
from prefork.lab.reports import Finished
from prefork.lab.samples import KINDS, ROW, Samples

LARGEST = 3_600_000_000_000  # nanoseconds; what is longer counts as an hour
DIGITS = 3
_SUB_BUCKET_BITS = 11  # of a histogram of 3 digits: 2048 sub-buckets


def merged(parts: Sequence[tuple[npt.NDArray[Any], list[str]]]) -> Samples:
    """Samples of several generators, whose kinds may be numbered differently.

    :param parts: the rows of each and the names of its kinds.
    """
    kinds = list(KINDS)
    kinds += [name for name in dict.fromkeys(name for _, names in parts for name in names) if name not in kinds]
    whole = []
    for rows, names in parts:
        renamed = rows.copy()
        renamed["kind"] = np.array([kinds.index(name) for name in names], "u1")[rows["kind"]]
        whole.append(renamed)
    return Samples(np.concatenate(whole) if whole else np.empty(0, ROW), kinds)


def latencies_of(seconds: npt.NDArray[np.float64]) -> Latencies | None:
    """``None`` of nothing."""
    if not len(seconds):
        return None
    p50, p90, p99, p999 = np.quantile(seconds, (0.5, 0.9, 0.99, 0.999), method="inverted_cdf").tolist()
    return Latencies(float(seconds.mean()), p50, p90, p99, p999, float(seconds.max()))


def histogram_of(seconds: npt.NDArray[np.float64]) -> HdrHistogram:
    """An HdrHistogram in nanoseconds.

    Its samples are sorted into its buckets here, all at once: one by one they would take longer than the load did.
    """
    histogram = HdrHistogram(1, LARGEST, DIGITS)
    nanoseconds = np.clip(np.rint(seconds * 1e9), 1, LARGEST).astype(np.int64)
    bits = np.maximum(np.frexp(nanoseconds.astype(np.float64))[1] - _SUB_BUCKET_BITS, 0)
    values, counts = np.unique(nanoseconds >> bits << bits, return_counts=True)
    for value, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)
    return histogram


def result_of(
    load: Load, samples: Samples, ends: Sequence[Finished], *, is_stopped: bool, busy: float, cpus: float, is_here: bool
) -> Result:
    """:param is_stopped: it was ended before its time.
    :param busy: of the CPUs that may be used, in the measured time; 1 is all of them.
    :param cpus: how many those are.
    :param is_here: whether the service is on this machine too.
    """
    latencies = samples.latencies
    begun_for = min(load.duration, max((end.seconds for end in ends), default=0.0))
    was_behind = load.rate is not None and fell_behind(samples, begun_for)
    erring = [end for end in ends if end.first_error]
    result = Result(
        load=load,
        seconds=_seconds(load, samples, begun_for, is_stopped=is_stopped, was_behind=was_behind),
        requests=len(latencies),
        errors=samples.errors,
        latency=latencies_of(latencies),
        service=latencies_of(samples.services),
        histogram=histogram_of(latencies).encode().decode(),
        bytes_sent=sum(end.sent for end in ends),
        bytes_received=sum(end.received for end in ends),
        connections=sum(end.connections for end in ends),
        generators=[end.use for end in ends],
        doubts=[],
        first_error=min(erring, key=lambda end: end.first_error_at).first_error if erring else "",
    )
    around = Surroundings(
        busy=busy,
        cpus=cpus,
        is_here=is_here,
        was_behind=was_behind,
        begun_for=begun_for,
        dropped=sum(end.dropped for end in ends),
    )
    return replace(result, doubts=doubts_of(result, samples, around))


def _seconds(load: Load, samples: Samples, begun_for: float, *, is_stopped: bool, was_behind: bool) -> float:
    """That were measured; of what ended otherwise than by its time, those until its last reply."""
    is_counted = load.requests is not None and begun_for < load.duration
    if is_counted or was_behind:
        return max(begun_for, float(samples.answered["ended"].max(initial=0.0)))
    return begun_for if is_stopped else load.duration

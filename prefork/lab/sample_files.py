"""Results in files of other kinds: raw samples as CSV or NumPy's, a histogram as HdrHistogram's plotter reads it, all
of it for JSON.

Invariant: every sample is in the file, with its kind by name; whatever the table shows is in the JSON.
"""

import io
from typing import Any

import msgspec
import numpy as np

from prefork.lab.load import Result
from prefork.lab.samples import Samples

_MILLISECOND = 1e6  # nanoseconds


def samples_file(samples: Samples, path: str) -> bytes:
    """:param path: its suffix says in which form."""
    rows, kinds = samples.rows, samples.kinds
    out = io.BytesIO()
    if path.endswith(".npz"):
        np.savez_compressed(
            out,
            intended=rows["intended"],
            started=rows["started"],
            ended=rows["ended"],
            kind=rows["kind"],
            kinds=np.array(kinds),
        )
        return out.getvalue()
    out.write(b"intended,started,ended,kind\n")
    for intended, started, ended, kind in rows.tolist():
        out.write(f"{intended:.9f},{started:.9f},{ended:.9f},{kinds[kind]}\n".encode())
    return out.getvalue()


def distribution(result: Result) -> bytes:
    """Percentiles in milliseconds, as hdrhistogram.github.io/HdrHistogram/plotFiles.html draws them."""
    from hdrh.histogram import HdrHistogram

    out = io.BytesIO()
    histogram = HdrHistogram.decode(result.histogram)
    histogram.output_percentile_distribution(out, _MILLISECOND)
    deviation = histogram.get_stddev()  # which it leaves in nanoseconds
    wrong, right = (b"StdDeviation   = %12.3f" % value for value in (deviation, deviation / _MILLISECOND))
    return out.getvalue().replace(wrong, right)


def whole(result: Result) -> dict[str, Any]:
    """The record, and what is computed of it."""
    told: dict[str, Any] = msgspec.to_builtins(result)
    for use, one in zip(told["generators"], result.generators, strict=True):
        use["share"] = one.share
    return {**told, "rate": result.rate, "failed": result.failed}

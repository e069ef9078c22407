"""Results in files of other kinds: raw samples as CSV or NumPy's, a histogram as HdrHistogram's plotter reads it.

Invariant: every sample is in the file, with its kind by name.
"""

import io

import numpy as np

from prefork.lab.load import Result
from prefork.lab.samples import Samples

SUFFIXES = (".csv", ".npz")
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
    HdrHistogram.decode(result.histogram).output_percentile_distribution(out, _MILLISECOND)
    return out.getvalue()

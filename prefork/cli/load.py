"""``prefork load``: send requests to a service, at a rate or by so many clients, and tell how it answered."""

import signal
import sys
from types import FrameType
from typing import Any

import click
from msgspec.structs import replace

from prefork.cli.completing import files, words
from prefork.cli.lab_flags import (
    STDOUT,
    load_flags,
    load_of,
    needs_lab,
    refuse_unwritable,
    seconds,
    write_file,
    write_json,
)
from prefork.errors import UsageError
from prefork.lab.load import Load

DEFAULT_CLIENTS = 10  # of a closed loop
MOST_CONNECTIONS = 1000  # of an open one
UNBOUNDED = 86_400.0  # seconds, where a number of requests ends it
INTERRUPTED = 130  # 128 and SIGINT, as shells tell it


@click.command(options_metavar="[OPTIONS]")
@click.argument("url")
@click.option(
    "-r",
    "--rate",
    metavar="N",
    type=float,
    help="Requests a second, whatever the server does (open loop).  [default: as fast as it answers]",
)
@click.option(
    "-c",
    "--clients",
    metavar="N",
    type=int,
    help="How many send at a time; with --rate the most connections.  [default: 10; 1000 with --rate]",
)
@click.option("-d", "--duration", metavar="TIME", help="How long to measure.  [default: 10s]")
@click.option("-n", "--requests", metavar="N", type=int, help="End after so many; without --duration only then.")
@click.option(
    "--warm-up", metavar="TIME", help="Send for so long before that.  [default: 1s; none with --requests alone]"
)
@click.option(
    "--arrivals",
    type=click.Choice(["poisson", "constant"]),
    default="poisson",
    help="With --rate: at random, as from many independent clients, or evenly.  [default: poisson]",
    shell_complete=words("poisson", "constant"),
)  # fmt: skip
@load_flags()
@click.option(
    "--json", "json_path", metavar="FILE", shell_complete=files, help="Write the result as JSON; - is standard output."
)
@click.option("--samples", metavar="FILE", shell_complete=files, help="Write what every request took, as .csv or .npz.")
@click.option(
    "--hdr",
    metavar="FILE",
    shell_complete=files,
    help="Write the percentiles for HdrHistogram's plotter; -: print them.",
)
def load(url: str, json_path: str | None, samples: str | None, hdr: str | None, **flags: Any) -> None:
    """Load the service at URL and tell how it answered: latencies, errors, and what to doubt.

    URL is tcp://HOST:PORT, tls://, unix:PATH, udp://, unixgram:PATH, http:// or https://. Exit 0 when anything was
    answered, 1 when nothing was.
    """
    interrupt = _Interrupt()
    wanted = _load(url, flags)
    if samples is not None and not samples.endswith((".csv", ".npz")):
        raise UsageError(f"--samples: {samples} has to end in .csv or .npz, which says how it is written")
    if json_path == hdr == STDOUT:
        raise UsageError("--json and --hdr: standard output holds one of them; write the other to a file")
    for flag, path in (("--json", json_path), ("--samples", samples), ("--hdr", hdr)):
        if path not in (None, STDOUT):
            refuse_unwritable(flag, path)
    needs_lab("load")
    from prefork.lab import generators, load_screen, load_table, sample_files

    with load_screen.Screen(wanted) as screen:
        result, raw = generators.run(wanted, screen.show, interrupt.has_come)
    if STDOUT not in (json_path, hdr):
        for line in load_table.lines(result):
            click.echo(line)
    if samples is not None:
        write_file("--samples", samples, sample_files.samples_file(raw, samples))
    if hdr is not None:
        write_file("--hdr", hdr, sample_files.distribution(result))
    if json_path is not None:
        write_json(json_path, sample_files.whole(result))
    if interrupt.has_come():
        sys.exit(INTERRUPTED)
    if not result.requests:
        sys.exit(1)


def _load(url: str, flags: dict[str, Any]) -> Load:
    chosen: dict[str, Any] = {
        "rate": flags["rate"],
        "clients": DEFAULT_CLIENTS if flags["rate"] is None else MOST_CONNECTIONS,
        "requests": flags["requests"],
        "duration": seconds("--duration", flags["duration"]),
        "warm_up": seconds("--warm-up", flags["warm_up"]),
        "arrivals": flags["arrivals"],
    }
    if flags["clients"] is not None:
        chosen["clients"] = flags["clients"]
    if chosen["requests"] is not None and chosen["duration"] is None:
        chosen["duration"] = UNBOUNDED
        chosen["warm_up"] = chosen["warm_up"] or 0.0
    return replace(load_of(url, flags), **{name: value for name, value in chosen.items() if value is not None})


class _Interrupt:
    """^C: the first ends the load, and what was measured is told; the second ends at once."""

    def __init__(self) -> None:
        self._has_come = False
        signal.signal(signal.SIGINT, self._take)

    def has_come(self) -> bool:
        return self._has_come

    def _take(self, signum: int, frame: FrameType | None) -> None:
        if self._has_come:
            sys.exit(INTERRUPTED)
        self._has_come = True

"""The handlers of the built-in workloads: each request says in a line what it costs, and is answered by that line.

``cpu 0.002`` computes for 2 ms, ``wait 0.02`` sleeps for 20, and whatever else costs nothing. It is written as a user
would write it, and is all that the processes under test load of the lab. It must not know who runs it.
Read next: ``workloads.py``, the requests that go with it.
"""

import time
from typing import Any

from prefork import socketserver


def burn(seconds: float) -> None:
    """Compute until this thread has used so much CPU time: as many steps as the machine is fast, whoever else runs."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        sum(range(200))  # a few µs from one look at the clock to the next


_COSTS = {b"cpu": burn, b"wait": time.sleep}


class _Chore:
    rfile: Any
    wfile: Any

    def handle(self) -> None:
        """Read what is asked for, do it, and say it again."""
        line = self.rfile.readline()
        word, _, seconds = line.partition(b" ")
        if word in _COSTS:
            _COSTS[word](float(seconds))
        self.wfile.write(line)


class Stream(_Chore, socketserver.StreamRequestHandler):
    """A line a connection."""


class Dialogue(socketserver.StreamRequestHandler):
    """A line for a line, until the client has no more to say."""

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line)


class Datagram(_Chore, socketserver.DatagramRequestHandler):
    """A line a datagram."""

"""Services whose answers take a time that is known beforehand. They wait and do not burn, so a core is no limit."""

import fcntl
import math
import random
import time

from prefork.socketserver import StreamRequestHandler

PAGE = b"x" * 1000
MEAN = 0.01  # seconds

_SHARES = [(n + 0.5) / 1000 for n in range(1000)]
random.Random(1).shuffle(_SHARES)


def exponential(number: int) -> float:
    """The service time of a request: of each thousand in a row the quantiles of the distribution, in random order."""
    return -MEAN * math.log(1 - _SHARES[number % len(_SHARES)])


class Line(StreamRequestHandler):
    """A line for a line, at once."""

    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


class Constant(StreamRequestHandler):
    """A line for a line, after ``MEAN``."""

    def handle(self) -> None:
        line = self.rfile.readline()
        time.sleep(MEAN)
        self.wfile.write(line)


class Exponential(StreamRequestHandler):
    """A line with a number for the same line, after the time that belongs to the number."""

    def handle(self) -> None:
        line = self.rfile.readline()
        time.sleep(exponential(int(line)))
        self.wfile.write(line)


class Page(StreamRequestHandler):
    """A page over HTTP, one a connection: the client's tools share no more than that."""

    wait = 0.0

    def handle(self) -> None:
        while self.rfile.readline().strip():
            pass
        time.sleep(self.wait)
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(PAGE)
        self.wfile.write(head + PAGE)


class SlowPage(Page):
    """The same after 5 ms, so that the service is the limit and not who asks it."""

    wait = 0.005


class Contended(StreamRequestHandler):
    """A line for a line; a part of the work only one worker does at a time, as with one row of a database."""

    def handle(self) -> None:
        line = self.rfile.readline()
        with open(__file__, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            time.sleep(0.001)
        time.sleep(0.005)
        self.wfile.write(line)

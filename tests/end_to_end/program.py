"""What a program of ``test_library.py`` says and looks at. It runs in the program, beside the product.

Invariant: every word to the test is one line.
Read next: ``test_library.py``, whose programs begin with ``from tests.end_to_end.program import *``.
"""

import contextlib
import logging
import os
import signal
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import prefork
from prefork.socketserver import (
    PreforkingMixIn,
    PreforkingTCPServer,
    PreforkingUDPServer,
    PreforkingUnixDatagramServer,
    PreforkingUnixStreamServer,
)
from tests.end_to_end import apps
from tests.end_to_end.apps import pass_gate

__all__ = [
    "PreforkingMixIn",
    "PreforkingTCPServer",
    "PreforkingUDPServer",
    "PreforkingUnixDatagramServer",
    "PreforkingUnixStreamServer",
    "apps",
    "contextlib",
    "listening",
    "logging",
    "os",
    "pass_gate",
    "prefork",
    "say",
    "signal",
    "socketserver",
    "state",
    "subprocess",
    "sys",
    "threading",
]

logging.basicConfig(level="DEBUG", format="%(levelname)s %(message)s")

# whoever runs the tests in the background, or by nohup, hands down that these are ignored, and a library leaves it so
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def say(*words: object) -> None:
    os.write(1, (" ".join(["program:", *map(str, words)]) + "\n").encode())  # at once, for threads speak too


def listening(server: socketserver.BaseServer) -> None:
    """Tell the test where, as the master's log does."""
    assert isinstance(server, socketserver.TCPServer)
    address: object = server.server_address
    is_stream = server.socket.type == socket.SOCK_STREAM
    if isinstance(address, tuple):
        say(f"listening on {'tcp' if is_stream else 'udp'}://{address[0]}:{address[1]}")
    else:
        say(f"listening on {'unix' if is_stream else 'unixgram'}:{address}")


def state() -> dict[str, object]:
    """All that must be after serving what it was before."""
    descriptors = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one we list by
            descriptors[fd] = os.readlink(f"/proc/self/fd/{fd}")
    wakeup_fd = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup_fd)
    return {
        "descriptors": descriptors,
        "handlers": [signal.getsignal(signum) for signum in signal.valid_signals()],
        "wakeup": wakeup_fd,
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "threads": threading.enumerate(),
        "children": Path(f"/proc/self/task/{os.getpid()}/children").read_text(),
    }

"""A master that says what a test lets it say, over real pairs of sockets, and the watcher that asks it."""

import contextlib
import socket
import threading
from queue import SimpleQueue

from prefork.admin.watcher import SilentError, Watcher
from prefork.control.client import Connection
from prefork.control.messages import Events, Heard, Reply, Status, Told, encode, read_request
from tests.admin.reports import service, snapshot
from tests.children import LIMIT


class FakeMaster:
    """Answers each ``Status`` as soon as it may.

    :ivar asked: how often it was asked.
    """

    def __init__(self) -> None:
        self._asked_of, asks = socket.socketpair()
        self._heard_by, hears = socket.socketpair()
        self.asked = 0
        self.log_level = ""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.has_been_asked: SimpleQueue[int] = SimpleQueue()
        self.leavers: SimpleQueue[None] = SimpleQueue()  # threads of the watcher that have nobody to hear any more
        asking, hearing = (Connection(end, None, "shop", LIMIT) for end in (asks, hears))
        self.watcher = Watcher(asking, hearing, leave=lambda: self.leavers.put(None))
        self._ends = (self._asked_of, self._heard_by, asks, hears)
        self._thread = threading.Thread(target=self._answer, daemon=True)

    def tell(self, text: str) -> None:
        """It has happened."""
        self._say(self._heard_by, Told(at=0.0, level="info", event="worker-ready", text=text))

    def hang_up(self) -> None:
        for end in (self._asked_of, self._heard_by):
            end.shutdown(socket.SHUT_RDWR)

    def _answer(self) -> None:
        for line in self._asked_of.makefile("rb"):
            assert read_request(line) == Status()
            self.asked += 1
            self.has_been_asked.put(self.asked)
            self.may_answer.wait(LIMIT)
            with contextlib.suppress(OSError):
                self._say(self._asked_of, snapshot(service(requests=self.asked), log_level=self.log_level))

    def _say(self, end: socket.socket, reply: Reply) -> None:
        end.sendall(encode(reply))

    def __enter__(self) -> "FakeMaster":
        self._thread.start()
        self.watcher.start()
        assert read_request(self._heard_by.makefile("rb").readline()) == Events(last=100)
        self._say(self._heard_by, Heard())
        return self

    def __exit__(self, *exception: object) -> None:
        self.may_answer.set()
        self.hang_up()
        with contextlib.suppress(SilentError):  # who asks for nobody has not seen that yet
            self.watcher.look_again(after=self.asked, patience=0.0)
        for _ in range(2):
            self.leavers.get(timeout=LIMIT)
        self._thread.join(LIMIT)
        self.close()

    def close(self) -> None:
        for end in self._ends:
            end.close()

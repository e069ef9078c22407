"""The chronicle: what happened lately, and who wants to hear what happens next.

It must not know what things mean, nor ever wait for who listens: who does not read is dropped.
Invariant: a follower hears everything once and in order, from where it began to the end of its connection.
Read next: ``operators.py``, who keeps it; ``prefork/report/told.py``, the records.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from prefork.control.messages import Done, Told
from prefork.control.server import Client, Server

REMEMBERED = 200
HEAD, TAIL = 1000, 3000  # characters of a text that are kept: how it begins, and how a traceback ends
_BELOW = ("debug",)  # every birth and every boot would crowd out what an operator asks for


class Chronicle:
    """:param server: whose clients follow; ``None`` where there is none.
    :param remembered: what happened before us.
    """

    def __init__(self, server: Server | None, remembered: Iterable[Told] = ()) -> None:
        self._server = server
        self._remembered: deque[Told] = deque(remembered, maxlen=REMEMBERED)
        self._count = len(self._remembered)  # of all that was ever kept
        self._heard: dict[Client, int] = {}  # by follower: how many of those

    @property
    def remembered(self) -> list[Told]:
        """The oldest first."""
        return list(self._remembered)

    @property
    def followers(self) -> list[Client]:
        return [client for client in self._heard if not client.is_gone]

    def keep(self, told: Told) -> None:
        """It happened: remember it, and tell who follows."""
        if told.level in _BELOW:
            return
        if len(told.text) > HEAD + TAIL:
            told = replace(told, text=f"{told.text[:HEAD]} … {told.text[-TAIL:]}")
        self._remembered.append(told)
        self._count += 1
        for client in self.followers:
            if client.rest is None:  # else it comes to this by itself
                self._tell(client, told)

    def tell_last(self, last: int) -> Iterator[Told | Done]:
        """The last that have happened by now, as many as are remembered; and then the end of that answer."""
        yield from self.remembered[-last:] if last > 0 else ()
        yield Done(text="that is all")

    def follow(self, client: Client, last: int) -> None:
        """:param last: tell as many that have happened already, as far as they are remembered."""
        self._heard = {other: heard for other, heard in self._heard.items() if not other.is_gone}
        self._heard[client] = self._count - min(max(0, last), len(self._remembered))
        assert self._server is not None, "a client came from there"
        self._server.follow(client, self._rest(client))

    def go_on(self, client: Client) -> None:
        """Somebody followed the image before us, and has heard all that is remembered."""
        self._heard[client] = self._count

    def _tell(self, client: Client, told: Told) -> None:
        assert self._server is not None, "a client came from there"
        self._heard[client] = self._count
        self._server.tell(client, told)

    def _rest(self, client: Client) -> Iterator[Told]:
        """What it has not heard yet, also of what happens while it reads. What is forgotten by then it never hears."""
        while (heard := self._heard[client]) < self._count:
            missed = self._count - len(self._remembered)
            self._heard[client] = max(heard, missed) + 1
            yield self._remembered[max(heard, missed) - missed]

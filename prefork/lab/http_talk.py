"""HTTP/1.1 as a generator speaks it: one request in bytes, and the reader of its replies, by httptools.

It must not know sockets. Invariant: a reply ends where RFC 9112, section 6.3, says so, however its bytes are cut.
Read next: ``exchange.py``, what a reader is.
"""

import httptools

from prefork.lab.load import Load

FAILED = 400  # from this status on it did not do what was asked: nobody measures how fast that is said unawares


def request_of(load: Load, host: str) -> bytes:
    """:param host: for the header of that name, where the load brings none."""
    named = {name.lower() for name, _ in load.headers}
    lines = [f"{load.method} {load.path} HTTP/1.1"]
    if "host" not in named:
        lines.append(f"Host: {host}")
    if load.send or load.method in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(load.send)}")
    if load.per_connection == 1 and "connection" not in named:
        lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in load.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + load.send


class HttpReader:
    """Reads one reply after the other, of a body of which only what is expected is kept.

    :param has_body: whether replies have one: those to HEAD have none.
    """

    def __init__(self, has_body: bool = True, keeps: bool = True) -> None:
        self._has_body = has_body
        self._body: list[bytes] = []
        if keeps:
            self.on_body = self._body.append
        self._parser = httptools.HttpResponseParser(self)  # it looks now which callbacks there are
        self._is_headed = self._is_whole = self._is_sized = False
        self._status = 0
        self.reply = b""
        self.may_keep = True
        self.has_surplus = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"content-length", b"transfer-encoding"):
            self._is_sized = True

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        self._is_headed = self._status >= 200
        if self._is_headed and not self._has_body:
            self._is_whole = True
            self.may_keep = self._parser.should_keep_alive()

    def on_message_complete(self) -> None:
        if self._is_headed:  # and not one of those that only say that the reply will come
            self._is_whole = True
            self.may_keep = self._parser.should_keep_alive()

    def on_message_begin(self) -> None:
        self.has_surplus = self._is_whole

    def feed(self, data: bytes) -> bool:
        """:raises ValueError: it is not HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the status tells
        except httptools.HttpParserError as error:
            raise ValueError(f"not HTTP: {error}") from None
        if self._is_whole:
            self.reply = b"".join(self._body)
        return self._is_whole

    def end(self) -> bool:
        if self._is_headed and not self._is_sized:  # such a body ends with the connection
            self.reply = b"".join(self._body)
            self.may_keep = False
            return True
        return False

    def fault(self) -> tuple[str, str] | None:
        return ("status", f"the server answered with status {self._status}") if self._status >= FAILED else None

    def clear(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self.may_keep = True
        self.turn()

    def turn(self) -> bool:
        if not self._has_body:  # the parser still waits for the body that was announced
            self._parser = httptools.HttpResponseParser(self)
        self._body.clear()
        self._is_headed = self._is_whole = self._is_sized = False
        self.has_surplus = False
        return False

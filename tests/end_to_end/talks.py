"""What the clients of a load say, and which replies are right: lines to the tests' application, or orders to the shop.

    talk = TALKS["orders"]
    talk.question(1, "client a")

It must not know sockets. Invariant: no two questions are the same, so a reply that belongs to another is not right.
Read next: ``load.py``, who asks.
"""

import json
from typing import Protocol


class Talk(Protocol):
    def question(self, number: int, tag: str) -> bytes: ...

    def is_whole(self, reply: bytes) -> bool:
        """Whether no more of it can come."""

    def is_right(self, question: bytes, reply: bytes) -> bool: ...


class Lines:
    """What ``tests.end_to_end.apps`` speaks: a line, and the same in capitals."""

    def question(self, number: int, tag: str) -> bytes:
        return f"question {number} of {tag}\n".encode()

    def is_whole(self, reply: bytes) -> bool:
        return reply.endswith(b"\n")

    def is_right(self, question: bytes, reply: bytes) -> bool:
        return reply == question.upper()


class Orders:
    """What ``examples.orders`` speaks: HTTP, and the order that was asked for. One request a connection."""

    def question(self, number: int, tag: str) -> bytes:
        return f"GET /orders/{number}-{tag} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n".encode()

    def is_whole(self, reply: bytes) -> bool:
        head, end, body = reply.partition(b"\r\n\r\n")
        return bool(end) and len(body) >= _content_length(head)

    def is_right(self, question: bytes, reply: bytes) -> bool:
        head, _, body = reply.partition(b"\r\n\r\n")
        order = question.split()[1].decode().rpartition("/")[2]
        return head.split()[1:2] == [b"200"] and body == json.dumps({"order": order, "state": "sent"}).encode() + b"\n"


TALKS: dict[str, Talk] = {"lines": Lines(), "orders": Orders()}


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0

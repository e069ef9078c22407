"""A client of the line services: ``python -m examples.say 127.0.0.1:9000 hello``, or a path instead of host and port.

It takes an address as a bind has it, too: ``tcp://127.0.0.1:9000``, ``udp://127.0.0.1:9000``, ``unix:/tmp/x.sock``,
``unixgram:/tmp/x.sock``. It says the text, a line, and prints the line or the datagram that comes back.
"""

import socket
import sys

LIMIT = 30.0  # seconds
KINDS = {
    "tcp": (socket.AF_INET, socket.SOCK_STREAM),
    "udp": (socket.AF_INET, socket.SOCK_DGRAM),
    "unix": (socket.AF_UNIX, socket.SOCK_STREAM),
    "unixgram": (socket.AF_UNIX, socket.SOCK_DGRAM),
}


def connect(address: str) -> socket.socket:
    scheme, _, place = address.partition(":")
    if scheme not in KINDS:
        scheme, place = "unix" if address.startswith("/") else "tcp", address
    family, kind = KINDS[scheme]
    client = socket.socket(family, kind)
    client.settimeout(LIMIT)
    if scheme == "unixgram":
        client.bind("")  # the kernel chooses a name, so that there is one to reply to
    if family == socket.AF_UNIX:
        client.connect(place)
    else:
        host, _, port = place.removeprefix("//").rpartition(":")
        client.connect((host, int(port)))
    return client


def main(address: str, text: str) -> None:
    with connect(address) as client:
        client.sendall(text.encode() + b"\n")
        print(client.makefile().readline(), end="")


if __name__ == "__main__":
    main(*sys.argv[1:3])

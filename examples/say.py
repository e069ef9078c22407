"""A client of the line service: ``python -m examples.say 127.0.0.1:9000 hello``, or a path instead of host and port."""

import sys

from examples.demo import connect


def main(address: str, text: str) -> None:
    host, colon, port = address.rpartition(":")
    with connect((host, int(port)) if colon else address) as client:
        client.sendall(text.encode() + b"\n")
        print(client.makefile().readline(), end="")


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""Whatever comes goes back (RFC 862): what a stream handler is, and what a datagram handler.

    prefork run examples.echo:Stream   -b tcp://127.0.0.1:9007 -b unix:/tmp/echo.sock
    prefork run examples.echo:Datagram -b udp://127.0.0.1:9007 -b unixgram:/tmp/echo-datagram.sock

    python -m examples.say tcp://127.0.0.1:9007 hello
    python -m examples.say unix:/tmp/echo.sock hello
    python -m examples.say udp://127.0.0.1:9007 hello
    python -m examples.say unixgram:/tmp/echo-datagram.sock hello

A stream handler lives as long as its connection and keeps its worker as long: four workers, four clients at a time, and
the fifth waits. A datagram handler lives for one datagram. Keep the datagrams on loopback: anybody can forge a sender,
and two echo services that were introduced to each other never stop.
"""

from prefork.socketserver import DatagramRequestHandler, StreamRequestHandler


class Stream(StreamRequestHandler):
    def handle(self) -> None:
        while data := self.rfile.read1():  # what is there by now, be it half a line
            self.wfile.write(data)


class Datagram(DatagramRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.packet)

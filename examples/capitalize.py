"""A line service: every line comes back in capitals, until the client hangs up.

prefork run examples.capitalize:Handler -b tcp://127.0.0.1:9000 -w 2
"""

import socketserver


class Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.upper())

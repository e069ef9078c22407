"""A directory over HTTP, by the standard library's handler, with the doors closed that it leaves open.

    FILES_ROOT=/srv/www prefork run examples.files:Handler -b tcp://127.0.0.1:8000 -w 8
    curl -i http://127.0.0.1:8000/

GET and HEAD. A directory shows its ``index.html`` and is never listed; what begins with a dot is not there, and neither
is what a symbolic link leads out of the directory.

A worker belongs to one connection until that ends. So this is HTTP/1.0: one request, and the worker is free again. With
``protocol_version = "HTTP/1.1"`` connections would be kept alive, and a browser keeps about six: each would hold a
worker that does nothing, and with ``-w 8`` the second visitor waits until ``timeout`` hangs up on the first. A proxy in
front keeps connections alive at little cost; let it come by ``-b unix:/run/files.sock``.
"""

import os
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

ROOT = os.path.realpath(os.environ.get("FILES_ROOT", "."))
NOWHERE = ""


class Handler(SimpleHTTPRequestHandler):
    timeout = 10.0  # seconds for each read and write: a client that says nothing gives its worker back

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=ROOT)

    def translate_path(self, path: str) -> str:
        """The file that a URL's path means, or nowhere."""
        file = super().translate_path(path)
        if file.endswith("/"):
            file += "index.html"
        try:
            inside = os.path.relpath(os.path.realpath(file), ROOT)
        except ValueError:  # a zero byte
            return NOWHERE
        is_hidden = any(part.startswith(".") for part in Path(inside).parts)  # ".." too, the way out
        return NOWHERE if is_hidden else file

    def list_directory(self, path: Any) -> None:
        self.send_error(404)

    def address_string(self) -> str:
        """The client's address for the log; by a Unix socket nobody has one."""
        return super().address_string() if self.client_address else "unix"

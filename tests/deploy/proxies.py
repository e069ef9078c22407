"""A real nginx and a real HAProxy, with the files of ``deploy/`` as they are but for the directories they name.

    with Nginx(place) as nginx:
        nginx.reload()

The ports are those of the files: who uses this is in a network of his own. It must not know the product.
Invariant: no process of a proxy survives the ``with`` block, and nothing of it lies outside the directory of the test.
Read next: ``test_proxies.py``.
"""

import contextlib
import csv
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from tests.end_to_end.clients import LIMIT, endpoint
from tests.end_to_end.harness import ROOT, Process, Watched, all_processes, look_until

HTTP, TCP = "tcp://127.0.0.1:80", "tcp://127.0.0.1:9900"
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

# What Debian's nginx.conf says, as far as it matters here, in a directory of the test.
_NGINX_CONF = """
user www-data;
worker_processes 2;
pid {place}/nginx.pid;
error_log {place}/nginx.log notice;
load_module {module};
include {place}/shop-stream.conf;
events {{ worker_connections 768; }}
http {{
    access_log off;
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    include {place}/shop.conf;
}}
"""


class Edit(NamedTuple):
    """What an operator changes in a file of ours: the lines that begin with ``old``, comments among them."""

    old: str
    new: str


def shipped(name: str, edits: Sequence[Edit] = ()) -> str:
    """A file of ``deploy/``, edited. Each edit finds something to change."""
    text = (ROOT / "deploy" / name).read_text()
    for edit in edits:
        text, count = re.subn(rf"^( *){re.escape(edit.old)}", rf"\g<1>{edit.new}", text, flags=re.MULTILINE)
        assert count, f"no line of {name} begins with {edit.old!r}"
    return text


class _Daemon:
    """A proxy in the foreground: a master whose children are the workers."""

    def __init__(self, place: Path, command: Sequence[str]) -> None:
        self._place = place
        self._command = command

    def workers(self) -> list[Process]:
        return [p for p in all_processes() if p.parent == self._process.pid and not p.is_zombie]

    def __enter__(self) -> Self:
        self._output = open(self._place / "output", "wb")
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stdout=self._output, stderr=subprocess.STDOUT
        )
        look_until(self._is_there, f"{self._command[0]} listens; it says {self.said()!r}")
        return self

    def _is_there(self) -> bool:
        assert self._process.poll() is None, f"{self._command[0]} has ended; it said {self.said()!r}"
        with contextlib.suppress(OSError), endpoint(HTTP).connect(), endpoint(TCP).connect():
            return True
        return False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with Watched(process.pid for process in self.workers()) as workers, self._output:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LIMIT)
            for pid in workers.living():
                workers.kill(pid)
            workers.wait_all()
            self._process.kill()
            self._process.wait()
        if error is not None:
            error.add_note(f"--- {self._command[0]} said\n{self.said()}")

    def said(self) -> str:
        files = [self._place / "output", self._place / "nginx.log"]
        return "".join(path.read_text(errors="replace") for path in files if path.exists())

    def _replace_workers(self) -> Watched:
        """Those of now, whose end is to be waited for."""
        return Watched(process.pid for process in self.workers())


class Nginx(_Daemon):
    """:param edits: of ``shop.conf``; ``stream_edits``: of ``shop-stream.conf``."""

    def __init__(self, place: Path, edits: Sequence[Edit] = (), stream_edits: Sequence[Edit] = ()) -> None:
        self._place = place
        for name, its_edits in (("shop.conf", edits), ("shop-stream.conf", stream_edits)):
            text = shipped(f"nginx/{name}", its_edits)
            (place / name).write_text(re.sub(r"unix:/run/shop\d?/", f"unix:{place}/", text))
        (place / "nginx.conf").write_text(_NGINX_CONF.format(place=place, module=STREAM_MODULE))
        super().__init__(place, [*self._nginx, "-g", "daemon off;"])

    @property
    def _nginx(self) -> list[str]:
        return ["nginx", "-p", str(self._place), "-c", str(self._place / "nginx.conf")]

    @staticmethod
    def door(place: Path, name: str = "shop") -> str:
        """The Unix bind that an instance has for it."""
        return f"unix:{place}/{name}.sock?mode=0660&group=www-data"

    def reload(self) -> None:
        with self._replace_workers() as old:
            _said_by([*self._nginx, "-s", "reload"])
            old.wait_all()


class HAProxy(_Daemon):
    """As systemd runs it in Debian, a master and its worker; its root is a directory of the test."""

    def __init__(self, place: Path, edits: Sequence[Edit] = ()) -> None:
        self._place = place
        jail = place / "jail"
        jail.mkdir(exist_ok=True)
        text = shipped("haproxy/haproxy.cfg", edits)
        text = text.replace("/var/lib/haproxy", str(jail)).replace("/run/haproxy/", f"{place}/")
        (place / "haproxy.cfg").write_text(text)
        super().__init__(place, ["haproxy", "-Ws", "-f", str(place / "haproxy.cfg")])

    @staticmethod
    def door(place: Path, name: str = "shop") -> str:
        """The Unix bind that an instance has for it."""
        (place / "jail/run" / name).mkdir(parents=True, exist_ok=True)
        return f"unix:{place}/jail/run/{name}/{name}.sock?mode=0660&group=haproxy"

    def reload(self) -> None:
        with self._replace_workers() as old:
            os.kill(self._process.pid, signal.SIGUSR2)
            old.wait_all()

    def ask(self, command: str) -> str:
        """What it says on its own socket."""
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(LIMIT)
            client.connect(str(self._place / "admin.sock"))
            client.sendall(command.encode() + b"\n")
            said = b""
            while part := client.recv(65536):
                said += part
        return said.decode()

    def stat(self, backend: str, server: str) -> dict[str, str]:
        """What it knows of a server, by the names of the columns; ``BACKEND`` and ``FRONTEND`` are servers too."""
        (row,) = [row for row in self._stats() if (row["pxname"], row["svname"]) == (backend, server)]
        return row

    def is_all_up(self) -> bool:
        """Whether every server that is checked may get clients."""
        return all(row["status"] == "UP" for row in self._stats() if row["check_status"])

    def _stats(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.ask("show stat").lstrip("# ").splitlines()))


def _said_by(command: Sequence[str]) -> str:
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT)
    assert result.returncode == 0, f"{' '.join(command)}: exit {result.returncode}: {result.stdout}"
    return result.stdout


def missing() -> str:
    """Why the tests of the proxies cannot run here; empty if they can."""
    if os.geteuid() != 0:
        return "not root, so the proxies cannot have users of their own"
    for name in ("nginx", "haproxy"):
        if shutil.which(name) is None:
            return f"{name} is not installed"
    return "" if STREAM_MODULE.exists() else "nginx has no module for streams: libnginx-mod-stream"

"""A rehearsal: a service's application is loaded in a child, as a mold would, and nothing of it is served.

The child says what went wrong, and what it has that no fork of it should share. It must not know who asks, nor what is
made of the answer.
Invariant: whatever the application does at import, it does in a process that is gone when the answer is there.
Read next: ``worker/trial.py``, the child; ``worker/forksafety.py``, what it looks for.
"""

import json
import subprocess
import sys
import tempfile
from typing import NamedTuple

from prefork.config.service import Service
from prefork.worker.protocol import PROTOCOL, Brief, encode

DIED = "its process died"


class Outcome(NamedTuple):
    """How it went.

    :param why: it cannot be loaded, of several lines where it is the application's own traceback; empty, if it can.
    :param threads: it started at import; ``loops`` it made, and ``sockets`` it opened, each by its name.
    """

    why: str = ""
    threads: tuple[str, ...] = ()
    loops: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()

    @property
    def is_its_own_error(self) -> bool:
        return "\n" in self.why

    @property
    def last_line(self) -> str:
        return self.why.rpartition("\n")[2]


def rehearse(name: str, service: Service, output: int | None = None) -> Outcome:
    """Load the application of the service ``name`` in a child.

    :param output: where the child's standard output goes; ``None`` leaves it ours.
    """
    trial = [sys.executable, *(["-P"] if service.user else []), "-m", "prefork.worker.trial"]
    with tempfile.TemporaryFile() as told:
        try:
            done = subprocess.run(
                [*trial, str(told.fileno())],
                input=encode(_brief(name, service)),
                stdout=output,
                stderr=subprocess.PIPE,
                pass_fds=[told.fileno()],
                timeout=service.boot_timeout,
            )
        except subprocess.TimeoutExpired:
            return Outcome(f"not loaded within {service.boot_timeout:g} s; raise boot_timeout if it needs longer")
        told.seek(0)
        found = told.read()
    if done.returncode:
        return Outcome(done.stderr.decode(errors="replace").rstrip() or DIED)
    names: dict[str, list[str]] = json.loads(found)
    threads, loops, sockets = (tuple(names[kind]) for kind in ("threads", "loops", "sockets"))
    return Outcome("", threads, loops, sockets)


def _brief(name: str, service: Service) -> Brief:
    return Brief(
        PROTOCOL,
        "check",
        name,
        generation=0,
        target=service.target,
        handler=service.handler,
        worker_start=service.worker_start,
        worker_stop=service.worker_stop,
        health=service.health,
        binds=[(address, -1) for address in service.addresses],
        chdir=service.chdir,
        pythonpath=list(service.pythonpath),
        privileges=service.privileges,
    )

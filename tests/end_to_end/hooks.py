"""Hooks of workers, for the tests: each tells the test at the gate, by the badge it was given."""

import os
from typing import Any

from tests.end_to_end import apps


def _tell(what: str, badge: Any) -> None:
    apps.tell(os.environ["GATE"], f"{what} {badge.name}/{badge.service} {badge.slot} g{badge.generation}")


def start(badge: Any) -> None:
    _tell("start", badge)


def stop(badge: Any) -> None:
    _tell("stop", badge)


def wait(badge: Any) -> None:
    apps.pass_gate(os.environ["GATE"])


def fail(badge: Any) -> None:
    if os.path.exists(os.environ["BROKEN"]):
        raise RuntimeError("the hook failed")


class Labelling(apps.Stream):
    """``label GATE TEXT`` labels its request, and waits at the gate."""

    def answer(self, line: bytes) -> bytes:
        word, _, rest = line.decode().strip().partition(" ")
        if word != "label":
            return super().answer(line)
        path, _, text = rest.partition(" ")
        server: Any = self.server
        server.worker.label(text)
        apps.pass_gate(path)
        return b"labelled\n"

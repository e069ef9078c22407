"""Commands that were called for: each in a thread, over a connection of its own, for some take their time.

It must not know what is asked, nor the terminal.
Invariant: each ends with one ``Ended``, however it ends.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple

from prefork.control.client import Target, connect, find
from prefork.control.messages import Done, Failed, Progress
from prefork.errors import PreforkError
from prefork.top.dialog import Errand


class UnderWay(NamedTuple):
    """How far it is."""

    errand: Errand
    text: str


class Ended(NamedTuple):
    """What became of it.

    :param is_done: or else it was refused, or failed, or nobody answered.
    """

    errand: Errand
    text: str
    is_done: bool = False


def send(errand: Errand, target: Target, post: Callable[[UnderWay | Ended], None]) -> None:
    """Begin.

    :param post: is called in the thread with each news.
    """
    threading.Thread(target=_run, args=(errand, target, post), daemon=True).start()


def _run(errand: Errand, target: Target, post: Callable[[UnderWay | Ended], None]) -> None:
    outcome, is_done = "no answer", False
    try:
        with connect(find(target.name, target.control), target.timeout) as connection:
            for reply in connection.ask(errand.request):
                match reply:
                    case Progress(text=text):
                        post(UnderWay(errand, text))
                    case Done(text=text):
                        outcome, is_done = text or "done", True
                    case Failed(why=why):
                        outcome = why
    except (PreforkError, OSError) as error:
        outcome = str(error)
    finally:
        post(Ended(errand, outcome, is_done))

"""The pictures of the live page in the documentation: ``python -m tests.page docs/admin``.

Two minutes of an invented shop, shown to a browser one second after the other. It must not know the page's insides.
The pictures there were cut down to 128 colours afterwards.
"""

import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefork.control.messages import QueueStatus, ServiceStatus, WorkerStatus
from tests.page.browser import PHONE, Browser, Look
from tests.page.stage import NOW, STAGED, Feed, Stage, request, service, worker

SECONDS = 120
PICTURES = {"page.png": Look(1200, 920), "page-phone.png": PHONE._replace(height=1000, scheme="dark")}
TOLD = (
    (0, "info", "generation-settled", "generation 3 serves with 12 workers"),
    (42, "info", "reload-asked", "reload: generation 4 is asked for"),
    (43, "error", "generation-abandoned", "generation 4 is given up, generation 3 serves on: No module named 'shopp'"),
    (61, "warning", "worker-exited", "worker 4 [20413] of generation 3 was killed by SIGSEGV after 918 requests"),
    (95, "info", "worker-retired", "worker 9 [20377] of generation 3 retires: it has served 10000 requests"),
)


def crew(second: int, load: float, served: int) -> list[WorkerStatus]:
    """Twelve workers, one of them stuck and one worn out.

    :param served: by each of the others so far.
    """
    chance = random.Random(second)
    workers = [worker(9, "retiring", why="it has served 10000 requests", requests=10_000, pid=20_340)]
    stuck = request("10.20.0.17:40022", 977, 4.0 + second, "monthly report")
    workers.append(worker(5, "busy", stuck, requests=976, pid=20_371, errors=2))
    for slot in {*range(1, 13)} - {5, 9}:
        requests = 900 + 31 * slot + served
        peer = f"10.20.0.{chance.randrange(2, 250)}:{chance.randrange(32768, 60999)}"
        busy = [request(peer, requests + 1, chance.random() / 50, chance.choice(("", "checkout", "cart")))]
        workers.append(worker(slot, "idle", *busy * (chance.random() < load), requests=requests, pid=20_366 + slot))
    return sorted(workers, key=lambda one: one.slot)


def _load(second: int) -> float:
    return 0.45 + 0.3 * math.sin(second / 14) + 0.05 * math.sin(second / 2)


def moment(second: int) -> tuple[ServiceStatus, Sequence[WorkerStatus]]:
    load = _load(second)
    served = int(sum(4.4 * _load(before) for before in range(second)))
    took = [2.4 + 2 * load] * 80 + [9] * 12 + [40 + 60 * load] * 7 + [180 * load] * 3
    waiting = max(0, int(40 * (load - 0.6)))
    queues = [
        QueueStatus(bind="tcp://0.0.0.0:9000", waiting=waiting, limit=2048),
        QueueStatus(bind="unix:/run/shop.sock", waiting=0, limit=2048),
    ]
    binds = [queue.bind for queue in queues]
    changes: dict[str, Any] = {"queues": queues, "binds": binds, "generation": 3, "wanted": 12, "configured": (8, 16)}
    return service(crew(second, load, served), "checkout", took * 12, **changes)


def draw(browser: Browser, look: Look, path: Path) -> None:
    with Feed() as feed, browser.open(feed.url, look, STAGED) as tab:
        for second, level, event, text in TOLD:
            feed.tell(text, level, event, NOW + second, "checkout")
        stage = Stage(feed, tab)
        for second in range(SECONDS):
            stage.show(moment(second))
            tab.evaluate("skip(1)")
        stage.show(moment(SECONDS))
        stage.wait_still()
        tab.screenshot(path)


if __name__ == "__main__":
    with Browser() as browser:
        for name, look in PICTURES.items():
            draw(browser, look, Path(sys.argv[1]) / name)

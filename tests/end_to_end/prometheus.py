"""A real Prometheus, as the system packages it, that asks far more often than one in production.

    with Prometheus("127.0.0.1:9190", directory) as prometheus:
        look_until(lambda: prometheus.has_seen("prefork_up"), "it has asked")

It must not know the product.
"""

import contextlib
import json
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.end_to_end.clients import LIMIT


class Prometheus:
    """One that asks a single target.

    :param target: ``host:port``.
    :param job: the name of the scrape.
    :param rules: files of rules, evaluated ten times a second.
    :param interval: from one question to the next; as long it waits for an answer.
    """

    def __init__(
        self, target: str, directory: Path, job: str = "shop", rules: tuple[Path, ...] = (), interval: str = "100ms"
    ) -> None:
        scrape = {"job_name": job, "scrape_interval": interval, "static_configs": [{"targets": [target]}]}
        config = {"global": {"evaluation_interval": "100ms"}, "rule_files": list(map(str, rules))}
        (directory / "prometheus.yml").write_text(json.dumps({**config, "scrape_configs": [scrape]}))  # JSON is YAML
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._command = ["prometheus", f"--config.file={directory}/prometheus.yml"]
        self._command += [f"--storage.tsdb.path={directory}/data", f"--web.listen-address={self._address}"]

    def ask(self, query: str) -> dict[tuple[str, ...], float]:
        """The values of a query by the values of their labels."""
        url = f"http://{self._address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=LIMIT) as reply:
            found: list[dict[str, Any]] = json.load(reply)["data"]["result"]
        return {tuple(value for _, value in sorted(f["metric"].items())): float(f["value"][1]) for f in found}

    def has_seen(self, query: str) -> bool:
        """Whether a query has any result by now."""
        with contextlib.suppress(OSError):  # it does not answer yet
            return bool(self.ask(query))
        return False

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.wait(LIMIT)

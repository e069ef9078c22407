"""The Grafana dashboard and the rules, asked of a real Prometheus that asks a real service under load.

Grafana itself is not run: its own library makes the dashboard, and what it would ask is asked here.
"""

import contextlib
import json
import math
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.dashboard.__main__ import PATH, text
from tests.deploy.test_prometheus_rules import ALERTS, DEPLOY, DOCS, GROUPS, RULES
from tests.end_to_end.harness import DATAGRAM, STREAM, TCP, UDP, Master, look_until
from tests.end_to_end.load import Load
from tests.end_to_end.prometheus import Prometheus
from tests.end_to_end.test_logs import free_port

pytestmark = [
    pytest.mark.deployed,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]

WRITTEN: dict[str, Any] = json.loads(PATH.read_text())
VARIABLES = {"$instance": ".*", "$service": ".*", "$__rate_interval": "5s"}
RECORDED = [rule["record"] for group in GROUPS for rule in group["rules"] if "record" in rule]


def filled_in(query: str) -> str:
    """As Grafana fills in what is chosen."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query
    return query


def shown() -> Iterator[tuple[str, str]]:
    """Every query of a panel, with a name."""
    for panel in WRITTEN["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", filled_in(target["expr"])


def chosen_from() -> Iterator[tuple[str, str, str]]:
    """Every query that fills a list to choose from: the variable, the series, and the label."""
    for variable in WRITTEN["templating"]["list"]:
        if variable["type"] == "query":
            series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()  # type: ignore[union-attr]
            yield variable["name"], filled_in(series), label


MOMENTS = {moment["name"]: filled_in(moment["expr"]) for moment in WRITTEN["annotations"]["list"]}


@contextlib.contextmanager
def shop(directory: Path, admin: str) -> Iterator[Master]:
    """An instance with a service of streams and one of datagrams."""
    config = directory / "prefork.toml"
    config.write_text(
        f'admin = "{admin}"\n'
        f'[service.shop]\ntarget = "{STREAM}"\nbind = ["{TCP}"]\nworkers = 4\n'
        f'[service.till]\ntarget = "{DATAGRAM}"\nbind = ["{UDP}"]\nworkers = 1\n'
    )
    with Master("-c", str(config)) as master:
        master.wait_serving(services=2)
        yield master


@contextlib.contextmanager
def watching(directory: Path, admin: str, interval: str = "100ms") -> Iterator[Prometheus]:
    own = directory / "prometheus"
    own.mkdir()
    rules = (DEPLOY / RULES,)
    with Prometheus(admin.removeprefix("tcp://"), own, job="prefork", rules=rules, interval=interval) as prometheus:
        yield prometheus


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that watches a healthy instance, whose clients never end."""
    directory = tmp_path_factory.mktemp("shop")
    admin = free_port()
    with (
        shop(directory, admin) as master,
        watching(directory, admin) as prometheus,
        Load(master.bind(service="shop"), clients=2),
        Load(master.bind(service="till"), clients=1),
    ):
        yield prometheus


def wait_number(prometheus: Prometheus, query: str) -> None:
    """Wait until a query has a value; one that Prometheus cannot read fails at once."""
    look_until(lambda: prometheus.has_seen("up"), "it answers")
    prometheus.ask(query)
    look_until(lambda: any(map(math.isfinite, prometheus.ask(query).values())), f"a value of {query}")


def test_the_dashboard_is_as_it_was_made() -> None:
    """By ``python -m tests.dashboard``."""
    assert PATH.read_text() == text()


def test_grafanas_own_records_hold_all_of_it() -> None:
    """What they read is what was written, so nothing in it is unknown to Grafana; each panel has a place of its own."""
    register_default_plugins()
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(WRITTEN))) == WRITTEN
    panels = WRITTEN["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [cell for panel in panels for cell in cells_of(panel["gridPos"])]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def cells_of(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


@pytest.mark.parametrize(("name", "query"), list(shown()))
def test_every_panel_shows_something(prometheus: Prometheus, name: str, query: str) -> None:
    """On a healthy service with clients."""
    wait_number(prometheus, query)


@pytest.mark.parametrize(("variable", "series", "label"), list(chosen_from()))
def test_there_is_something_to_choose_from(prometheus: Prometheus, variable: str, series: str, label: str) -> None:
    """Each variable has values."""
    wait_number(prometheus, f"count by ({label}) ({series})")


@pytest.mark.parametrize("record", RECORDED)
def test_every_recorded_series_is_there(prometheus: Prometheus, record: str) -> None:
    """As the rules record it."""
    wait_number(prometheus, record)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_looks_at_what_is_there(prometheus: Prometheus, alert: str) -> None:
    """It is silent for what the values are, not for a name that nothing has."""
    expr = ALERTS[alert]["expr"]
    compared = re.sub(r"(==|>) (?=[\d.]+)", r"\1 bool ", expr)  # then it has a value, whether it holds or not
    asked = expr.replace('"prefork"', '"nobody"') if alert == "PreforkAbsent" else compared
    assert asked != expr
    wait_number(prometheus, asked)


def test_every_metric_has_its_row(prometheus: Prometheus) -> None:
    """In docs/metrics.md; and what has one is there."""
    wait_number(prometheus, "prefork_memory_pss_bytes")
    seen = {name for (name,) in prometheus.ask('count by (__name__) ({__name__=~"prefork_.+"})')}
    seen = {re.sub(r"_(bucket|sum|count)$", "", name) for name in seen}
    page = (DOCS / "metrics.md").read_text()
    rows = {
        name for row in re.findall(r"^\| (`prefork_.+?) \|", page, re.MULTILINE) for name in re.findall(r"\w+", row)
    }
    assert seen == rows


def test_nobody_is_called_while_all_is_well(prometheus: Prometheus) -> None:
    """Nor about to be."""
    wait_number(prometheus, "instance_service:prefork_requests:rate5m > 0")
    assert prometheus.ask("ALERTS") == {}


def test_moments_are_seen_when_they_come(tmp_path: Path) -> None:
    """What is empty on a healthy service: a reload, then a new master, of which an alert tells."""
    admin = free_port()
    with watching(tmp_path, admin) as prometheus:
        with shop(tmp_path, admin) as master:
            look_until(lambda: prometheus.has_seen("prefork_ready == 1"), "it has asked")
            assert not any(prometheus.has_seen(query) for query in MOMENTS.values())
            master.signal(signal.SIGHUP)
            look_until(lambda: prometheus.has_seen(MOMENTS["Reload"]), "the reload is seen")
            assert not prometheus.has_seen(MOMENTS["New master"])
            master.stop()
        with shop(tmp_path, admin):
            look_until(lambda: prometheus.has_seen(MOMENTS["New master"]), "the new master is seen")
            look_until(lambda: prometheus.has_seen(MOMENTS["Alert"]), "an alert tells of it")
            assert prometheus.has_seen('ALERTS{alertname="PreforkRestarted", alertstate="firing"}')


def test_faults_begin_to_be_told_of(tmp_path: Path) -> None:
    """A master that is stopped, and a configuration that is refused; what has healed is forgotten."""
    admin = free_port()
    patient = "2500ms"  # the admin process waits 2 s for its master before it says that it is silent
    with watching(tmp_path, admin, patient) as prometheus, shop(tmp_path, admin) as master:

        def is_pending(alert: str) -> bool:
            return prometheus.has_seen(f'ALERTS{{alertname="{alert}", alertstate="pending"}}')

        look_until(lambda: prometheus.has_seen("prefork_up == 1"), "it has asked")
        master.signal(signal.SIGSTOP)
        look_until(lambda: is_pending("PreforkMasterSilent"), "the silence is seen")
        master.signal(signal.SIGCONT)
        look_until(lambda: not is_pending("PreforkMasterSilent"), "it is over")
        config = tmp_path / "prefork.toml"
        good = config.read_text()
        config.write_text("wrokers = 4\n")
        master.signal(signal.SIGHUP)
        look_until(lambda: is_pending("PreforkReloadFailed"), "the reload that failed is seen")
        config.write_text(good)
        master.signal(signal.SIGHUP)
        look_until(lambda: not is_pending("PreforkReloadFailed"), "it is mended")

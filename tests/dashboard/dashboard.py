"""The Grafana dashboard, as rows of panels: what each shows, of which query, in which unit.

Grafana's own library gives it the shape that Grafana reads. It must not know where it is written to, nor what
Prometheus answers. Invariant: each query speaks of the instances and services that are chosen above, and of no others.
Read next: ``__main__.py``, which writes it; ``tests/deploy/test_dashboard.py``, which asks a real Prometheus.
"""

import string
from collections.abc import Iterator
from typing import NamedTuple

from grafana_foundation_sdk.builders import common, heatmap, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as board
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueGraphMode, BigValueTextMode, StackingMode
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
INSTANCE = 'instance=~"$instance"'
SERVICE = f'{INSTANCE}, service=~"$service"'
HEIGHT, FULL = 8, 24  # of Grafana's grid
RED, ORANGE, GREEN, BLUE = "red", "orange", "green", "blue"


class Curve(NamedTuple):
    """:param name: in the legend, where ``{{label}}`` is a label's value."""

    expr: str
    name: str


def dashboard() -> Dashboard:
    made = _filled()
    for number, panel in enumerate(made.panels or (), 1):
        panel.id_val = number
    return made


def _filled() -> Dashboard:
    made = (
        board.Dashboard("prefork")
        .uid("prefork")
        .description("Instances of prefork: what they serve, how full they are, what became of their workers.")
        .tags(["prefork"])
        .time("now-3h", "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    for variable in variables():
        made.with_variable(variable)
    for annotation in annotations():
        made.annotation(annotation)
    for title, panels in rows():
        made.with_row(board.Row(title))
        for panel in panels:
            made.with_panel(panel)
    return made.build()


def variables() -> Iterator[board.DatasourceVariable | board.QueryVariable]:
    """What is chosen above, each narrowed by the one before."""
    yield board.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    for name, query in (
        ("instance", "label_values(prefork_up, instance)"),
        ("service", f"label_values(prefork_ready{{{INSTANCE}}}, service)"),
    ):
        variable = board.QueryVariable(name).label(name.capitalize()).datasource(SOURCE).query(query)
        variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).multi(True).include_all(True).all_value(".*")
        yield variable.current(VariableOption(selected=True, text="All", value="$__all"))


def annotations() -> Iterator[board.AnnotationQuery]:
    """Moments that explain curves."""
    yield _moment("Reload", f"changes(prefork_generation{{{SERVICE}}}[2m]) > 0", BLUE)
    yield _moment("New master", f"resets(prefork_uptime_seconds{{{INSTANCE}}}[2m]) > 0", ORANGE)
    yield _moment("Alert", f'ALERTS{{alertname=~"Prefork.+", alertstate="firing", {INSTANCE}}}', RED)


Panel = stat.Panel | timeseries.Panel | heatmap.Panel


def rows() -> Iterator[tuple[str, Iterator[Panel]]]:
    yield "Overview", overview()
    yield "Latency", latency()
    yield "Saturation and queue", saturation()
    yield "Life of workers", workers()
    yield "Memory", memory()


def overview() -> Iterator[Panel]:
    yield figure("Ready", f"min(prefork_ready{{{SERVICE}}})", "bool_yes_no", (RED, 1, GREEN))
    yield figure("Masters that answer", f"sum(prefork_up{{{INSTANCE}}})", "short", (RED, 1, GREEN))
    yield figure("Workers ready", f"sum({_ready()})", "short", (RED, 1, GREEN))
    yield figure("Requests", f"sum(rate(prefork_requests_total{{{SERVICE}}}[$__rate_interval]))", "reqps")
    yield figure("Failed", _failed(), "percentunit", (GREEN, 0.01, ORANGE, 0.05, RED))
    yield figure("Busy", f"avg(prefork_saturation_ratio{{{SERVICE}}})", "percentunit", (GREEN, 0.7, ORANGE, 0.9, RED))
    yield figure("Youngest master", f"min(prefork_uptime_seconds{{{INSTANCE}}})", "dtdurations")
    yield figure("Versions", f"count by (version) (prefork_build_info{{{INSTANCE}}})", "short", names="{{version}}")
    yield curves(
        "Workers",
        "short",
        Curve(f"sum(prefork_workers_wanted{{{SERVICE}}})", "wanted"),
        Curve(f"sum({_ready()})", "ready"),
        Curve(f'sum(prefork_workers{{{SERVICE}, state="busy"}})', "busy"),
    )
    yield curves(
        "Requests",
        "reqps",
        Curve(
            f"sum by (instance, service) (rate(prefork_requests_total{{{SERVICE}}}[$__rate_interval]))",
            "{{instance}} {{service}}",
        ),
    )
    yield curves("Failed requests", "percentunit", Curve(_failed("instance", "service"), "{{instance}} {{service}}"))


def latency() -> Iterator[Panel]:
    buckets = f"rate(prefork_request_duration_seconds_bucket{{{SERVICE}}}[$__rate_interval])"
    yield (
        heatmap.Panel()
        .title("How long requests took")
        .description("Without the wait in the queue")
        .datasource(SOURCE)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .height(HEIGHT)
        .span(FULL // 2)
        .with_target(_query(Curve(f"sum by (le) ({buckets})", "{{le}}")).format(PromQueryFormat.HEATMAP))
    )
    yield curves(
        "Percentiles",
        "s",
        *(Curve(f"histogram_quantile(0.{digits}, sum by (le) ({buckets}))", f"p{digits}") for digits in (50, 90, 99)),
        width=FULL // 2,
    )


def saturation() -> Iterator[Panel]:
    each = "{{instance}} {{service}}"
    yield curves(
        "Share of the room that is taken", "percentunit", Curve(f"prefork_saturation_ratio{{{SERVICE}}}", each)
    )
    yield curves("No worker has had room for", "s", Curve(f"prefork_all_busy_seconds{{{SERVICE}}}", each))
    yield curves(
        "Requests under way, on average",
        "short",
        Curve(f"rate(prefork_busy_seconds_total{{{SERVICE}}}[$__rate_interval])", each),
    )
    bind = "{{instance}} {{bind}}"
    length, limit = (f"prefork_accept_queue_{what}{{{SERVICE}}}" for what in ("length", "limit"))
    yield curves("Clients in the queue", "short", Curve(length, bind))
    yield curves("The same, as a share of its limit", "percentunit", Curve(f"{length} / {limit}", bind))
    yield curves(
        "Turned away by the kernel",
        "cps",
        Curve(f"rate(prefork_accept_queue_overflows_total{{{SERVICE}}}[$__rate_interval])", f"connections {bind}"),
        Curve(f"rate(prefork_datagrams_dropped_total{{{SERVICE}}}[$__rate_interval])", f"datagrams {bind}"),
    )


def workers() -> Iterator[Panel]:
    each = "{{instance}} {{service}}"
    yield curves(
        "Workers by state", "short", Curve(f"sum by (state) (prefork_workers{{{SERVICE}}})", "{{state}}"), piled=True
    )
    yield curves("Became ready", "short", Curve(_increase("started", "instance", "service"), each))
    yield curves("Ended", "short", Curve(_increase("ended", "reason"), "{{reason}}"), piled=True)
    yield curves(
        "Generations by how their load ended",
        "short",
        Curve(f"sum by (outcome) (increase(prefork_reloads_total{{{SERVICE}}}[$__rate_interval]))", "{{outcome}}"),
        piled=True,
    )
    yield curves("Generation that serves", "short", Curve(f"prefork_generation{{{SERVICE}}}", each))
    troubles = ("degraded", "paused", "failed")
    yield curves(
        "In trouble",
        "short",
        *(Curve(f"sum(prefork_{trouble}{{{SERVICE}}})", trouble) for trouble in troubles),
        Curve(f"count(prefork_last_reload_successful{{{SERVICE}}} == 0) or vector(0)", "last reload failed"),
        Curve(
            f"sum(increase(prefork_admin_restarts_total{{{INSTANCE}}}[$__rate_interval]))", "admin process started anew"
        ),
        piled=True,
    )


def memory() -> Iterator[Panel]:
    sizes = f'prefork_memory_pss_bytes{{{INSTANCE}, service=~"$service|"}}'
    whole = f"sum by (instance) (prefork_memory_pss_bytes{{{INSTANCE}}})"
    limit = f"min by (instance) (prefork_memory_limit_bytes{{{INSTANCE}}})"
    yield curves("Memory", "bytes", Curve(f"sum by (process) ({sizes})", "{{process}}"), piled=True)
    yield curves("Share of what the instance may use", "percentunit", Curve(f"{whole} / {limit}", "{{instance}}"))
    yield curves(
        "Figures of memory: missing, and how old",
        "short",
        Curve(f"sum(prefork_memory_unread_processes{{{INSTANCE}}})", "processes that could not be read"),
        Curve(f"max(prefork_memory_age_seconds{{{INSTANCE}}})", "age in seconds"),
    )


# queries


def _ready() -> str:
    return f'prefork_workers{{{SERVICE}, state=~"idle|busy"}}'


def _failed(*labels: str) -> str:
    by = f" by ({', '.join(labels)})" if labels else ""
    errors, requests = (
        f"sum{by} (rate(prefork_{what}_total{{{SERVICE}}}[$__rate_interval]))"
        for what in ("request_errors", "requests")
    )
    return f"{errors} / {requests}"


def _increase(what: str, *labels: str) -> str:
    return f"sum by ({', '.join(labels)}) (increase(prefork_workers_{what}_total{{{SERVICE}}}[$__rate_interval]))"


def _query(curve: Curve, letter: str = "A") -> Dataquery:
    return Dataquery().datasource(SOURCE).ref_id(letter).expr(curve.expr).legend_format(curve.name)


def _moment(name: str, expr: str, colour: str) -> board.AnnotationQuery:
    return board.AnnotationQuery().name(name).datasource(SOURCE).expr(expr).enable(True).icon_color(colour)


# panels


def figure(title: str, expr: str, unit: str, colours: tuple[str | float, ...] = (BLUE,), names: str = "") -> stat.Panel:
    """One number, or one for each name.

    :param colours: the first one, then a number from which on there is another, and that.
    """
    panel = stat.Panel().title(title).datasource(SOURCE).unit(unit).height(HEIGHT // 2).span(FULL // 8)
    panel.thresholds(board.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(_steps(colours)))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.color_mode(BigValueColorMode.VALUE).graph_mode(BigValueGraphMode.NONE)
    if names:
        panel.text_mode(BigValueTextMode.VALUE_AND_NAME)
    return panel.with_target(_query(Curve(expr, names)))


def _steps(colours: tuple[str | float, ...]) -> list[Threshold]:
    bounds = [None, *(float(bound) for bound in colours[1::2])]
    return [Threshold(bound, str(colour)) for bound, colour in zip(bounds, colours[::2], strict=True)]


def curves(title: str, unit: str, *shown: Curve, width: int = FULL // 3, piled: bool = False) -> timeseries.Panel:
    """:param piled: one upon the other."""
    panel = timeseries.Panel().title(title).datasource(SOURCE).unit(unit).min(0).height(HEIGHT).span(width)
    panel.fill_opacity(40 if piled else 5)
    if piled:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for letter, curve in zip(string.ascii_uppercase, shown, strict=False):
        panel.with_target(_query(curve, letter))
    return panel

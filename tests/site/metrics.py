"""The table of ``docs/metrics.md``: which there are, by asking for them; what each means stays as it is.

Invariant: a metric that is new has the code's own words until somebody finds better ones.
"""

import re

from prometheus_client.parser import text_string_to_metric_families

from prefork.admin.metrics import expose
from prefork.control.messages import ProcessStatus, QueueStatus
from prefork.control.report import Report
from prefork.system.usage import Usage
from tests.admin.reports import service, snapshot, worker

_ROW = re.compile(r"^\| `(\w+)` \|[^|]*\|[^|]*\| (.+) \|$", re.MULTILINE)


def of_all(before: str) -> str:
    """:param before: the table as it stands."""
    meanings = dict(_ROW.findall(before))
    lines = ["| metric | type | other labels | meaning |", "|---|---|---|---|"]
    for family in text_string_to_metric_families(expose(_everything(), memory_limit=1 << 30).decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        seen = dict.fromkeys(label for sample in family.samples for label in sample.labels if label != "service")
        labels = ", ".join(f"`{label}`" for label in seen)
        lines.append(
            f"| `{name}` | {family.type} | {labels}{' ' * bool(labels)}| {meanings.get(name, family.documentation)} |"
        )
    return "\n".join(lines)


def _everything() -> Report:
    """A report in which nothing is missing, so that each metric has a sample."""
    stream = QueueStatus(bind="tcp://127.0.0.1:9000", waiting=3, limit=128, overflows=2)
    datagrams = QueueStatus(bind="udp://127.0.0.1:9", waiting=5, dropped=1)
    status = service(queues=[stream, datagrams], busy_seconds=1.5)
    told = snapshot(status, processes=[ProcessStatus(kind="master", pid=1)])
    usage = {pid: Usage(pss=1 << 20, uss=None, cpu_seconds=0.0, at=0.0) for pid in (1, 101)}
    return Report(told, {status.name: [worker(1, "idle")]}, usage)

"""A real Prometheus asks a real instance, through everything that happens to one."""

import shutil
import signal
from pathlib import Path

import pytest

from tests.end_to_end.harness import TCP, look_until
from tests.end_to_end.installation import Installation
from tests.end_to_end.load import Load
from tests.end_to_end.prometheus import Prometheus
from tests.end_to_end.test_admin import admin_of, pid_of, reload

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path)


def test_a_real_prometheus_sees_no_counter_reset(installation: Installation, tmp_path: Path) -> None:
    """Under load: workers recycled, killed, reloaded; the admin process killed; the master upgraded."""
    arguments = ("-b", TCP, "-w", "3", "--admin", TCP, "--max-requests", "300")
    directory = tmp_path / "prometheus"
    directory.mkdir()
    with installation.serving(*arguments) as master:
        target = admin_of(master).removeprefix("tcp://")
        with Prometheus(target, directory) as prometheus, Load(master.bind(), clients=4) as load:
            look_until(lambda: prometheus.has_seen('up{job="shop"} == 1'), "it asks the admin process")
            load.wait_answered(500)
            master.kill(max(master.workers().values()))
            load.wait_answered(500)
            reload(master)
            master.kill(pid_of(master))
            load.wait_answered(500)
            installation.become("0.2.0")
            master.signal(signal.SIGUSR2)
            master.wait_serving(generation=3)
            load.wait_answered(500)
            requests = load.finish().answered
            look_until(lambda: prometheus.has_seen('prefork_build_info{version="0.2.0"}'), "it sees the new version")
            look_until(lambda: prometheus.has_seen(f"prefork_requests_total >= {requests - 1}"), "and all requests")
            names = prometheus.ask('count by (__name__) ({__name__=~"prefork_.*(_total|_bucket|_count|_sum)"})')
            assert len(names) > 8
            resets = {name: prometheus.ask(f"max(resets({name}[10m]))")[()] for (name,) in names}
            assert {name: count for name, count in resets.items() if count} == {}
            assert max(prometheus.ask("prefork_requests_total").values()) == pytest.approx(requests, abs=1)
            (grown,) = prometheus.ask("increase(prefork_requests_total[10m])").values()
            assert grown > 0
            assert prometheus.ask("max(prefork_generation)") == {(): 3.0}
            assert prometheus.ask("max(prefork_admin_restarts_total)") == {(): 1.0}

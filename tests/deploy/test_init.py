"""What ``prefork init`` writes for a service of one's own is what each program that reads it takes without a word."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import ROOT

pytestmark = pytest.mark.deployed
BINDS = {
    "tcp": ("-b", "tcp://0.0.0.0:8080"),
    "unix": ("-b", "unix:/run/mall/mall.sock?mode=0600&user=root&group=daemon"),
    "both": ("-b", "unix:/run/mall/mall.sock", "-b", "tcp://[::]:8080?v6only=0"),
    "many": ("-b", "tcp://10.0.0.7:80", "-b", "unix:/run/mall/a.sock", "-b", "unix:/run/mall/b.sock"),
}


@pytest.fixture(scope="module", params=BINDS)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All there is to ask for, for an instance that is called ``mall``."""
    directory = tmp_path_factory.mktemp("mall")
    flags = ("-n", "mall", "-u", "daemon", "-w", "6", "--graceful-timeout", "2m", *BINDS[request.param])
    kits = ("--systemd", "--nginx", "--haproxy", "--prometheus", "--logrotate")
    command = [sys.executable, "-m", "prefork", "init", "examples.orders:Handler", *flags, *kits, "-d", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=LIMIT)
    return directory


def program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def checked(*command: str) -> str:
    """What it has to say; a failure shows it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_systemd_has_nothing_to_say(written: Path) -> None:
    """Of the service and all its sockets, together."""
    units = sorted(map(str, (written / "systemd").iterdir()))
    assert checked(program("systemd-analyze"), "verify", "--man=no", *units) == ""


def test_doctor_finds_nothing_in_the_unit(written: Path) -> None:
    """What we write is what we advise."""
    command = [sys.executable, "-m", "prefork", "doctor", "-c", f"{written}/prefork.toml", "--no-load"]
    unit = ("--unit", f"{written}/systemd/mall.service")
    done = subprocess.run([*command, *unit], cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)
    of_unit = done.stdout.partition("\nunit\n")[2].partition("\n\n")[0]
    assert "stop timeout          TimeoutStopSec=135s, graceful_timeout 120s" in of_unit
    assert {line.split()[0] for line in of_unit.splitlines()} == {"ok"}


def test_nginx_takes_it(written: Path) -> None:
    """Both, as they are included."""
    nginx, stream = program("nginx"), Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    if not stream.exists():
        pytest.skip("libnginx-mod-stream is not installed")
    main = written / "nginx.conf"
    main.write_text(
        f"load_module {stream};\npid {written}/pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{ access_log off; include {written}/nginx/mall.conf; }}\ninclude {written}/nginx/mall-stream.conf;\n"
    )
    assert "test is successful" in checked(nginx, "-t", "-c", str(main))


def test_haproxy_takes_it(written: Path) -> None:
    """Without a warning."""
    assert "warning" not in checked(program("haproxy"), "-c", "-f", f"{written}/haproxy/haproxy.cfg").lower()


def test_prometheus_takes_it(written: Path) -> None:
    """With the rules beside it."""
    assert "SUCCESS" in checked(program("promtool"), "check", "config", f"{written}/prometheus/prometheus.yml")


def test_logrotate_takes_it(written: Path) -> None:
    """As it would, if there were files."""
    rules = written / "logrotate" / "mall"
    rules.chmod(0o644)
    assert "error" not in checked(program("logrotate"), "--debug", "--state", f"{written}/state", str(rules)).lower()

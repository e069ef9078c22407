"""``prefork load`` as its user sees it: a table, files, one line for a mistake, and ^C."""

import csv
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from prefork.cli import cli
from prefork.lab.load import Load
from tests.children import LIMIT
from tests.end_to_end.harness import ROOT
from tests.lab.services import answer_once, nobody, service


def load(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prefork", "load", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT)


def test_a_load_and_all_its_files(tmp_path: Path) -> None:
    """The table, the raw samples in both forms, the percentiles and the JSON tell the same."""
    paths = {flag: tmp_path / name for flag, name in (("--samples", "a.csv"), ("--hdr", "a.hdr"), ("--json", "a.json"))}
    with service(answer_once) as url:
        files = [word for flag, path in paths.items() for word in (flag, str(path))]
        done = load(url, "-n", "50", "-c", "2", "--expect", "hello\\n", *files)
        packed = load(url, "-n", "20", "--rate", "1000", "--samples", str(tmp_path / "a.npz"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "closed loop, 2 clients, connections one a request" in done.stdout
    assert re.search(r"^answered   50   ", done.stdout, re.MULTILINE)
    assert re.search(r"^latency +\S+ +\S+ +\S+ +\S+ +\S+ +\S+$", done.stdout, re.MULTILINE)
    assert re.search(
        r"^generator  \S+ CPU a request, \d+% of one CPU, sees \S+ where a service takes no time$",
        done.stdout,
        re.MULTILINE,
    )
    assert "doubt: 50 samples are too few for p99" in done.stdout
    rows = list(csv.DictReader(paths["--samples"].open()))
    assert [row["kind"] for row in rows] == ["answered"] * 50
    slowest = max(float(row["ended"]) - float(row["intended"]) for row in rows)
    told = json.loads(paths["--json"].read_text())
    assert (told["requests"], told["errors"], told["load"]["url"]) == (50, {}, url)
    assert told["latency"]["maximum"] == pytest.approx(slowest, abs=1e-8)
    assert (told["rate"], told["failed"]) == (pytest.approx(50 / told["seconds"]), 0)
    (use,) = told["generators"]
    assert use["share"] == pytest.approx(use["cpu_seconds"] / use["seconds"])
    last_words = re.search(r"StdDeviation += +(\S+)]\n#\[Max += +(\S+),", paths["--hdr"].read_text())
    assert last_words is not None
    assert float(last_words[1]) < float(last_words[2]) < 2000 * slowest  # milliseconds, both of them
    assert packed.returncode == 0
    assert re.search(r"^service  ", packed.stdout, re.MULTILINE)
    assert "late by" in packed.stdout
    with np.load(tmp_path / "a.npz") as raw:
        assert list(raw["kinds"][raw["kind"]]) == ["answered"] * 20


def test_a_file_on_standard_output_is_all_there_is() -> None:
    """So that another program can read it."""
    with service(answer_once) as url:
        done = load(url, "-n", "5", "--expect", "other", "--json", "-")
        assert load(url, "-n", "5", "--hdr", "-").stdout.split()[:2] == ["Value", "Percentile"]
    told = json.loads(done.stdout)
    assert (told["requests"], told["errors"]) == (0, {"wrong": 5})
    assert told["first_error"] == r"wrong: the reply was b'hello\n' and not b'other'"
    assert done.returncode == 1  # nothing was answered rightly


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ftp://x"], "'ftp://x' is nothing to load: begin with one of tcp://"),
        (["tcp://127.0.0.1:9", "-d", "soon"], "--duration: 'soon' is no duration"),
        (["tcp://127.0.0.1:9", "--reply", "x"], "--reply: 'x' does not say where a reply ends"),
        (["tcp://127.0.0.1:9", "--samples", "a.txt"], "--samples: a.txt has to end in .csv or .npz"),
        (["tcp://127.0.0.1:9", "--json", "/nowhere/a.json"], "--json: /nowhere/a.json cannot be written"),
        (["tcp://127.0.0.1:9", "--json", "-", "--hdr", "-"], "--json and --hdr: standard output holds one of them"),
        (["tcp://127.0.0.1:9", "--send", "a", "--send-file", "b"], "--send and --send-file: "),
        (["tcp://127.0.0.1:9", "--header", "A"], "--header: 'A' is no header"),
        (["tcp://127.0.0.1:9", "--per-connection", "few"], "--per-connection: 'few' is no number"),
        (["http://u@h/"], "'http://u@h/' wants a host"),
        (["tcp://127.0.0.1:9", "-c", "0"], "--clients: 0 is too few"),
        (["http://127.0.0.1:9", "--method", ""], "--method: '' is no method"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], complaint: str) -> None:
    """And exit 2; nothing was sent."""
    done = load(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"prefork: {complaint}")
    assert done.stderr.count("\n") == 1


def test_nobody_is_there() -> None:
    """One line and exit 1, long before the duration is over."""
    done = load(nobody(), "-d", "1h")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("could not connect: connection refused; is the service running there?\n")


def test_the_dialogue_of_the_page(tmp_path: Path) -> None:
    """The script that docs/load.md shows, by the command that it shows, with a service that speaks as the script does.

    It prints as well, when it is loaded and at each request: that is no word to the parent.
    """
    (script,) = re.findall(r"```python\n(def login.*?)```", (ROOT / "docs" / "load.md").read_text(), re.DOTALL)
    talking = script.replace("    welcome =", "    print('request', number)\n    welcome =", 1)
    (tmp_path / "talks.py").write_text(f"print('loaded', flush=True)\n\n{talking}")

    def behave(client: socket.socket) -> None:
        with client.makefile("rb") as lines:
            client.sendall(b"220 shop\n")
            assert lines.readline().startswith(b"user ")
            client.sendall(b"ok\n")
            assert lines.readline() == b"quit\n"
            client.sendall(b"221 bye\n")

    with service(behave, tmp_path / "shop.sock") as url:
        command = [sys.executable, "-m", "prefork", "load", url, "--script", "talks:login", "-c", "4", "-n", "8"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [*command, "--json", "-"], cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=LIMIT
        )
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert (told["requests"], told["errors"]) == (8, {})


def test_interrupted_it_tells_what_was_measured() -> None:
    """In a terminal, whose bar is gone when the table comes."""
    served = threading.Semaphore(0)

    def behave(client: socket.socket) -> None:
        answer_once(client)
        served.release()

    ours, theirs = pty.openpty()
    with service(behave) as url, os.fdopen(ours, "rb", buffering=0) as terminal:
        command = [sys.executable, "-m", "prefork", "load", url, "-d", "1h", "--warm-up", "0"]
        with subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}, text=True
        ) as process:
            os.close(theirs)
            shown = b""
            while b"in flight" not in shown:
                shown += terminal.read(4096)
            assert served.acquire(timeout=LIMIT)
            process.send_signal(signal.SIGINT)
            drain = threading.Thread(target=_read_all, args=(terminal,), daemon=True)
            drain.start()
            table, _ = process.communicate(timeout=LIMIT)
            drain.join(LIMIT)
    assert process.returncode == 130
    assert re.search(r"^answered   [1-9]", table, re.MULTILINE)
    assert "p50" in shown.decode()


def _read_all(terminal: object) -> None:
    try:
        while terminal.read(4096):  # type: ignore[attr-defined]
            pass
    except OSError:  # the other side is gone
        pass


@pytest.mark.parametrize(("command", "usual"), [("load", "1"), ("tune", "1"), ("compare", "half of the CPUs")])
def test_each_command_tells_how_many_processes_send(command: str, usual: str) -> None:
    """Where nothing is said."""
    told = " ".join(CliRunner().invoke(cli, [command, "--help"]).output.split())
    assert f"--processes N Processes that send. [default: {usual}]" in told


def test_flags_say_what_is_loaded() -> None:
    """Each where it belongs; what is not given is as the URL suggests."""
    from prefork.cli.lab_flags import load_of

    assert load_of("tcp://h:1", {}) == Load(url="tcp://h:1", send=b"hello\n")
    assert load_of("tcp://h:1", {"per_connection": "all"}).reply == "line"
    assert load_of("udp://h:1", {}) == Load(url="udp://h:1", send=b"hello\n", reply="datagram", per_connection=None)
    assert load_of("http://h/a?b", {}) == Load(url="tcp://h:80", path="/a?b", reply="http", per_connection=None)
    posted = load_of("https://h", {"send": "{}", "header": ["A: b"], "per_connection": "1", "ca": "c.pem"})
    assert posted == Load(
        url="tls://h:443",
        path="/",
        reply="http",
        method="POST",
        send=b"{}",
        headers=(("A", "b"),),
        authorities="c.pem",
    )
    assert load_of("unix:/s", {"script": "m:f"}) == Load(url="unix:/s", script="m:f", reply="line")
    assert load_of("http://h", {"method": ""}).method == ""  # no method, and refused as such
    scripted = load_of("unix:/s", {"script": "m:f", "reply": "length=2", "timeout": "250ms", "pace": "1K", "seed": 0})
    assert scripted == Load(url="unix:/s", script="m:f", reply="length=2", timeout=0.25, pace=1024.0, seed=0)

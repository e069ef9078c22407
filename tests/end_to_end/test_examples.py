"""The examples do what their first lines say."""

import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from prefork.cli import cli
from tests.end_to_end.harness import ROOT, TCP, serving


def say(address: str, text: str) -> str:
    command = [sys.executable, "-m", "examples.say", address, text]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_the_line_service_answers_in_capitals(short_path: Path) -> None:
    """Over TCP and over a Unix socket, asked by the client beside it."""
    with serving("examples.capitalize:Handler", "-b", TCP, "-b", f"unix:{short_path}/socket", "-w", "2") as master:
        assert say(master.bind(0).removeprefix("tcp://"), "hello") == "HELLO\n"
        assert say(master.bind(1).removeprefix("unix:"), "hello") == "HELLO\n"


def test_the_standard_library_s_files_are_served_unchanged() -> None:
    """Its request handler runs under the master as it is."""
    with serving("http.server:SimpleHTTPRequestHandler", "-b", TCP, "-w", "2") as master:
        fetch = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
        url = master.bind().replace("tcp:", "http:") + "/README.md"
        page = subprocess.run([sys.executable, "-c", fetch, url], capture_output=True, text=True, check=True).stdout
        assert page.startswith("# prefork")


def test_the_configuration_of_the_demo_is_right() -> None:
    """``make run`` starts from it."""
    result = CliRunner().invoke(cli, ["check", "-c", str(ROOT / "examples/prefork.toml")])
    assert result.exit_code == 0, result.output

"""``prefork init``: what it writes is valid, says what was chosen, and shows true defaults."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import asdict

import prefork.cli.init  # noqa: F401  its module, whose name is a command's too
from prefork.cli import cli
from prefork.cli.run import run
from prefork.cli.run_flags import read_sources
from prefork.config.instance import Instance
from prefork.config.sources import read, read_file
from prefork.doctor import unit_file
from prefork.errors import PreforkError, UsageError
from prefork.init import kits
from prefork.rehearsal import Outcome, rehearse
from tests.end_to_end.clients import LIMIT
from tests.end_to_end.harness import ROOT

TARGET = "examples.orders:Handler"
COMMENTED = re.compile(r"^#(\w+ = )", re.MULTILINE)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for the child that tries to load the target
    monkeypatch.setattr(sys.modules["prefork.cli.init"], "rehearse", lambda *given, **named: Outcome())


def init(*arguments: str) -> Result:
    done = CliRunner().invoke(cli, ["init", *arguments])
    if isinstance(done.exception, PreforkError):
        raise done.exception
    assert done.exception is None, done.exception
    return done


def plain(instance: Instance) -> dict[str, Any]:
    """Its settings and those of its services. What is 0 and what is not set are the same: never."""
    services = {name: asdict(service) for name, service in instance.service.items()}
    records = {"": {**asdict(instance), "service": None}, **services}
    return {f"{name}.{key}": value or None for name, record in records.items() for key, value in record.items()}


CHOICES = (
    ("-b", "tcp://127.0.0.1:9000"),
    ("-b", "tcp://[::1]:9000?v6only=1", "-b", "unix:/run/x.sock?mode=0600", "-w", "8", "--timeout", "20s"),
    ("--bind", "tcp://127.0.0.1:0", "--mode", "thread", "--threads", "16", "--no-preload", "--graceful-timeout", "1m"),
    ("--max-workers", "32", "--min-workers", "2", "--memory-budget", "2GiB", "--name", "mall"),
    (
        "-w",
        "auto",
        "-b",
        "tcp://127.0.0.1:0",
        "--rlimits",
        "nofile=1000",
        "--umask",
        "027",
        "--on-failed",
        "true now",
        "--capture-output",
    ),
    ("--request-hard", "9s", "--nice", "3", "--admin", "tcp://127.0.0.1:9190", "--log-level", "debug"),
)


@pytest.mark.parametrize("arguments", CHOICES, ids=" ".join)
def test_the_file_says_what_was_typed(arguments: tuple[str, ...]) -> None:
    """It is read as the command line would be."""
    init(TARGET, *arguments)
    default = () if {"-b", "--bind"} & set(arguments) else ("-b", "tcp://127.0.0.1:9000")
    name = () if "--name" in arguments else ("--name", "orders")
    typed = run.make_context("run", [TARGET, *default, *name, *arguments]).params
    assert read_file("prefork.toml") == read_sources(typed.pop("target"), typed.pop("config"), typed).instance


@pytest.mark.parametrize("arguments", CHOICES, ids=" ".join)
def test_a_default_is_what_it_is(arguments: tuple[str, ...]) -> None:
    """A line without its # changes nothing, one by one and all together."""
    init(TARGET, *arguments)
    path = Path("prefork.toml")
    text, before = path.read_text(), plain(read_file("prefork.toml"))
    lines = COMMENTED.findall(text)
    assert len(lines) > 20
    for line in lines:
        path.write_text(text.replace(f"\n#{line}", f"\n{line}"))
        assert plain(read_file("prefork.toml")) == before, line
    path.write_text(COMMENTED.sub(r"\1", text))
    assert plain(read_file("prefork.toml")) == before


def test_each_setting_says_what_it_is_for() -> None:
    """Of all that the file names; but for name and target, which say it themselves."""
    init(TARGET)
    named = re.findall(r"^#? ?(\w+) = .*$", Path("prefork.toml").read_text(), re.MULTILINE)
    bare = re.findall(r"^#? ?(\w+) = [^#]*$", Path("prefork.toml").read_text(), re.MULTILINE)
    assert len(named) > 40
    assert set(bare) <= {"target", "bind"}  # what bind means is too long, and stands above it


def test_the_example_is_written_checked_and_loaded() -> None:
    """As one would type it."""
    assert "next:\n  prefork check --load -c prefork.toml\n  prefork run -c prefork.toml\n" in init(TARGET).output
    command = [sys.executable, "-m", "prefork", "check", "--load"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("service orders can be loaded\n")


def test_a_target_that_cannot_be_loaded_yet_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is written all the same: the code may come later."""
    monkeypatch.setattr(sys.modules["prefork.cli.init"], "rehearse", rehearse)
    done = init("nosuch:Handler")
    assert "note: nosuch cannot be loaded yet: no module named 'nosuch'" in done.output
    assert read_file("prefork.toml").name == "nosuch"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "nothing says what is served; give a TARGET"),
        (("shop",), "target: 'shop' is not MODULE:NAME"),
        ((TARGET, "-w", "many"), "workers: 'many' is not a whole number"),
        ((TARGET, "-b", "9000"), "'9000' is not a bind"),
        ((TARGET, "-c", "prefork.toml"), "both say what is served"),
        (("-c", "prefork.toml"), "is read, and not written; say what else to write: --systemd"),
        (("-c", "prefork.toml", "-w", "4", "--systemd"), "--workers: prefork.toml is not changed"),
        ((TARGET, "--systemd", "--container"), "each with a --directory of its own"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_nothing_is_written(arguments: tuple[str, ...], why: str) -> None:
    """Before anything is touched."""
    with pytest.raises(UsageError, match=re.escape(why)):
        init(*arguments)
    assert os.listdir() == []


def test_all_files_or_none() -> None:
    """One that is there keeps all from being written."""
    Path("systemd").mkdir()
    Path("systemd/orders.socket").write_text("mine")
    with pytest.raises(UsageError, match=r"systemd/orders\.socket exists, and nothing was written"):
        init(TARGET, "--systemd", "--nginx")
    assert sorted(os.listdir()) == ["systemd"]
    init(TARGET, "--systemd", "--nginx", "--force")
    assert sorted(os.listdir()) == ["nginx", "prefork.toml", "systemd"]
    assert Path("systemd/orders.socket").read_text() != "mine"


def test_systemd_opens_each_bind_by_a_unit() -> None:
    """With its mode and owner, and by the name that prefork.toml asks for."""
    binds = ("tcp://[::]:80?v6only=0", "unix:/run/mall/a.sock?mode=0600&user=root&group=daemon", "udp://127.0.0.1:53")
    target = "socketserver:BaseRequestHandler"
    init(target, "-n", "mall", *(word for bind in binds for word in ("-b", bind)), "--systemd", "-u", "daemon")
    assert read_file("prefork.toml").service["socketserver"].bind == (
        "systemd:mall",
        "systemd:mall-2",
        "systemd:mall-3",
    )
    units = {path.name: path.read_text().splitlines() for path in Path("systemd").iterdir()}
    assert {"ListenStream=[::]:80", "BindIPv6Only=both", "FileDescriptorName=mall", "NoDelay=yes"} <= set(
        units["mall.socket"]
    )
    unix = {"ListenStream=/run/mall/a.sock", "SocketMode=0600", "SocketUser=root", "SocketGroup=daemon"}
    assert {*unix, "FileDescriptorName=mall-2", "Service=mall.service"} <= set(units["mall-2.socket"])
    assert {"ListenDatagram=127.0.0.1:53", "FileDescriptorName=mall-3"} <= set(units["mall-3.socket"])
    assert "NoDelay=yes" not in units["mall-3.socket"]
    service = set(units["mall.service"])
    assert {"Requires=mall.socket mall-2.socket mall-3.socket", "User=daemon", "Group=daemon"} <= service
    assert f"WorkingDirectory={os.getcwd()}" in service
    assert any(line.endswith(f" run --config {os.getcwd()}/prefork.toml") for line in service)


def test_the_unit_waits_longer_than_we_do_and_lets_us_write() -> None:
    """Its limits follow from the settings, and so does what it may not hide."""
    init(TARGET, "--systemd", "--graceful-timeout", "2m", "--log-file", "/var/log/mall/x.log", "--pid", "/run/mall.pid")
    lines = Path("systemd/orders.service").read_text().splitlines()
    assert {"TimeoutStopSec=135s", "ReadWritePaths=/run", "ReadWritePaths=/var/log/mall"} <= set(lines)


def test_a_file_that_is_there_is_served_by_a_unit_of_its_own() -> None:
    """With -c the configuration stays, so the service opens its binds itself."""
    init(TARGET, "-b", "tcp://127.0.0.1:9000")
    done = init("-c", "prefork.toml", "--systemd")
    assert "wrote systemd/orders.service\nnext:" in done.output
    assert not [line for line in Path("systemd/orders.service").read_text().splitlines() if ".socket" in line]


LOW = {"AmbientCapabilities": "CAP_NET_BIND_SERVICE", "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE"}
NONE = {"AmbientCapabilities": None, "CapabilityBoundingSet": ""}


@pytest.mark.parametrize(
    ("before", "arguments", "given"),
    [
        (("-b", "tcp://0.0.0.0:80", "-b", "udp://127.0.0.1:53"), ("-c", "prefork.toml"), LOW),
        (("-b", "tcp://0.0.0.0:9000"), ("-c", "prefork.toml"), NONE),
        ((), (TARGET, "-b", "tcp://0.0.0.0:80"), NONE),
        ((), (TARGET, "--admin", "tcp://127.0.0.1:1023"), LOW),
        ((), (TARGET, "--admin", "tcp://127.0.0.1:1024"), NONE),
    ],
)
def test_a_unit_may_bind_the_low_ports_that_it_binds_itself(
    before: tuple[str, ...], arguments: tuple[str, ...], given: dict[str, str | None]
) -> None:
    """And else nothing: what a socket unit binds is bound by systemd, but never the admin address."""
    if before:
        init(TARGET, *before)
    init(*arguments, "--systemd")
    text = Path("systemd/orders.service").read_text()
    values = unit_file.parse(text)
    assert {name: values.get(name) for name in given} == given
    assert ("53 and 80, which else only root may bind" in text) is (before[2:] != ())


def test_a_unit_is_examined_before_it_is_installed() -> None:
    """By the first command that is advised, but for a user that is missing."""
    steps = init(TARGET, "--systemd", "--user", "daemon").output.partition("next:\n")[2].splitlines()
    assert steps[0] == f"  prefork doctor -c {Path.cwd()}/prefork.toml --unit systemd/orders.service"
    assert [step.split()[-1] for step in steps[1:]] == ["/etc/systemd/system/", "daemon-reload", "orders.service"]


def test_what_stands_in_front_needs_to_know_where_we_listen() -> None:
    """A configuration under systemd does not say it."""
    init(TARGET, "--systemd")
    with pytest.raises(UsageError, match=r"--nginx: prefork\.toml does not say where systemd:orders listens"):
        init("-c", "prefork.toml", "--nginx")


@pytest.mark.parametrize(
    ("binds", "servers"),
    [
        (("tcp://0.0.0.0:8080",), ["127.0.0.1:8080 max_fails=0;"]),
        (("unix:/run/mall/a.sock",), ["unix:/run/mall/a.sock max_fails=0;"]),
        (
            ("unix:/run/mall/a.sock", "tcp://10.0.0.7:8080"),
            ["unix:/run/mall/a.sock max_fails=0;", "10.0.0.7:8080           max_fails=0 backup;"],
        ),
    ],
)
def test_a_proxy_comes_by_the_doors_there_are(binds: tuple[str, ...], servers: list[str]) -> None:
    """One or two of them."""
    init(TARGET, *(word for bind in binds for word in ("-b", bind)), "--nginx", "--haproxy")
    text = Path("nginx/orders.conf").read_text()
    assert re.findall(r"^ +server (\S+ +max_fails.*)$", text, re.MULTILINE) == servers
    assert read_file("prefork.toml").admin == "tcp://127.0.0.1:9190"
    reached = servers[-1].split()[0].replace("unix:", "unix@")
    assert f"    server orders {reached} check addr 127.0.0.1 port 9190\n" in Path("haproxy/haproxy.cfg").read_text()


def test_an_image_has_its_files_in_one_directory_and_listens_to_all() -> None:
    """The loopback of a container is nobody else's."""
    Path("mall.py").write_text("from socketserver import StreamRequestHandler as Handler\n")
    init("mall:Handler", "--container")
    expected = {".dockerignore", "Containerfile", "compose.yaml", "prefork.toml", "requirements.txt", "mall.py"}
    assert expected <= set(os.listdir())
    assert read_file("prefork.toml").service["mall"].bind == ("tcp://0.0.0.0:9000",)
    assert "COPY mall.py /srv/mall/\n" in Path("Containerfile").read_text()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("-b", "unix:/run/a shop/s", "--systemd"), "--systemd: '/run/a shop/s' cannot be written into its files"),
        (("-b", "unix:/run/$shop;", "--nginx"), "--nginx: '/run/$shop;' cannot be written"),
        (("--log-file", "/var/log/100%n.log", "--logrotate"), "'/var/log/100%n.log' cannot be written"),
        (("--name", "größe", "--systemd"), "no file or image named 'größe'; give a --name of letters of ASCII"),
        (("--name", "Shop", "--container"), "give a --name of lower-case letters"),
        (("-b", "udp://127.0.0.1:9000", "--nginx"), "it needs a TCP port or the path of a Unix socket"),
        (("-b", "unix:@shop", "--haproxy"), "and unix:@shop is none"),
        (("-b", "tcp://127.0.0.1:0", "--nginx"), "and tcp://127.0.0.1:0 is none"),
        (("-b", "unix:/run/shop.sock", "--container"), "--container: it needs a TCP port, and"),
        (("-b", "tcp://127.0.0.1:0", "--systemd"), "systemd chooses no port; write the address and the port"),
        (("-b", "tcp://localhost:9000", "--systemd"), "systemd looks no name up, as localhost; write the address"),
    ],
)
def test_a_kit_that_would_not_work_is_refused(arguments: tuple[str, ...], why: str) -> None:
    """A file that its program would refuse, or read otherwise, is not written, nor is any other."""
    with pytest.raises(UsageError, match=re.escape(why)):
        init(TARGET, *arguments)
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("arguments", "note"),
    [
        (("-b", "unix:/run/shop.sock", "--nginx"), "bind unix:/run/shop.sock?group=www-data, the group of nginx"),
        (("-b", "unix:/run/shop.sock?group=www-data", "--nginx"), ""),
        (("-b", "unix:/run/shop.sock?mode=0666", "--nginx"), ""),
        (("-b", "unix:/run/shop.sock", "--haproxy"), "HAProxy looks for /run/shop.sock below its chroot"),
        (("-b", "unix:/run/shop.sock", "-b", "tcp://127.0.0.1:9000", "--haproxy"), ""),
        (("-b", "unix:/run/shop.sock"), ""),
    ],
)
def test_what_a_proxy_needs_of_a_unix_socket_is_a_note(arguments: tuple[str, ...], note: str) -> None:
    """The files are written all the same, for it is the bind that has to say so."""
    said = init(TARGET, *arguments).stderr
    assert note in said
    assert said.count("\n") == bool(note)


def test_only_a_file_that_holds_a_path_minds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``prefork.toml`` alone may lie anywhere, and what is typed next is quoted."""
    (tmp_path / "my shop 100%n").mkdir()
    monkeypatch.chdir(tmp_path / "my shop 100%n")
    assert "  prefork run -c 'a b/prefork.toml'\n" in init(TARGET, "-d", "a b").output
    assert "prefork run -c 'a b/prefork.toml'  " in Path("a b/prefork.toml").read_text()
    with pytest.raises(UsageError, match="cannot be written into its files"):
        init(TARGET, "--systemd")


def test_a_unit_is_of_the_user_of_the_services() -> None:
    """Who becomes somebody else would have to be root, which the unit forbids."""
    service = '[service.{0}]\ntarget = "examples.orders:Handler"\nbind = ["tcp://127.0.0.1:90{1}"]\nuser = "{2}"\n'
    Path("prefork.toml").write_text(service.format("a", 10, "daemon") + service.format("b", 11, "daemon"))
    init("-c", "prefork.toml", "--systemd")
    unit = next(Path("systemd").glob("*.service"))
    assert "\nUser=daemon\nGroup=daemon\n" in unit.read_text()
    Path("prefork.toml").write_text(service.format("a", 10, "daemon") + service.format("b", 11, "bin"))
    with pytest.raises(UsageError, match="a unit has one user, and the services want bin and daemon"):
        init("-c", "prefork.toml", "--systemd", "--force")


def test_log_files_are_made_to_be_rotated() -> None:
    """Where there would be none."""
    init(TARGET, "--logrotate")
    assert read_file("prefork.toml").logs.file == "/var/log/orders/orders.log"
    assert "/var/log/orders/*.log {" in Path("logrotate/orders").read_text()


def test_each_kit_is_a_flag() -> None:
    """And says what it writes."""
    shown = CliRunner().invoke(cli, ["init", "--help"]).output
    assert all(f"--{kit.name}" in shown for kit in kits.KITS)


def test_read_is_what_run_reads() -> None:
    """Without arguments ``prefork run`` takes the file that was written."""
    init(TARGET)
    assert read(environ={}).instance == read_file("prefork.toml")


def test_the_page_shows_what_is_written_and_said() -> None:
    """Its command is run, its lines are in the file."""
    shutil.copy(ROOT / "examples" / "orders.py", "shop.py")
    page = (ROOT / "docs" / "init.md").read_text()
    command, _, said = re.findall(r"```console\n\$ prefork init (.*?)```", page, re.DOTALL)[0].partition("\n")
    assert init(*command.split()).output == said
    shown = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    written = Path("prefork.toml").read_text().splitlines()
    assert len(shown.splitlines()) == 3
    assert set(shown.splitlines()) <= set(written)


def test_the_page_names_each_kit() -> None:
    """And each of their files has a flag."""
    page = (ROOT / "docs" / "init.md").read_text()
    assert set(re.findall(r"^\| (`.*?`) \|", page, re.MULTILINE)) != set()
    assert all(f"`--{kit.name}`" in page for kit in kits.KITS)


@pytest.mark.parametrize("kits", [("--logrotate",), ("--systemd",), ("--systemd", "--logrotate")])
def test_a_user_that_is_named_and_not_there_is_made_once(
    kits: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """logrotate passes over files of a user it does not know, and says so where nobody looks."""
    monkeypatch.setattr(os, "getuid", lambda: 0)  # for whom it is a user of the service's own
    done = init(TARGET, "-n", "mall-of-tests", *kits)
    assert len([line for line in done.stdout.splitlines() if "useradd" in line]) == 1

"""The first five minutes, as the pages tell them: what a reader copies into ``shop.py`` and ``shop.toml`` serves."""

import contextlib
import getpass
import grp
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.clients import ask
from tests.end_to_end.harness import TCP, Master
from tests.end_to_end.http import fetch
from tests.site.examples import examples

ANY_PORT = re.compile(r"tcp://[\d.]+:\d+")


def copied(page: str, language: str) -> str:
    """The first block of a page in this language."""
    return next(example.text for example in examples(language) if example.page == f"docs/{page}")


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """Where they work; whoever serves may write there."""
    tmp_path.chmod(0o777)
    return tmp_path


@contextlib.contextmanager
def serving_from(reader: Path, *arguments: str) -> Iterator[Master]:
    with Master(*arguments, cwd=reader) as master:
        master.wait_serving()
        yield master


def write_settings(reader: Path, page: str) -> None:
    """The file of the page, on a free port, as the user we are, and with its paths in the reader's directory."""
    settings = ANY_PORT.sub(TCP, copied(page, "toml"))
    settings = settings.replace('group = "www"', f'group = "{grp.getgrgid(os.getgid()).gr_name}"')
    settings = settings.replace('user = "www"', f'user = "{getpass.getuser()}"')
    settings = settings.replace("/run/", f"{reader}/").replace("/srv/shop", str(reader))
    settings = re.sub(r"^log_file = .*\n", "", settings, flags=re.MULTILINE)
    (reader / "shop.toml").write_text(settings)


def test_from_socketserver(reader: Path) -> None:
    """The class, given to ``prefork run``."""
    (reader / "shop.py").write_text(copied("from-socketserver.md", "python"))
    with serving_from(reader, "shop:Handler", "--bind", TCP, "--workers", "4") as master:
        assert ask(master.bind(), "hello") == "HELLO"
        assert len(master.workers()) == 4


def test_from_gunicorn(reader: Path) -> None:
    """A WSGI application, in the server that a function puts around it."""
    (reader / "shop.py").write_text(copied("coming-from-gunicorn.md", "python"))
    flags = ("--timeout", "30", "--max-requests", "1000", "--max-requests-jitter", "100")
    with serving_from(reader, "shop:serve", "--bind", TCP, "--workers", "4", *flags) as master:
        assert fetch(master.bind(), "/").body == b"hello\n"


def test_from_net_server(reader: Path) -> None:
    """The handler and the file beside it."""
    (reader / "shop.py").write_text(copied("from-net-server.md", "python"))
    write_settings(reader, "from-net-server.md")
    with serving_from(reader, "-c", "shop.toml") as master:
        assert ask(master.bind(), "hello") == "you said hello"
        assert (reader / "shop.pid").read_text().strip() == str(master.pid)


def test_from_supervisord(reader: Path) -> None:
    """The file that replaces four copies of a program."""
    (reader / "shop.py").write_text(copied("from-socketserver.md", "python"))
    write_settings(reader, "from-supervisord.md")
    with serving_from(reader, "-c", "shop.toml") as master:
        assert ask(master.bind(), "hello") == "HELLO"
        assert len(master.workers()) == 4


def test_hooks(reader: Path) -> None:
    """Each worker has a connection of its own, is asked whether it is well, and closes what it opened."""
    stock = reader / "stock.db"
    with contextlib.closing(sqlite3.connect(stock)) as connection:
        connection.execute("create table orders (number integer)")
    hooks = copied("hooks.md", "python").replace("/srv/shop/stock.db", str(stock))
    handler = copied("from-socketserver.md", "python")
    said = "__import__('os').write(1, b'closed %d\\n' % stock.execute('select count(*) from orders').fetchone())"
    (reader / "shop.py").write_text(
        f"{hooks}\n\n{handler}".replace("    stock.close()", f"    {said}\n    stock.close()")
    )
    write_settings(reader, "hooks.md")
    with serving_from(reader, "-c", "shop.toml") as master:
        assert ask(master.bind(), "hello") == "HELLO"
        master.stop()
        master.wait_for("closed 0", count=4)

"""What an application opens at import, and every worker would share: the log names it once, and the service serves."""

import socket

from tests.end_to_end.clients import ask
from tests.end_to_end.harness import TCP, Application, serving


def test_what_was_opened_at_import_is_told_once_a_generation(application: Application) -> None:
    """A connection, an event loop and a thread: a line each, with what to do, and no refusal."""
    with socket.create_server(("127.0.0.1", 0)) as database:
        port = database.getsockname()[1]
        application.write(
            "1",
            "import asyncio, socket, threading",
            f"connection = socket.create_connection(('127.0.0.1', {port}))",
            "loop = asyncio.new_event_loop()",
            "threading.Thread(target=threading.Event().wait, name='refresher', daemon=True).start()",
        )
        with serving(*application.arguments, "-b", TCP, "-w", "3") as master:
            assert ask(master.bind(), "version") == "1"
            (line,) = master.lines("sockets opened while importing")
            assert f"to 127.0.0.1:{port} (descriptor" in line
            assert "in shop.connection); open them in worker_start" in line
            assert len(master.lines("EventLoop")) == 1
            assert len(master.lines("refresher")) == 1


def test_an_application_that_opens_nothing_is_told_nothing(application: Application) -> None:
    """Also where it imports what could: no line that is not needed."""
    application.write("1", "import asyncio, logging.handlers, threading")
    with serving(*application.arguments, "-b", TCP, "-w", "2") as master:
        assert ask(master.bind(), "version") == "1"
        assert not [line for line in master.log if "WARNING" in line]

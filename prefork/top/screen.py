"""The terminal: its alternate buffer, keys without echo, and back again, whatever happens.

It must not know what is shown.
Invariant: after ``leave`` the terminal has the modes it was found with, and what was on it before is seen again.
"""

import contextlib
import io
import os
import select
import sys
import termios
import tty
from collections.abc import Sequence
from typing import Any, Self

from rich.console import Console
from rich.text import Text

from prefork.errors import UsageError

# xterm's private modes 1049 (alternate buffer), 25 (cursor) and 7 (wrap at the margin), ctlseqs
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_REST = "\x1b[H", "\x1b[K"


class Screen:
    """The terminal of standard input and output, between ``enter`` and ``leave``.

    :raises UsageError: there is none, or it cannot move its cursor.
    """

    def __init__(self) -> None:
        self._input, self._output = sys.stdin.fileno(), sys.stdout.fileno()
        if not (os.isatty(self._input) and os.isatty(self._output)):
            raise UsageError("top needs a terminal, and this is none; for files and pipes there is prefork status")
        if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
            kind = os.environ.get("TERM", "")
            raise UsageError(f"top needs a terminal that can move its cursor, and TERM is {kind!r}; use prefork status")
        self._modes: list[Any] | None = None
        self._printer = Console(force_terminal=True, file=io.StringIO(), legacy_windows=False)

    def fileno(self) -> int:
        """Keys are read from here."""
        return self._input

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        size = os.get_terminal_size(self._output)
        return size.columns, size.lines

    def enter(self) -> None:
        if self._modes is None:
            self._modes = termios.tcgetattr(self._input)
        tty.setcbreak(self._input, termios.TCSADRAIN)  # keys at once, without echo; ^C and ^Z stay signals
        self._write(_ENTER)

    def leave(self) -> None:
        modes, self._modes = self._modes, None
        if modes is not None:
            with contextlib.suppress(OSError, termios.error):  # it may be gone
                self._write(_LEAVE)
                termios.tcsetattr(self._input, termios.TCSADRAIN, modes)

    def show(self, lines: Sequence[Text]) -> None:
        """Draw over what is there. A terminal that takes nothing now is left as it is: another picture follows."""
        _, writable, _ = select.select([], [self._output], [], 0)
        if writable:
            self._write(_HOME + "\r\n".join(map(self._written, lines)))

    def read(self) -> bytes:
        """What was typed; empty is the end of the terminal."""
        try:
            return os.read(self._input, 4096)
        except OSError:
            return b""

    def _written(self, line: Text) -> str:
        with self._printer.capture() as capture:
            self._printer.print(line, end="", no_wrap=True, overflow="ignore", crop=False)
        # at the margin the cursor stands on the last character, and clearing would take that
        return capture.get() + (_CLEAR_REST if line.cell_len < self.size[0] else "")

    def _write(self, text: str) -> None:
        data = text.encode(sys.stdout.encoding or "utf-8", errors="replace")
        while data:
            data = data[os.write(self._output, data) :]

    def __enter__(self) -> Self:
        self.enter()
        return self

    def __exit__(self, *exception: object) -> None:
        self.leave()

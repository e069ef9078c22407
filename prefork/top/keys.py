"""Keys, as a terminal says them: characters, and sequences that begin with an escape.

It must not know what keys are good for.
Invariant: a sequence that came in two pieces is one key, unless it was torn right behind its escape.
"""

import re

_NAMES = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "1~": "home",
    "4~": "end",
    "7~": "home",
    "8~": "end",
    "5~": "page-up",
    "6~": "page-down",
}
_CONTROLS = {"\x1b": "escape", "\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x0c": "redraw"}
# one key: a control sequence (ECMA-48, 5.4), a key of the keypad as xterm says it, or a character
_KEY = re.compile(r"\x1b\[(?P<csi>[0-?]*[ -/]*[@-~])|\x1bO(?P<ss3>.)|(?P<char>.)", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(\[[0-?]*[ -/]*|O)\Z")


class Keys:
    """Bytes in, names of keys out: a character is its own name; what has no name is left out."""

    def __init__(self) -> None:
        self._rest = b""

    def read(self, data: bytes) -> list[str]:
        text = (self._rest + data).decode(errors="ignore")
        unfinished = _UNFINISHED.search(text)
        self._rest = b"" if unfinished is None else unfinished[0].encode()
        text = text if unfinished is None else text[: unfinished.start()]
        return [name for match in _KEY.finditer(text) if (name := _name(match))]


def _name(match: "re.Match[str]") -> str:
    sequence = match["csi"] or match["ss3"]
    if sequence is not None:
        return _NAMES.get(sequence, "")
    character = match["char"]
    return character if character.isprintable() else _CONTROLS.get(character, "")

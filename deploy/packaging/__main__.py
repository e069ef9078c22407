"""``python -m deploy.packaging DIRECTORY``: write what a wheel installs below ``share/`` into a directory."""

import sys
from pathlib import Path

from deploy.packaging.manual import manual
from prefork.cli import cli
from prefork.cli.completion import SHELLS, script

COMPLETIONS = {
    "bash": "bash-completion/completions/prefork",
    "zsh": "zsh/site-functions/_prefork",
    "fish": "fish/vendor_completions.d/prefork.fish",
}


def shared() -> dict[str, str]:
    """The text of each file by its path below ``share/``."""
    files = {f"man/man{name[-1]}/{name}": text for name, text in manual().items()}
    return files | {COMPLETIONS[shell]: script(cli, shell) for shell in SHELLS}


def write(directory: Path) -> None:
    for name, text in shared().items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

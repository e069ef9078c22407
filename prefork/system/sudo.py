"""Commands that are advised, as whoever asked would type them: root needs no ``sudo``, and a small machine has none.

It must not know what is advised, and runs nothing.
"""

import os


def typed(command: str) -> str:
    """:param command: one that says ``sudo`` where only root may."""
    return command.replace("sudo ", "") if os.geteuid() == 0 else command

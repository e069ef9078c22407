"""Hatchling's hook: a wheel gets manual pages and completion files. An editable installation goes without.

They are made by a process of its own, which finds this source first and leaves no bytecode in it. It must not know
what it installs.
"""

import os
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class SharedFiles(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        self._made = TemporaryDirectory()
        command = [sys.executable, "-B", "-m", "deploy.packaging", self._made.name]
        subprocess.run(command, check=True, cwd=self.root, env={**os.environ, "PYTHONPATH": self.root})
        build_data["shared_data"][self._made.name] = "share"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._made.cleanup()

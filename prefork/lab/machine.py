"""The machine that figures were measured on, as far as it decides them.

It must not know what is measured. Invariant: what cannot be read is said to be unknown, and stops nothing.
"""

import os
import platform

from prefork import __version__
from prefork.lab.comparison import Machine
from prefork.system import cpus


def this_machine() -> Machine:
    uname = os.uname()
    return Machine(
        cpus=cpus.usable().amount,
        model=_model() or f"unknown {uname.machine}",
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=uname.release,
        python=platform.python_version(),
        prefork=__version__,
    )


def _model() -> str:
    """The processor's name; some kinds have none in ``/proc/cpuinfo``."""
    try:
        with open("/proc/cpuinfo", errors="replace") as file:
            lines = [line.partition(":") for line in file]
    except OSError:
        return ""
    return next((value.strip() for name, _, value in lines if name.strip().lower() == "model name"), "")

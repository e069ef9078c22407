"""The leash: becomes another program, which is told to end should whoever started it end first, whatever that dies of.

``python -I -S leash.py PARENT PROGRAM ARGUMENT…``: the kernel keeps the wish across an exec, prctl(2) PR_SET_PDEATHSIG,
and a parent that was gone before it was made shows in its pid. Run by path, so that it brings no package of ours.
Invariant: it starts nothing, so the program has the pid of the leash.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h

if __name__ == "__main__":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() == int(sys.argv[1]):
        os.execv(sys.argv[2], sys.argv[2:])

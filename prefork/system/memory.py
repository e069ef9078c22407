"""What a process weighs, by psutil: what it has alone (USS), and with its share of what others have as well (PSS).

Both stand in ``/proc/PID/smaps_rollup``, proc(5). We leave the reading to psutil: it knows where that file is missing,
or answers ESRCH for a process that lives, it counts huge pages, and its figures are those of an operator's other tools.
Memory that is swapped out is in neither.

Who imports this imports psutil: 15 ms and 4 MB, so only who is asked to weigh does. It must not know which process it
weighs, nor ask often: the kernel walks all pages of a process, 0.1 ms for a small one and 8 ms for one of a GiB.
Invariant: a process that is gone has no weight.
"""

import psutil


def weigh(pid: int) -> dict[str, int] | None:
    """Bytes by measure, ``uss`` and ``pss``; ``None`` of a process that is gone.

    :raises PermissionError: it is not ours to read.
    """
    try:
        found = psutil.Process(pid).memory_full_info()
    except psutil.AccessDenied:
        raise PermissionError(f"process {pid} may not be read") from None
    except psutil.NoSuchProcess:
        return None
    return {"uss": found.uss, "pss": found.pss} if found.pss else None  # a zombie has none

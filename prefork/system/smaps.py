"""What a process costs with its share of what it shares (PSS), from ``/proc/PID/smaps_rollup``, proc(5).

Beside ``memory.py``, which leaves that to psutil, for who may import nothing any more: a master that is asked for a
refork once in its life. It must not know which process that is, nor ask often: the kernel walks all of its pages.
Invariant: a process that is gone, or not ours to read, has no figure.
"""


def proportional_bytes(pid: int) -> int | None:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as rows:
            for row in rows:
                if row.startswith(b"Pss:"):
                    return int(row.split()[1]) * 1024
    except OSError:
        return None
    return None

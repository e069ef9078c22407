"""Memory of a process, its share of what it shares included: PSS, proc(5).

It must not know which process that is, nor ask often: the kernel walks all of a process' pages, 50 to 105 µs for a
small one. Invariant: a process that is gone, or not ours to read, has no figure.
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

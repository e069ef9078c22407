"""Checks of what a machine, a control group and a process are limited to, against what the services ask for.

It must not read anything. Read next: ``facts.py``; ``checks.py``, the order they are made in.
"""

from prefork.doctor.commands import raise_limit
from prefork.doctor.facts import Facts
from prefork.doctor.findings import Findings, bites, fine, note
from prefork.report.units import share, size

_OPEN_BESIDES = 64  # files of a master that are no worker's: listeners, logs, the control socket and its guests
_OPEN_IN_WORKER = 32  # of a worker that are no client's
_OTHERS = 16  # processes of an instance that are no workers, and the moment of a double fork
_THROTTLED, _MUCH_THROTTLED = 0.01, 0.1  # of the periods of a share of CPU
_NEARLY = 0.9
_GIB = 1024**3


def open_files(facts: Facts) -> Findings:
    """The limit of open files, against one a worker in the master, and one a client in a worker with threads."""
    limit = facts.limit("Max open files")
    highest = sum(service.highest + len(service.binds) for service in facts.services)
    needed = highest + _OPEN_BESIDES
    shown = f"{_limit(limit.soft)} (hard {_limit(limit.hard)})"
    if not limit.is_none and 0 <= limit.hard < needed:
        why = (
            f"the master holds one a worker, and others: {highest} of them and {_OPEN_BESIDES} more; it could not fork"
        )
        yield bites(shown, why, *raise_limit(facts, "LimitNOFILE", "nofile", max(4096, facts.descriptors)))
        return
    crowded = False
    for service in facts.services:
        soft = service.files if service.files is not None else _worker_soft(facts, limit.soft)
        wanted = _OPEN_IN_WORKER + (service.at_once if service.concurrency == "thread" else 1)
        if 0 <= soft < wanted:
            crowded = True
            why = (
                f"a worker of {service.name} with {service.at_once} requests at once needs {wanted}; clients would wait"
            )
            remedy = f"# [service.{service.name}] rlimits = {{ nofile = {4 * wanted} }}  in prefork.toml"
            yield bites(f"{soft} in a worker", why, remedy)
    if not crowded:
        if 0 <= limit.hard < facts.descriptors:
            why = f"there is no room to scale: with {facts.descriptors} the workers may be twice as many"
            yield note(shown, why, *raise_limit(facts, "LimitNOFILE", "nofile", facts.descriptors))
        else:
            yield fine(f"{shown}, {needed} needed" if facts.services else shown)


def _worker_soft(facts: Facts, soft: int) -> int:
    found = facts.running.worker_limits.get("Max open files") if facts.running else None
    return found.soft if found else soft


def _limit(number: float) -> str:
    return "unlimited" if number < 0 else f"{number:.0f}"


def files_of_the_machine(facts: Facts) -> Findings:
    """How many files all programs have open, of those the kernel allows."""
    used, _, most = facts.several("fs.file-nr")
    if used > _NEARLY * most:
        why = "once there are no more, accept fails in every program, with ENFILE"
        yield bites(f"{used:.0f} of {most:.0f}", why, f"sudo sysctl -w fs.file-max={2 * most:.0f}")
    else:
        yield fine(f"{used:.0f} of {most:.0f}" if most < 1e15 else f"{used:.0f}, without a limit")


def processes(facts: Facts) -> Findings:
    """How many processes the control group and the user may have, against all workers and those that replace them."""
    wanted = sum(_tasks(service.highest, service.concurrency, service.at_once) for service in facts.services) + _OTHERS
    ours = len(facts.running.report.pids) if facts.running else 0
    limits = []
    if facts.group.processes is not None and facts.group.tasks is not None:
        limits.append((facts.group.processes, facts.group.tasks, "of the control group", "TasksMax", "nproc"))
    user = facts.limits.get("Max processes")
    # root's processes are not counted, getrlimit(2)
    if facts.threads_of_user is not None and user is not None and user.soft >= 0:
        limits.append((user.soft, facts.threads_of_user, f"of user {facts.user}", "LimitNPROC", "nproc"))
    for most, used, whose, directive, name in limits:
        free = most - used + ours
        if free < wanted:
            why = f"up to {wanted} are needed, beside others; a fork would fail, and workers would be missing"
            yield bites(f"{used} of {most} {whose}", why, *raise_limit(facts, directive, name, most + 2 * wanted))
        else:
            yield fine(f"{used} of {most} {whose}, {wanted} needed")
    if not limits:
        yield fine(f"without a limit, {wanted} needed" if facts.services else "without a limit")


def _tasks(workers: int, concurrency: str, at_once: int) -> int:
    return workers * (1 + (at_once if concurrency in ("thread", "fork") else 0))


def memory(facts: Facts) -> Findings:
    """Memory of the control group or the machine, against what workers weigh (PSS), or may."""
    machine = facts.number("MemTotal")
    limit = min(machine, facts.group.memory or machine)
    whose = "the control group" if limit < machine else "the machine"
    if facts.group.killed:
        why = "each was in the middle of something; the limit is too low, or a worker grows"
        yield bites(
            f"{facts.group.killed} processes of the control group were killed for want of it", why, *_MORE_MEMORY
        )
    for service in facts.services:
        if service.memory_budget > limit:
            why = f"the pool of {service.name} grows until the kernel kills, and not until its budget is spent"
            remedy = (
                f'# [service.{service.name}] memory_budget = "{int(limit * _NEARLY) // 1024**2}MiB"  in prefork.toml'
            )
            yield bites(f"{size(int(limit))} of {whose}, memory_budget {size(service.memory_budget)}", why, remedy)
    weights = facts.running.weights if facts.running else []
    total = facts.running.report.memory_bytes if facts.running else None
    if not weights or total is None:
        yield from _promised(facts, limit, whose)
        return
    highest = sum(service.highest for service in facts.services)
    projected = total + max(0, highest - len(weights)) * max(weights)
    shown = f"{size(total)} in {len(weights)} workers and others, {size(int(projected))} with {highest}"
    if projected > _NEARLY * limit:
        yield bites(f"{shown}, of {size(int(limit))} of {whose}", "the kernel would kill one of them", *_MORE_MEMORY)
    else:
        yield fine(f"{shown}, of {size(int(limit))} of {whose}")


_MORE_MEMORY = (
    "prefork status    # who weighs what; memory_soft replaces a worker that grows, fewer workers need less",
)


def _promised(facts: Facts, limit: float, whose: str) -> Findings:
    """Before it runs there are only limits to go by."""
    promised = sum(service.highest * service.memory_hard for service in facts.services)
    if promised > limit:
        why = "if all workers grow, the kernel kills one before memory_hard is reached"
        yield note(f"{size(int(limit))} of {whose}, {size(promised)} by memory_hard of all workers", why, *_MORE_MEMORY)
    else:
        yield fine(f"{size(int(limit))} of {whose}")


def cpus(facts: Facts) -> Findings:
    """CPUs that may be used, and how often a share of them was spent before its time was over."""
    usable = facts.number("cpus")
    shown = f"{usable:g} usable"
    if facts.group.cpus is not None and facts.group.cpus < usable:
        shown = f"{facts.group.cpus:g} by the control group, of {usable:g}"
    if not facts.group.periods or facts.group.throttled is None:
        yield fine(shown)
        return
    part = facts.group.throttled / facts.group.periods
    shown += f", throttled in {share(part)} of its periods"
    why = "processes stood still in the middle of requests until the next period"
    remedy = '# raise the limit (CPUQuota= of a unit, --cpus of a container), or run fewer workers: workers = "auto"'
    if part > _MUCH_THROTTLED:
        yield bites(shown, why, remedy)
    elif part > _THROTTLED:
        yield note(shown, why, remedy)
    else:
        yield fine(shown)


def core_files(facts: Facts) -> Findings:
    """Whether a crash in native code leaves a core file."""
    limit = facts.limit("Max core file size")
    if limit.soft == 0:
        yield fine("none; after a crash in native code the log has the Python stack")
    else:
        yield fine(f"up to {_limit(limit.soft)} bytes, named {facts.word('core_pattern')}")


def overcommit(facts: Facts) -> Findings:
    """Whether the kernel refuses a fork for memory that is promised and not used."""
    mode = facts.number("vm.overcommit_memory")
    if mode != 2:
        yield fine(f"{mode:.0f}: a fork promises no memory")
        return
    free = facts.number("CommitLimit") - facts.number("Committed_AS")
    shown = f"2: {size(int(max(0, free)))} can be promised"
    why = "each worker promises all memory of its mold, shared or not; a fork fails with ENOMEM when that is spent"
    (yield bites(shown, why, "sudo sysctl -w vm.overcommit_memory=0")) if free < _GIB else (
        yield note(shown, why, "sudo sysctl -w vm.overcommit_memory=0")
    )


def huge_pages(facts: Facts) -> Findings:
    """Transparent huge pages: how much of what is shared a worker copies when it writes."""
    chosen = facts.word("transparent_hugepage")
    if chosen == "always":
        why = "memory comes 2 MiB at a time, also to a worker that needs 4 KiB: workers may weigh more than they use"
        yield note(chosen, why, "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled")
    else:
        yield fine(chosen)


def swap(facts: Facts) -> Findings:
    """Whether processes of the instance are swapped out."""
    if facts.running is None:
        return
    if facts.running.swapped:
        why = "the first request of such a worker waits for the disk"
        yield note(
            f"{size(facts.running.swapped)} of its processes are swapped out", why, "sudo swapoff -a && sudo swapon -a"
        )
    else:
        yield fine("nothing of its processes is swapped out")


def disk(facts: Facts) -> Findings:
    """Room where the log files are."""
    places = [file for file in facts.files if file.state != "no directory"]
    if not places:
        return
    fullest = min(places, key=lambda file: file.free)
    if fullest.free < 1 - 0.99:
        yield bites(
            f"{share(fullest.free)} free at {fullest.path}",
            "once it is full, log lines are lost",
            f"df -h {fullest.path}",
        )
    elif fullest.free < 1 - _NEARLY:
        yield note(
            f"{share(fullest.free)} free at {fullest.path}",
            "log lines are lost once it is full",
            f"df -h {fullest.path}",
        )
    else:
        yield fine(f"{share(fullest.free)} free at {fullest.path}")


def kernel_calls(facts: Facts) -> Findings:
    """Calls of the kernel that a master stands on: pidfds, memfd, epoll."""
    missing = facts.word("missing calls")
    if missing:
        yield bites(
            f"missing: {missing}",
            "a master cannot do without; the kernel is too old, or a sandbox denies them",
            "uname -r",
        )
    else:
        yield fine(f"all there, Linux {facts.word('release')}")

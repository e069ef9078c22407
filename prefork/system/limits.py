"""The limit of open descriptors: a supervisor needs one a worker, its workers want the limit they were started with.

It must not know how many workers there are. Invariant: no limit here is ever set above its hard one.
"""

import resource


def raise_descriptors(needed: int) -> int:
    """Raise this process' soft limit to ``needed`` open descriptors, as far as the hard limit allows, getrlimit(2).

    :returns: the soft limit before, for ``limit_descriptors`` in the children.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft


def limit_descriptors(soft: int) -> None:
    """Set this process' soft limit back; programs that use select(2) count on a low one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

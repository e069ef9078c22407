"""Commands that a finding advises, as one types them. Nothing here is run."""

import shlex

from prefork.doctor.facts import Facts

_SYSCTLS = "/etc/sysctl.d/60-prefork.conf"
# directives whose lines add up; an empty one forgets those above it
ADDING = (
    "ReadWritePaths",
    "AmbientCapabilities",
    "CapabilityBoundingSet",
    "RuntimeDirectory",
    "StateDirectory",
    "CacheDirectory",
    "LogsDirectory",
)
_LIMITS = "/etc/security/limits.d/60-prefork.conf"


def set_sysctl(name: str, value: float | str) -> str:
    """For now, and for every start of the machine."""
    text = value if isinstance(value, str) else f"{value:.0f}"
    return f"echo '{name} = {text}' | sudo tee -a {_SYSCTLS} && sudo sysctl -p {_SYSCTLS}"


def raise_limit(facts: Facts, directive: str, name: str, value: int) -> tuple[str, ...]:
    """Of a process, where it comes from.

    :param directive: of a unit, ``LimitNOFILE``.
    :param name: of prlimit(1) and limits.conf(5), ``nofile``.
    """
    if facts.unit is not None or (facts.running and facts.running.unit):
        return set_in_unit(facts, f"{directive}={value}")
    rule = f"echo '{facts.user} - {name} {value}' | sudo tee -a {_LIMITS}    # and log in anew"
    if facts.running:
        return (f"sudo prlimit --pid {facts.running.report.snapshot.pid} --{name}={value}:{value}", rule)
    return (rule,)


def set_in_unit(facts: Facts, directive: str) -> tuple[str, ...]:
    """In the unit's file, where one was named; else beside it, in a file of ours."""
    if facts.unit is not None and "/" in facts.unit.shown:
        name = directive.partition("=")[0]
        instead = "" if name in ADDING else f"-e '/^{name}=/d' "
        return (f"sed -i {instead}-e '/^\\[Service\\]/a {directive}' {shlex.quote(facts.unit.shown)}",)
    unit = facts.unit.shown if facts.unit else facts.running.unit if facts.running else ""
    place = f"/etc/systemd/system/{unit}.d"
    return (
        f"sudo mkdir -p {place} && printf '[Service]\\n{directive}\\n' | sudo tee -a {place}/60-prefork.conf",
        f"sudo systemctl daemon-reload && sudo systemctl restart {unit}",
    )

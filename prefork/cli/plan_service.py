"""What ``prefork plan`` knows of the service: from a profile, or on paper; with what to doubt of either.

It must not know what is planned. Invariant: a profile is checked before anything is reckoned with it.
Read next: ``lab/profile.py``, the record.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from prefork.cli.lab_flags import seconds
from prefork.errors import UsageError
from prefork.lab.advice import RESERVE
from prefork.lab.doubts import Doubt
from prefork.lab.fleet import Machine, Service, places_of, service_of, service_on_paper
from prefork.lab.profile import VERSION, Profile
from prefork.lab.queueing import moments

PAPER = Machine(4.0, 8 * 1024**3)
USUAL_BOOT = 1.0  # seconds, where nobody saw it
MOST_SCV = 100
MOST_PER_CPU = 10_000
LEAST_HOLD, MOST_HOLD = 0.5, 1.25  # how much of what a client sees a worker is held by
SEVERAL_AT_A_TIME = ("thread", "hybrid", "fork", "select")  # modes
REMEDY = "write one by: prefork tune TARGET --save-profile FILE"


class Known(NamedTuple):
    """:param source: ``measured``, ``live`` or ``paper``.
    :param machine: on which it was seen, with as much of its memory as tune gives to a service.
    """

    service: Service
    source: str
    target: str
    doubts: list[Doubt]
    machine: Machine


def known_service(path: str | None, flags: Mapping[str, Any]) -> Known:
    """:param path: of a profile; without one it is planned on paper.
    :raises UsageError: too little is known, or a flag is wrong.
    """
    per_cpu = flags["workers_per_cpu"]
    if per_cpu is not None and not 0 < per_cpu <= MOST_PER_CPU:
        raise UsageError(f"--workers-per-cpu: {per_cpu:g} is not above 0 and at most {MOST_PER_CPU}; write it as 2")
    boot = seconds("--boot", flags["boot"])
    boot = None if boot is None else float(boot)
    mean, scv = seconds("--service-mean", flags["service_mean"]), flags["service_scv"]
    if path is None:
        return _on_paper(mean, 1.0 if scv is None else scv, per_cpu or 1.0, USUAL_BOOT if boot is None else boot)
    if mean is not None or scv is not None:
        raise UsageError("--service-mean: the profile has its service times; leave one of the two out")
    profile = read_profile(path)
    service, doubts = service_of(profile, per_cpu), profile_doubts(profile)
    if boot is None and not service.boot_seconds:
        boot = USUAL_BOOT
        doubts.append(Doubt("boot", f"nobody saw the service start; {boot:g} s is taken, give another by --boot"))
    if boot is not None:
        service = replace(service, boot_seconds=boot)
    machine = Machine(profile.cpus, int((1 - RESERVE) * profile.memory_limit))
    return Known(service, profile.source, profile.target, doubts, machine)


def _on_paper(mean: float | None, scv: float, per_cpu: float, boot: float) -> Known:
    if not mean:
        raise UsageError("a profile is missing, or --service-mean above 0; " + REMEDY)
    if not 0 <= scv <= MOST_SCV:
        raise UsageError(f"--service-scv: {scv:g} is not between 0 and {MOST_SCV}; 1 varies as an exponential law does")
    doubt = Doubt(
        "paper",
        f"nothing was measured: service times are lognormal with an scv of {scv:g}, workers do not hinder each other,"
        f" and at most {per_cpu:g} a CPU run; measure by prefork tune as soon as there is something",
    )
    service = service_on_paper(mean, scv, per_cpu, boot)
    return Known(service, "paper", f"{1000 * mean:g} ms a request", [doubt], PAPER)


def read_profile(path: str) -> Profile:
    """:raises UsageError: there is no profile, or none that this version can use."""
    try:
        with open(path, "rb") as file:
            data = file.read()
        version = msgspec.json.decode(data, type=_Versioned).version
        if version != VERSION:
            raise UsageError(f"{path} is a profile of version {version}, and this reads version {VERSION}; {REMEDY}")
        profile = msgspec.json.decode(data, type=Profile)
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); {REMEDY}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no profile ({error}); {REMEDY}") from None
    above_zero = (*profile.service_seconds, profile.cpus, profile.memory_limit, profile.workers, profile.at_once)
    if not profile.service_seconds or min(above_zero) <= 0:
        raise UsageError(f"{path} is no profile (its service times, CPUs, memory and workers are above 0); {REMEDY}")
    return profile


class _Versioned(msgspec.Struct):
    version: int


def profile_doubts(profile: Profile) -> list[Doubt]:
    """What a profile leaves open."""
    doubts = []
    if profile.scalability is None:
        doubts.append(
            Doubt(
                "no-scalability",
                "the profile does not say how workers hinder each other: they are taken not to, with at most"
                f" {profile.workers / profile.cpus:g} a CPU, as they ran; measure it by"
                " prefork tune TARGET --save-profile FILE",
            )
        )
    else:
        mean, one = moments(profile.service_seconds)[0], profile.scalability.one
        if not LEAST_HOLD <= places_of(profile) / (one * mean) <= MOST_HOLD:
            doubts.append(
                Doubt(
                    "hold",
                    f"one worker alone did {one:.4g} requests a second, which does not go together with"
                    f" {1000 * mean:.3g} ms a request; the throughput is believed, verify by prefork load",
                )
            )
    if profile.at_once > 1 and profile.scalability is None:
        doubts.append(
            Doubt(
                "mode",
                f"each worker serves {profile.at_once} requests at a time, which are taken not to hinder each other;"
                " verify by prefork load",
            )
        )
    elif profile.at_once == 1 and profile.mode in SEVERAL_AT_A_TIME:
        doubts.append(
            Doubt(
                "mode",
                f"workers of mode {profile.mode} serve several requests at a time, and the profile does not say how"
                " many: each is taken for one that serves them faster, one by one; verify by prefork load",
            )
        )
    return doubts

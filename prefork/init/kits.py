"""Kits: which files there are to ask for, and what one types when they are written.

It must not know what is in a file. To add one, put its template below ``templates/``, in the
directory of its kit; to add a kit, add it to ``KITS`` as well.
Invariant: each kit has a directory of templates, and each of those a kit.
Read next: ``templates.py``; ``site.py``, what is filled in.
"""

from collections.abc import Iterator
from typing import NamedTuple

from prefork.init import templates
from prefork.init.site import Site, has_user, listening

_SOCKET = "systemd/shop.socket"  # one a bind, and not one for all


class Kit(NamedTuple):
    """:param help: what it is, for the flag of its name.
    :param is_beside: whether its files belong beside prefork.toml, and not into a directory of their own.
    :param connects: whether its files say where clients reach it.
    :param asks_admin: whether its files ask the admin process how the service is.
    :param names_user: whether its files name the user it runs as, who has to be there.
    :param steps: what one types next, with values of the site, and ``@HERE@`` for where the files are.
    """

    name: str
    help: str
    steps: tuple[str, ...]
    asks_admin: bool = False
    connects: bool = False
    is_beside: bool = False
    names_user: bool = False


KITS = (
    Kit(
        "systemd",
        "A service unit, and a socket unit for each bind.",
        (
            "prefork doctor -c @CONFIG@ --unit @HERE@/@NAME@.service",
            "sudo cp @HERE@/@NAME@.service @SOCKET_FILES@ /etc/systemd/system/",
            "sudo systemctl daemon-reload",
            "sudo systemctl enable --now @SOCKET_UNITS@ @NAME@.service",
        ),
        names_user=True,
    ),
    Kit(
        "container",
        "A Containerfile and a compose file.",
        ("podman build -t @NAME@ @HERE@", "podman run --rm -p @PORT@:@PORT@ @NAME@"),
        asks_admin=True,
        connects=True,
        is_beside=True,
    ),
    Kit(
        "nginx",
        "Configurations of nginx in front of it.",
        ("sudo cp @HERE@/@NAME@.conf /etc/nginx/conf.d/", "sudo nginx -t && sudo nginx -s reload"),
        asks_admin=True,
        connects=True,
    ),
    Kit(
        "haproxy",
        "A configuration of HAProxy in front of it.",
        ("haproxy -c -f @HERE@/haproxy.cfg",),
        asks_admin=True,
        connects=True,
    ),
    Kit("prometheus", "What a Prometheus asks it, and alerts.", ("promtool check config @HERE@/prometheus.yml",), True),
    Kit(
        "logrotate",
        "Rotation of its log files.",
        ("sudo install -d -o @USER@ -g @GROUP@ @LOG_DIRECTORY@", "sudo cp @HERE@/@NAME@ /etc/logrotate.d/"),
        names_user=True,
    ),
)


class File(NamedTuple):
    """:param path: below the directory asked for."""

    path: str
    text: str


def files(kit: Kit, site: Site) -> Iterator[File]:
    """All files of the kit, filled in."""
    for template in templates.names(kit.name):
        if template == _SOCKET:
            yield from _sockets(site)
        else:
            path = templates.path(template.removeprefix(f"{kit.name}/") if kit.is_beside else template, site.name)
            yield File(path, templates.render(template, site.values()))


def _sockets(site: Site) -> Iterator[File]:
    """A unit for each bind, for modes and owners are a unit's."""
    for name, own in zip(site.socket_names, listening(site.binds), strict=False):
        service = None if name == site.name else f"Service={site.name}.service"  # which is what systemd thinks itself
        values = {**site.values(), **own, "SOCKET_NAME": name, "SERVICE": service}
        yield File(f"systemd/{name}.socket", templates.render(_SOCKET, values))


def steps(kit: Kit, site: Site, directory: str) -> Iterator[str]:
    """:param directory: where the kit's files are, as one would type it."""
    if kit.names_user and not has_user(site.user):
        yield f"sudo useradd --system --user-group --no-create-home {site.user}"
    socket_files = " ".join(f"{directory}/{name}.socket" for name in site.socket_names)
    for step in kit.steps:
        yield templates.fill_words(step, {**site.values(), "HERE": directory, "SOCKET_FILES": socket_files})

"""What comes of ``prefork tune``: printed, saved, drawn, and kept for a plan.

It must not know how anything was found. Invariant: what cannot be written is said before minutes are spent on it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import msgspec

from prefork.cli.lab_flags import STDOUT, refuse_unwritable, write_file, write_json
from prefork.errors import UsageError

if TYPE_CHECKING:
    from prefork.lab.profile import Profile
    from prefork.lab.tuning import Tuning

_FLAGS = {"as_json": "--json", "save_profile": "--save-profile", "picture": "--picture"}
_PICTURES = (".svg", ".png")


def check_outputs(flags: Mapping[str, Any]) -> None:
    """:raises UsageError: a file cannot be written, or nobody draws that kind."""
    picture = flags["picture"]
    if picture is not None and not picture.endswith(_PICTURES):
        raise UsageError(f"--picture: {picture!r} cannot be drawn; end it in {' or '.join(_PICTURES)}")
    for name, flag in _FLAGS.items():
        path = flags.get(name)
        if path is None or (path == STDOUT and name == "as_json"):
            continue
        refuse_unwritable(flag, path)


def show(tuning: "Tuning", settings: Mapping[str, Any], flags: Mapping[str, Any]) -> None:
    """Print the answer, and write all that was asked for: figures first, the picture that is made of them last.

    :param settings: of the service, that were given.
    :raises CommandError: a file cannot be written.
    """
    from prefork.lab import tuning_text
    from prefork.lab.profiles import of_tuning

    if flags["as_json"] != STDOUT:
        for line in tuning_text.lines(tuning, settings):
            click.echo(line)
    if flags["as_json"] is not None:
        write_json(flags["as_json"], tuning)
    if flags["save_profile"] is not None:
        profile = of_tuning(tuning)
        if profile is None:
            click.echo("prefork: --save-profile: too little was measured for one; give more time (--budget)", err=True)
        else:
            write_profile(flags["save_profile"], profile)
    if flags["picture"] is not None and tuning.sweep:
        write_file("--picture", flags["picture"], _drawn(tuning, flags["picture"]))


def write_profile(path: str, profile: "Profile") -> None:
    """:raises CommandError: it cannot be written."""
    write_file("--save-profile", path, msgspec.json.format(msgspec.json.encode(profile), indent=2) + b"\n")


def _drawn(tuning: "Tuning", path: str) -> bytes:
    from prefork.lab import ink, tuning_picture

    figure = tuning_picture.draw(tuning)
    if path.endswith(".png"):
        return ink.as_png(figure)
    return ink.as_svg(figure, tuning_picture.describe(tuning)).encode()

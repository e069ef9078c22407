"""Files that are written together: after an error all is as before."""

import errno
import os
from pathlib import Path

import pytest

from prefork.errors import UsageError
from prefork.init.writing import write_all


def tree(directory: Path) -> dict[str, str | None]:
    """All below it: files with their text, directories without."""
    found = sorted(directory.rglob("*"))
    return {str(path.relative_to(directory)): path.read_text() if path.is_file() else None for path in found}


def test_directories_are_made(tmp_path: Path) -> None:
    """Those that are missing, however deep."""
    write_all({f"{tmp_path}/a/b/one": "1", f"{tmp_path}/a/two": "2"}, replaces=False)
    assert tree(tmp_path) == {"a": None, "a/b": None, "a/b/one": "1", "a/two": "2"}


def test_what_is_there_is_kept_and_named(tmp_path: Path) -> None:
    """And nothing beside it is written."""
    (tmp_path / "two").write_text("mine")
    with pytest.raises(UsageError, match=f"^{tmp_path}/two exists, and nothing was written; give --force"):
        write_all({f"{tmp_path}/one": "1", f"{tmp_path}/two": "2"}, replaces=False)
    assert tree(tmp_path) == {"two": "mine"}


def test_what_is_there_is_replaced_when_asked(tmp_path: Path) -> None:
    """Whole: no rest of it, no copy beside it."""
    (tmp_path / "two").write_text("mine, and long")
    write_all({f"{tmp_path}/one": "1", f"{tmp_path}/two": "2"}, replaces=True)
    assert tree(tmp_path) == {"one": "1", "two": "2"}


@pytest.mark.parametrize("replaces", [False, True])
def test_after_an_error_all_is_as_before(tmp_path: Path, replaces: bool) -> None:
    """Files that were written are gone, directories too, and what was replaced is back."""
    (tmp_path / "file").write_text("no directory")
    if replaces:
        (tmp_path / "two").write_text("mine")
    before = tree(tmp_path)
    contents = {f"{tmp_path}/new/one": "1", f"{tmp_path}/two": "2", f"{tmp_path}/file/three": "3"}
    with pytest.raises(
        UsageError, match=f"cannot write {tmp_path}/file/three: .*; nothing was written; give --directory"
    ):
        write_all(contents, replaces=replaces)
    assert tree(tmp_path) == before


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    """A file where a directory has to be."""
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(UsageError, match=f"{tmp_path}/file is no directory; nothing was written"):
        write_all({f"{tmp_path}/file/one": "1"}, replaces=False)


def test_a_full_disk_is_no_matter_of_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is of the error."""

    def no_room(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "mkdir", no_room)
    with pytest.raises(UsageError, match="no space left on device; nothing was written; make room there"):
        write_all({f"{tmp_path}/new/one": "1"}, replaces=False)


def test_a_directory_is_never_replaced(tmp_path: Path) -> None:
    """Not even when asked."""
    (tmp_path / "one").mkdir()
    with pytest.raises(UsageError, match="is a directory; nothing was written"):
        write_all({f"{tmp_path}/one": "1"}, replaces=True)
    assert tree(tmp_path) == {"one": None}


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """What it leads to belongs to somebody else."""
    (tmp_path / "theirs").write_text("theirs")
    os.symlink("theirs", tmp_path / "one")
    with pytest.raises(UsageError, match="one exists"):
        write_all({f"{tmp_path}/one": "1"}, replaces=False)
    write_all({f"{tmp_path}/one": "1"}, replaces=True)
    assert tree(tmp_path) == {"one": "1", "theirs": "theirs"}

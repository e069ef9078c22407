"""Where a comparison goes: which paths are refused before anything is measured, and what one that fails later costs."""

import json
import os
import stat
import threading
from pathlib import Path

import msgspec
import pytest

from prefork.cli import compare as cli
from prefork.cli.compared import Saving, outputs_of, read_saved, show
from prefork.errors import UsageError
from prefork.lab.comparison import Comparison
from tests.lab.comparisons import comparison, result

MADE = comparison([result("prefork", 4, rates=[3000.0] * 5), result("thread", rates=[1500.0] * 5)])
FLAGS: dict[str, object] = {"as_json": None, "as_csv": None, "as_markdown": None, "as_html": None}


def saved(path: Path) -> Comparison:
    return msgspec.json.decode(path.read_bytes(), type=Comparison)


# what is refused


@pytest.mark.parametrize(
    ("paths", "said"),
    [
        ({"as_json": "q", "as_html": "./q"}, "--json and --html both go to ./q; give each a path of its own"),
        ({"as_json": "-", "as_csv": "-"}, "--json and --csv both go to standard output; give each a path of its own"),
    ],
)
def test_two_outputs_do_not_go_to_one_place(paths: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=f"^{said}$"):
        outputs_of(FLAGS | paths)


def test_several_workloads_are_no_one_document(tmp_path: Path) -> None:
    """Into files each goes by its name."""
    with pytest.raises(UsageError, match=r"^--json: several workloads do not go to standard output as one"):
        outputs_of(FLAGS | {"as_json": "-"}, "echo")
    assert outputs_of(FLAGS | {"as_json": str(tmp_path / "it.json")}, "cpu=2ms") == {
        "as_json": str(tmp_path / "it-cpu.json")
    }


# what is written


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    """At the end, once: whoever reads it gets one document."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    outputs = outputs_of(FLAGS | {"as_json": str(pipe)})
    Saving(outputs).save(MADE)
    assert show(MADE, outputs) == []
    reader.join(30)
    assert msgspec.json.decode(read[0], type=Comparison) == MADE
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert os.listdir(tmp_path) == ["pipe"]


def test_what_a_shell_puts_in_the_place_of_a_file_is_written_to(tmp_path: Path) -> None:
    """As of ``--csv >(cat)``."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as read:
        outputs = outputs_of(FLAGS | {"as_csv": f"/dev/fd/{writing}"})
        assert show(MADE, outputs) == []
        os.close(writing)
        assert len(read.read().splitlines()) == 11


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is replaced."""
    (tmp_path / "there").mkdir()
    (tmp_path / "it.json").symlink_to("there/real.json")
    outputs = outputs_of(FLAGS | {"as_json": str(tmp_path / "it.json")})
    for _ in range(2):
        assert show(MADE, outputs) == []
        assert (tmp_path / "it.json").is_symlink()
        assert saved(tmp_path / "there" / "real.json") == MADE
    assert os.listdir(tmp_path / "there") == ["real.json"]


def test_a_file_that_cannot_be_written_costs_only_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table is printed, all others are written, and what failed is said."""
    (tmp_path / "gone").mkdir()
    gone = {name: str(tmp_path / "gone" / name) for name in ("as_json", "as_markdown")}
    outputs = outputs_of(FLAGS | gone | {"as_csv": str(tmp_path / "it.csv")})
    (tmp_path / "gone").rmdir()
    failed = show(MADE, outputs)
    assert [why.partition(" (")[0] for why in failed] == [
        f"--json: {gone['as_json']} cannot be written",
        f"--markdown: {gone['as_markdown']} cannot be written",
    ]
    assert "prefork with 4 workers answers most" in capsys.readouterr().out
    assert len((tmp_path / "it.csv").read_text().splitlines()) == 11


def test_the_table_is_in_the_file_and_is_not_read_back(tmp_path: Path) -> None:
    """For programs: medians unrounded, and what is said of them. A record without it, or without what was kept later,
    is read as well."""
    path = tmp_path / "it.json"
    assert show(MADE, outputs_of(FLAGS | {"as_json": str(path)})) == []
    whole = json.loads(path.read_text())
    thread, prefork = whole["shown"]["table"]
    assert (prefork["line"], prefork["rate"], prefork["p99"], prefork["mark"]) == ("prefork", 3000.0, 0.004, "*")
    assert (thread["line"], thread["mark"]) == ("thread", "")
    assert whole["shown"]["findings"][0].startswith("at 8 clients prefork with 4 workers answers most")
    del whole["shown"]
    for cell in whole["cells"]:
        for one in cell["rounds"]:
            del one["histogram"], one["generator_cpus"]
    path.write_text(json.dumps(whole))
    assert read_saved(str(path)) == MADE


def test_what_cannot_be_saved_meanwhile_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And tried again: a directory may come back."""
    directory = tmp_path / "gone"
    directory.mkdir()
    saving = Saving(outputs_of(FLAGS | {"as_json": str(directory / "it.json")}))
    directory.rmdir()
    for _ in range(3):
        saving.save(MADE)
    assert capsys.readouterr().err.count("cannot be written (No such file or directory)") == 1
    directory.mkdir()
    saving.save(MADE)
    assert saved(directory / "it.json") == MADE


def test_a_command_of_any_bytes_is_written_so_that_it_can_be_given_again(tmp_path: Path) -> None:
    """What no text can hold is an escape, as flags take it."""
    arguments = ["shop:Handler", "--send", "caf\u00e9 \udcff"]
    with cli.compare.make_context("compare", arguments) as context, context.scope():
        plan = cli._plan("shop:Handler", cli.FULL, context.params)
    said = f"--processes={plan.load.processes} --seed={plan.seed}"
    assert plan.command.endswith(f" --warm-up={cli.FULL.warm_up} {said}")
    assert f" --bind={plan.bind} --lines={','.join(plan.lines)} --workers=2,4,8 " in plan.command
    assert "'--send=caf\u00e9 \\xff'" in plan.command
    made = comparison(MADE.cells, command=plan.command)
    paths = {name: str(tmp_path / name) for name in FLAGS}
    assert show(made, outputs_of(FLAGS | paths)) == []
    assert read_saved(paths["as_json"]) == made
    assert plan.load.send == "caf\u00e9 ".encode() + b"\xff"

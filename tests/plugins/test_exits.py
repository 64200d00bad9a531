"""One exit code and one line for each kind of error."""

import click
import pytest

from br2focus.models.errors import CheckpointError
from br2focus.plugins.cli import run
from br2focus.plugins.cli.exits import code_of, line_of, report
from br2focus.realtime.errors import ComputeError, SettingsError, SinkError, SourceError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("x"), 2),
        (click.UsageError("x"), 2),
        (SourceError("x"), 3),
        (SinkError("x"), 5),
        (ComputeError("x"), 6),
        (CheckpointError("x"), 6),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_codes(error, code):
    assert code_of(error) == code


def test_a_bug_is_called_one_in_one_line(capsys):
    assert report(ZeroDivisionError("a\nb"), debug=False) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "a bug in br2focus: ZeroDivisionError: a b" in err
    assert "Traceback" not in err


def test_no_command_shows_the_help(capsys):
    assert run([]) == 2
    assert "annotate" in capsys.readouterr().err


def test_debug_shows_where(capsys):
    report(SourceError("gone"), debug=True)
    assert "SourceError" in capsys.readouterr().err


def test_lines_have_no_line_break():
    assert line_of(SourceError("a\n  b")) == "a b"


@pytest.mark.parametrize(
    "args", [["nothing"], ["annotate"], ["annotate", "x", "--overlay", "fog"], ["--wrong"]]
)
def test_usage_errors_are_one_line_and_exit_2(args, capsys):
    assert run(args) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and captured.out == ""


@pytest.mark.parametrize("args", [["--help"], ["--version"]])
def test_help_exits_0(args, capsys):
    assert run(args) == 0
    assert "br2focus" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["annotate", "evaluate", "train"])
def test_every_command_has_help_with_an_example(command, capsys):
    assert run([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"Example: br2focus {command}" in " ".join(out.split()) and "--json" in out

"""The command ``br2focus``: one module per subcommand, imported on first use."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from .exits import report

# Subcommand, which is also the name of its module -> one line of help. So `--help` imports no subcommand.
COMMANDS = {
    "annotate": "Mark what is in focus in videos, images or folders.",
    "archive": "Annotate thousands of files; resumes where it stopped.",
    "bench": "Measure speed, dropped frames, age and memory on this machine.",
    "cameras": "List the connected cameras.",
    "doctor": "Check what works, what is missing, and how to get it.",
    "evaluate": "Measure accuracy on masks, labelled points or a focal stack.",
    "export": "Export a model to ONNX or OpenVINO, or calibrate it for INT8.",
    "live": "Show live focus from a camera, stream or test; window optional.",
    "models": "List the shipped models: size, training data, hash, model card.",
    "train": "Train a network from a configuration; resumes where it stopped.",
}


class LazyGroup(click.Group):
    """A click group that imports each subcommand on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f".{cmd_name}", __package__).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="br2focus", prog_name="br2focus")
def group() -> None:
    """Find what is in focus in video, with a learned blur map instead of contrast.

    Example: br2focus annotate clip.mp4
    """


def run(args: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        args: arguments without the program's name; None takes those of the process.
    """
    args = sys.argv[1:] if args is None else args
    try:
        code: Any = group.main(args, prog_name="br2focus", standalone_mode=False)
    except BaseException as error:
        return report(error, debug="--debug" in args)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command line and exit the process with its code."""
    sys.exit(run())

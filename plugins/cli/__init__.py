"""The command ``br2focus``: one file for each subcommand, loaded when it is used."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from .exits import report

# Subcommand -> its file here and the first line of its help, so that `--help` loads none of them.
COMMANDS = {
    "annotate": "Annotate videos, images or folders with what is in focus.",
    "archive": "Annotate thousands of files; goes on where it stopped.",
    "bench": "Measure speed, drops, age and memory on this machine.",
    "cameras": "List the cameras that are plugged in.",
    "doctor": "Say what is here, what is missing, and how to get it.",
    "evaluate": "Measure the accuracy of a model on images with masks.",
    "export": "Write a model for ONNX or OpenVINO, or calibrate it for eight bits.",
    "live": "Live focus from a camera, a stream or the built-in test, in a window or without.",
    "models": "List the shipped networks: size, data, hash, model card.",
    "train": "Train a network from a configuration; resumes where it stopped.",
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported on first use."""

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
    """What is in focus, in video: a learned map instead of contrast.

    Example: br2focus annotate clip.mp4
    """


def run(args: list[str] | None = None) -> int:
    """Run the command with ``args`` (without the program's name) and return its exit code."""
    args = sys.argv[1:] if args is None else args
    try:
        code: Any = group.main(args, prog_name="br2focus", standalone_mode=False)
    except BaseException as error:
        return report(error, debug="--debug" in args)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the program."""
    sys.exit(run())

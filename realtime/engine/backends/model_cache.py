"""Converted networks on disk: a name for each, and a write that other programs never see half done."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

# What an exported graph is made from: a change of one of them makes old entries unfindable.
SOURCES = (
    "attention.py",
    "backbones.py",
    "br2net.py",
    "detail.py",
    "efficientnet_lite.py",
    "fast.py",
    "fast_detail.py",
    "int8.py",
    "limits.py",
    "phases.py",
    "rlrm.py",
)


def graph_key(sha256: str, runtime: str) -> str:
    """Key of a converted graph: the weights, the code that makes the graph, the runtime's version."""
    digest = hashlib.sha256(f"{sha256} {runtime}".encode())
    for name in SOURCES:
        digest.update(files("br2focus.models").joinpath(name).read_bytes())
    return digest.hexdigest()[:24]


def keep(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file of that name elsewhere, then move it and its companions to ``path``.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        write(Path(folder) / path.name)
        made = sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name)
        for file in made:  # the name itself comes last
            file.replace(path.with_name(file.name))

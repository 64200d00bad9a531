"""Which outputs belong to which input: one job for each video or image, one for a folder's images."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from br2focus.realtime.errors import SettingsError
from br2focus.realtime.image_files import media_kind

SUFFIX_OF_CODEC = {"vp9": ".webm", "ffv1": ".mkv"}
MARK = "_annotated"


@dataclass(frozen=True)
class Job:
    """One input with its outputs.

    Attributes:
        source: a video or an image.
        output: the annotated file; its suffix is open (None) while it follows from the input's sound.
        maps, metrics: as asked for, or None.
    """

    source: Path
    output: Path | None
    maps: Path | None
    metrics: Path | None

    @property
    def is_image(self) -> bool:
        """True for a still."""
        return media_kind(self.source) == "image"


def plan(
    inputs: list[Path], *, out: Path | None, maps: Path | None, metrics: Path | None,
    codec: str, draw: bool,
) -> list[Job]:  # fmt: skip
    """The jobs for ``inputs``; with several, maps and metrics get ``-STEM`` before their suffix.

    Raises:
        SettingsError: several inputs and a single output file, or two inputs with one output.
    """
    many = len(inputs) > 1
    if many and out is not None and out.suffix and not out.is_dir():
        raise SettingsError(f"{len(inputs)} inputs need a folder, not the file {out}")
    jobs = [
        Job(
            source,
            _output(source, out, codec) if draw else None,
            _named(maps, source) if many else maps,
            _named(metrics, source) if many else metrics,
        )
        for source in inputs
    ]
    for kind in ("output", "maps", "metrics"):
        _require_different(kind, (getattr(job, kind) for job in jobs))
    return jobs


def _output(source: Path, out: Path | None, codec: str) -> Path:
    if out is not None and out.suffix and not out.is_dir():
        return out
    folder = source.parent if out is None else out
    if media_kind(source) == "image":
        return folder / f"{source.stem}{MARK}.png"
    return folder / f"{source.stem}{MARK}{SUFFIX_OF_CODEC.get(codec, '')}"


def _named(path: Path | None, source: Path) -> Path | None:
    return None if path is None else path.with_name(f"{path.stem}-{source.stem}{path.suffix}")


def _require_different(kind: str, paths: Iterable[Path | None]) -> None:
    seen: set[Path] = set()
    for path in paths:
        if path is not None and path in seen:
            raise SettingsError(f"two inputs have the same {kind} {path}: annotate them one by one")
        if path is not None:
            seen.add(path)

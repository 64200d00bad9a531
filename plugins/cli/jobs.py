"""Assigns outputs to inputs: one job per video or image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from br2focus.realtime.errors import SettingsError, SourceError
from br2focus.realtime.sources.images import expand, media_kind

SUFFIX_OF_CODEC = {"vp9": ".webm", "ffv1": ".mkv"}
MARK = "_annotated"
OPEN = (".mp4", ".mkv")  # suffixes that an open one may become
OURS = (MARK, ".partial")  # endings of stems that listings of folders skip


@dataclass(frozen=True)
class Job:
    """One input with its outputs.

    Attributes:
        source: a video or an image.
        output: the annotated file, or None.
        suffix_open: ``output`` has no suffix yet; it depends on the input's audio.
        maps, metrics: the requested files, or None.
        in_folder: the user named the folder of ``output``; it is created if missing.
    """

    source: Path
    output: Path | None
    maps: Path | None
    metrics: Path | None
    suffix_open: bool = False
    in_folder: bool = False

    @property
    def is_image(self) -> bool:
        """True for a still image."""
        return media_kind(self.source) == "image"

    def names(self) -> list[Path]:
        """Return every name that an output may get."""
        drawn = [self.output] if self.output else []
        if self.output and self.suffix_open:
            drawn = [self.output.with_name(self.output.name + suffix) for suffix in OPEN]
        return [*drawn, *filter(None, (self.maps, self.metrics))]


def plan(
    inputs: list[Path],
    *,
    out: Path | None,
    maps: Path | None,
    metrics: Path | None,
    codec: str,
    draw: bool,
) -> list[Job]:
    """Return the jobs for ``inputs``; with several, maps and metrics get ``-FOLDER-STEM`` before the suffix.

    A folder stands for the images and videos in it and its sub-folders, except files that this program wrote.
    Its sub-folders are kept below ``out``.

    Raises:
        SourceError: an input is missing, or a folder contains no image or video.
        SettingsError: several inputs have a single output file, an output is also an input, or two inputs
            have the same output.
    """
    found = _found(inputs)
    many = len(found) > 1
    in_folder = out is not None and (not out.suffix or out.is_dir())
    if many and out is not None and not in_folder:
        raise SettingsError(f"{len(found)} inputs need a folder, not the file {out}")
    stems = Counter((source.parent, source.stem) for source in found)
    jobs = []
    for source, below in found.items():
        output, suffix = out, None
        name = source.stem if stems[source.parent, source.stem] == 1 else source.name
        if out is None or in_folder:
            folder = source.parent if out is None else out / below
            suffix = suffix_of(source, codec)
            output = folder / f"{name}{MARK}{suffix}"
        own = "-".join([*below.parts, name])
        its_maps, its_metrics = (_named(p, own) if many else p for p in (maps, metrics))
        output = output if draw else None
        open_end = suffix == ""
        jobs.append(Job(source, output, its_maps, its_metrics, open_end, in_folder))
    for kind in ("output", "maps", "metrics"):
        _require_different(kind, [getattr(job, kind) for job in jobs], found)
    return jobs


def _found(inputs: list[Path]) -> dict[Path, Path]:
    """Return every file, with its sub-folder relative to the given folder."""
    found: dict[Path, Path] = {}
    for given in inputs:
        for file in expand([given]):
            if not given.is_dir():
                found.setdefault(file, Path())
            elif not file.stem.endswith(OURS):
                found.setdefault(file, file.parent.relative_to(given))
    if not found:
        raise SourceError(f"{inputs[0]}: no image and no video found")
    return found


def suffix_of(source: Path, codec: str) -> str:
    """Return the suffix of the annotated file; "" if it depends on the input's audio."""
    return ".png" if media_kind(source) == "image" else SUFFIX_OF_CODEC.get(codec, "")


def _named(path: Path | None, own: str) -> Path | None:
    return None if path is None else path.with_name(f"{path.stem}-{own}{path.suffix}")


def _require_different(kind: str, paths: Iterable[Path | None], inputs: Iterable[Path]) -> None:
    seen: set[Path] = set()
    taken = {path.absolute() for path in inputs}
    for path in filter(None, paths):
        if taken & {path.absolute(), *(path.absolute().with_name(path.name + s) for s in OPEN)}:
            raise SettingsError(f"{path} is an input: give another name with -o")
        if path in seen:
            raise SettingsError(f"two inputs have the same {kind} {path}: annotate them one by one")
        seen.add(path)

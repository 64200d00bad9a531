"""The pictures at the top of the README, drawn by `annotate`.

    python -m benchmarks.pictures.photos out/demo.mp4 [--out docs]

* ``demo.jpg``: three moments of the demo's focus pull;
* ``photos.jpg``: photographs that are free to show and come with scikit-image (coffee and cat: CC0; the
  astronaut: NASA), next to what contrast alone peaks in them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from benchmarks.pictures.maps import Picture, sheet
from br2focus.plugins.cli import run
from br2focus.realtime.drawing.overlay import peaking
from br2focus.realtime.overlay_style import OverlayStyle
from br2focus.realtime.sources.video_file import VideoFile

MOMENTS = (0.07, 0.37, 0.67)  # of the clip: focus on the grass, the person, the rocket
CONTRAST = OverlayStyle(noise_gate=0)


def demo(clip: Path, folder: Path) -> Picture:
    """Show one row per moment: picture, heat map, peaking."""
    heat, peaks = (annotated(clip, kind, folder / f"{kind}.mp4") for kind in ("heat", "peaking"))
    columns = [moments(path) for path in (clip, heat, peaks)]
    titles = ["the focus is pulled", "heat: yellow is in focus", "focus peaking"]
    return sheet(titles, list(zip(*columns, strict=True)), width=480)


def photographs(folder: Path) -> Picture:
    """Show one row per photograph: itself, heat map, peaking, contrast alone."""
    photos: dict[str, Callable[[], NDArray[np.uint8]]] = {
        # As wide as the others.
        "nasa": lambda: data.astronaut()[:341],  # type: ignore[no-untyped-call]
        "coffee": data.coffee,
        "cat": data.chelsea,
    }
    rows = []
    for name, taken in photos.items():
        photo = taken()
        source = folder / f"{name}.png"
        image = np.ascontiguousarray(photo[:, :, ::-1])
        cv2.imwrite(str(source), image)
        written = [annotated(source, kind, folder / f"{name}_{kind}.png") for kind in ("heat", "peaking")]
        shown: Iterable[Picture] = (np.asarray(cv2.imread(str(path)), np.uint8) for path in written)
        everywhere = np.zeros(image.shape[:2], np.float32)  # in focus: contrast alone decides
        rows.append([image, *shown, peaking(image, everywhere, CONTRAST)])
    titles = ["a photograph", "heat: yellow is in focus", "br2focus peaking", "contrast alone"]
    return sheet(titles, rows, width=360)


def annotated(source: Path, overlay: str, target: Path) -> Path:
    """Run the command without its legend; return ``target``."""
    options = ["--overlay", overlay, "--no-legend", "--device", "cpu"]
    if run(["annotate", str(source), "-o", str(target), *options]):
        raise SystemExit(f"{source}: not annotated")
    return target


def moments(path: Path) -> list[Picture]:
    """Return the frames at `MOMENTS`."""
    with VideoFile(path) as source:
        frames = [frame.image for frame in source]
    return [frames[round(moment * (len(frames) - 1))] for moment in MOMENTS]


def main() -> None:
    """Write both pictures."""
    parser = argparse.ArgumentParser(description="Draw the pictures at the top of the README.")
    parser.add_argument("clip", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        drawn = {"demo": demo(options.clip, Path(folder)), "photos": photographs(Path(folder))}
    for name, picture in drawn.items():
        cv2.imwrite(str(options.out / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()

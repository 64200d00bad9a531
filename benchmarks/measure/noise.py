"""Peaking under sensor noise: what share of blurred and of sharp pixels it marks, by true masks.

    python -m benchmarks.measure.noise [--model NAME]

Noise is added to whole pictures; then the network computes the map, which is refined as in `br2focus live`.
So a map that is deceived by noise counts too. For comparison: what contrast alone marks with the same
threshold.

* halves: frames of a rendered clip that is sharp everywhere, with their right halves blurred by a disc;
* rendered: frames of the rendered clips with a pull (`evaluation_clips`, seeds only);
* the test images of CUHK in the data folder (BR2FOCUS_SHARED), if there is one.

Writes docs/noise.png, and noise.json in benchmarks/results, which tables.py puts into docs/smoothing.md.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure

from benchmarks.paths import DOCS, RESULTS, SHARED
from br2focus.models.evaluation.masks import MaskedFolder
from br2focus.models.rendering.clips import RackFocusClip, evaluation_clips
from br2focus.realtime.drawing.overlay import edges, peaking_threshold
from br2focus.realtime.drawing.refining import refine
from br2focus.realtime.engine.backends.openvino import cpu_name
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.overlay_style import OverlayStyle

CUHK = SHARED / "data" / "cuhk"
SIGMAS = (0, 1, 2, 3, 4, 6, 8, 10, 12)  # of 255
CLIPS = ("slow pull", "fast pull", "moving subject", "hand-held", "pan", "three layers")
MOMENTS = (0.1, 0.9)  # of a clip: before and after the pull
HALVES, RADIUS = (0.0, 0.25, 0.5, 0.75, 1.0), 10  # moments; pixels of the disc
STYLES = {
    "": OverlayStyle(),
    ", sensitive": OverlayStyle(threshold=2.0),  # the viewer's lowest threshold
}
COLOURS = {
    "contrast alone": "#9ca3af",
    "no gate": "#f59e0b",
    "blurred": "#2563eb",
    "sharp": "#059669",
}
LABELS = {
    "contrast alone": "contrast alone: of what is blurred",
    "no gate": "br2focus without its gate",
    "blurred": "br2focus: of what is blurred",
    "sharp": "br2focus: of what is sharp",
}
Masked = tuple[np.ndarray, np.ndarray, np.ndarray]  # picture, in focus, blurred


def halves() -> Iterator[Masked]:
    """Yield pictures with a sharp left half and a blurred right half."""
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    disc = (x * x + y * y <= RADIUS * RADIUS).astype(np.float32)
    clip = RackFocusClip(evaluation_clips()["all sharp"])
    for moment in HALVES:
        image = clip.frame(round(moment * (len(clip) - 1))).image.copy()
        blurred = np.zeros(image.shape[:2], bool)
        blurred[:, image.shape[1] // 2 :] = True
        image[blurred] = cv2.filter2D(image, -1, disc / disc.sum())[blurred]
        yield image, ~blurred, blurred


def rendered() -> Iterator[Masked]:
    """Yield frames of the clips with a pull."""
    for name in CLIPS:
        clip = RackFocusClip(evaluation_clips()[name])
        for moment in MOMENTS:
            frame = clip.frame(round(moment * (len(clip) - 1)))
            yield frame.image, frame.label == 0, frame.label == 1


def photographs() -> Iterator[Masked]:
    """Yield the test images of CUHK."""
    names = CUHK / "dbd_test_xu100.txt"
    folder = MaskedFolder(CUHK / "images", CUHK / "masks", "blurred", None, names)
    for pair in folder.pairs():
        sample = folder.read(pair)
        blurred = sample.mask > 0.5
        yield sample.image, ~blurred & sample.valid, blurred & sample.valid


def rows(engine: Engine, stills: Iterable[Masked]) -> list[dict[str, Any]]:
    """Return one row per noise level: shares of all blurred and of all sharp pixels."""
    counted = {sigma: np.zeros((len(STYLES) * 3, 2)) for sigma in SIGMAS}
    pixels = np.zeros(2)
    for number, (image, sharp, blurred) in enumerate(stills):
        pixels += blurred.sum(), sharp.sum()
        rng = np.random.default_rng(number)
        for sigma, counts in counted.items():
            noisy = np.rint(image + rng.normal(0, sigma, image.shape)).clip(0, 255).astype(np.uint8)
            for line, marked in enumerate(_marked(engine, noisy)):
                counts[line] += (marked & blurred).sum(), (marked & sharp).sum()
    return [_row(sigma, 100 * counts / pixels) for sigma, counts in counted.items()]


def _marked(engine: Engine, image: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what is peaked, for each style: by br2focus, by br2focus without its gate, by contrast alone."""
    values = refine(image, engine.start(image)(), "fast").values
    strength = edges(image)
    for style in STYLES.values():
        yield (strength >= peaking_threshold(image, values, style)) & (values < 0.5)
        yield (strength >= style.threshold) & (values < 0.5)
        yield strength >= style.threshold


def _row(sigma: int, shares: np.ndarray) -> dict[str, Any]:
    row: dict[str, Any] = {"sigma": sigma}
    for number, style in enumerate(STYLES):
        ours, ungated, contrast = shares[3 * number : 3 * number + 3].round(2).tolist()
        row |= {f"blurred{style}": ours[0], f"no gate{style}": ungated[0]}
        row |= {f"contrast alone{style}": contrast[0], f"sharp{style}": ours[1]}
    print(json.dumps(row), flush=True)
    return row


def plot(content: dict[str, Any]) -> None:
    """Plot shares of blurred pixels against the noise: one column per set, one row per style."""
    figure = Figure(figsize=(4 * len(content), 6), layout="constrained")
    axes = figure.subplots(len(STYLES), len(content), squeeze=False)
    for column, (name, part) in zip(axes.T, content.items(), strict=True):
        for axis, (style, look) in zip(column, STYLES.items(), strict=True):
            for kind, colour in COLOURS.items():
                shares = [row[f"{kind}{style}"] for row in part["rows"]]
                axis.plot(SIGMAS, shares, color=colour, label=LABELS[kind])
            axis.axhline(1, color="black", linewidth=0.6, linestyle=":")
            axis.set_title(f"{name}, threshold {look.threshold:g}", fontsize=10)
            axis.set_yscale("symlog", linthresh=1)
            axis.set_yticks([0, 1, 10, 100], ["0", "1 %", "10 %", "100 %"])
            axis.set_ylim(0, 100)
            axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("sensor noise, sigma of 255", fontsize=10)
    lines, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside upper center", ncols=4, fontsize=9, frameon=False)
    figure.savefig(DOCS / "noise.png", dpi=110)


def main() -> None:
    """Measure, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lite")
    engine = Engine(EngineSettings(model=parser.parse_args().model, device="cpu"))
    machine = f"{engine.info.name}, {os.cpu_count()} cores, {cpu_name()}"
    sets = {"halves": halves, "rendered": rendered}
    if CUHK.is_dir():
        sets["photographs"] = photographs
    content = {n: {"machine": machine, "rows": rows(engine, stills())} for n, stills in sets.items()}
    (RESULTS / "noise.json").write_text(json.dumps(content, indent=2) + "\n")
    plot(content)


if __name__ == "__main__":
    main()

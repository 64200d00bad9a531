"""The pictures of docs/smoothing.md except the plot of noise.py, from rendered clips and smoothing.json.

    python -m benchmarks.pictures.smoothing

Writes docs/smoothing.png (lag, accuracy, flicker), docs/smoothing.jpg (frames of a noisy clip side by side),
docs/refining.jpg (edges) and docs/noise.jpg (peaking of a noisy picture).
"""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.measure.smoothing import KINDS, RATE, maps_of, smoothed
from benchmarks.paths import DOCS, RESULTS
from br2focus.models.rendering.clips import RackFocusClip, evaluation_clips
from br2focus.realtime.drawing.overlay import peaking
from br2focus.realtime.drawing.refining import MODES, refine
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import BlurMap
from br2focus.realtime.overlay_style import OverlayStyle

COLOURS = {
    "raw": "#9ca3af",
    "fixed 0.1 s": "#f59e0b",
    "adaptive": "#2563eb",
    "look-ahead": "#059669",
}
PULL, AROUND = "fast pull", (45, 75)
NOISY, FRAMES = "noisy", (60, 61, 62, 63, 64)
EDGES = (("hand-held", 20), ("slow pull", 20), ("moving subject", 50))
NOISY_STILL, NOISE, SENSITIVE = ("moving subject", 20), 8, 4.0
WIDTH = 300


def clip(name: str, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures and labels of an evaluation clip up to frame ``last``."""
    spec = replace(evaluation_clips()[name], rate=RATE)
    frames = [RackFocusClip(spec).frame(index) for index in range(last + 1)]
    return np.array([f.image for f in frames]), np.array([f.label for f in frames])


def plot(engine: Engine) -> None:
    """Plot lag on the left, accuracy in the middle, flicker on the right."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    late, right, calm = figure.subplots(1, 3, width_ratios=(1.1, 1.4, 0.8))
    _late(late, engine)
    content = json.loads((RESULTS / "smoothing.json").read_text())
    rows = content["clips"]["rows"]
    kinds = list(KINDS)[1:]
    for number, kind in enumerate(kinds):
        worse = [row[f"mae {kind}"] - row["mae raw"] for row in rows]
        places = np.arange(len(rows)) + 0.27 * (number - 1)
        right.barh(places, worse, 0.25, color=COLOURS[kind], label=kind)
    right.set_yticks(range(len(rows)), [row["clip"] for row in rows])
    right.invert_yaxis()
    right.axvline(0, color="black", linewidth=0.8)
    right.set_title("mae less that of raw maps (left is better)", fontsize=10)
    right.legend(fontsize=9, frameon=False)
    total = content["flicker"]["rows"][-1]
    shares = [100 * total[kind] / total["raw"] for kind in kinds]
    bars = calm.bar(kinds, shares, color=[COLOURS[kind] for kind in kinds])
    calm.bar_label(bars, fmt="%.0f %%", padding=3)
    calm.margins(y=0.1)
    calm.set_title("flicker of stills, % of raw", fontsize=10)
    for axis in (late, right, calm):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(DOCS / "smoothing.png", dpi=110)


def _late(axis: Axes, engine: Engine) -> None:
    """Plot the mean map of what is in focus before a pull."""
    images, labels = clip(PULL, AROUND[1] + 8)
    raw = maps_of(engine, images)
    subject = labels[0] == 0
    seconds = np.arange(*AROUND) / float(RATE)
    for kind, setting in KINDS.items():
        shown = smoothed(images, raw, setting)[AROUND[0] : AROUND[1], subject]
        axis.plot(seconds, shown.mean(1, dtype=np.float32), color=COLOURS[kind], label=kind)
    axis.set_title(f"{PULL}: mean P of what leaves the focus", fontsize=10)
    axis.set_xlabel("s")
    axis.legend(fontsize=9, frameon=False)


def gray(values: np.ndarray) -> np.ndarray:
    """Return a map as a BGR picture; white is blurred."""
    return cv2.cvtColor((255 * values.astype(np.float32)).astype(np.uint8), cv2.COLOR_GRAY2BGR)


def save(name: str, rows: list[list[np.ndarray]], titles: list[str], width: int = WIDTH) -> None:
    """Write rows of pictures of one size under ``titles``."""
    height = width * rows[0][0].shape[0] // rows[0][0].shape[1]
    small = [[cv2.resize(c, (width, height), interpolation=cv2.INTER_AREA) for c in r] for r in rows]
    head = np.full((24, width * len(titles), 3), 255, np.uint8)
    for number, title in enumerate(titles):
        at = (number * width + 6, 17)
        cv2.putText(head, title, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    sheet = np.vstack([head, *(np.hstack(row) for row in small)])
    cv2.imwrite(str(DOCS / name), sheet, [cv2.IMWRITE_JPEG_QUALITY, 88])


def frames_in_turn(engine: Engine) -> None:
    """Show frames of a noisy clip: one row per frame, one column per way to smooth."""
    images, _ = clip(NOISY, FRAMES[-1] + 8)
    raw = maps_of(engine, images)
    shown = [smoothed(images, raw, setting) for setting in KINDS.values()]
    rows = [[images[at], *(gray(maps[at]) for maps in shown)] for at in FRAMES]
    save("smoothing.jpg", rows, ["picture", *KINDS])


def edges(engine: Engine) -> None:
    """Show the middle of some frames: the picture, and the map in every mode."""
    rows = []
    for name, index in EDGES:
        image = RackFocusClip(replace(evaluation_clips()[name], rate=RATE)).frame(index).image
        blur: BlurMap = engine.start(np.ascontiguousarray(image))()
        views = [image, *(gray(refine(image, blur, mode).values) for mode in MODES)]
        height, width = image.shape[:2]
        rows.append([view[height // 6 : -height // 6, width // 6 : -width // 6] for view in views])
    save("refining.jpg", rows, ["picture", *MODES], 400)


def noisy_peaking(engine: Engine) -> None:
    """Show a frame with the noise of high ISO: what contrast alone peaks, and what br2focus peaks."""
    name, index = NOISY_STILL
    clean = RackFocusClip(replace(evaluation_clips()[name], rate=RATE)).frame(index).image
    noise = np.random.default_rng(0).normal(0, NOISE, clean.shape)
    image = np.rint(clean + noise).clip(0, 255).astype(np.uint8)
    values = refine(image, engine.start(image)(), "fast").values
    style = OverlayStyle(threshold=SENSITIVE, legend=False)
    contrast = replace(style, noise_gate=0.0)
    views = [image, peaking(image, np.zeros_like(values), contrast), peaking(image, values, style)]
    save("noise.jpg", [views], [f"sensor noise, sigma {NOISE}", "contrast alone", "br2focus"], 400)


def main() -> None:
    """Draw all four pictures."""
    engine = Engine(EngineSettings(device="cpu"))
    plot(engine)
    frames_in_turn(engine)
    edges(engine)
    noisy_peaking(engine)


if __name__ == "__main__":
    main()

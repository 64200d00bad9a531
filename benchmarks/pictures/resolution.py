"""Pictures for docs/resolution.md, from rendered material only.

    python -m benchmarks.pictures.resolution

* resolution_scene.jpg: a frame of 1920 x 1080 with a background slightly out of focus, thin things in focus
  and the codec's softness; what contrast alone peaks; P of `standard`, which sees 480 pixels; P and blur
  radius of `native`, which reads the frame's own pixels.
* resolution_stack.png: scores of some regions of a rendered focal stack, for both models.
* reliability.png: how often points with a certain P are blurred, from footage.json.
"""

from __future__ import annotations

import json

import cv2
import matplotlib.pyplot as plt
import numpy as np

from benchmarks.paths import DOCS, RESULTS
from br2focus.models.rendering.codec import compressed
from br2focus.models.rendering.optics import Pixels, Values, blur, over, premultiply, to_linear
from br2focus.models.rendering.sensor import Sensor
from br2focus.models.rendering.shapes import draw_shape
from br2focus.models.rendering.stack import render_stack
from br2focus.models.rendering.textures import draw_picture
from br2focus.models.sizes import regions
from br2focus.realtime.engine.engine import Engine
from br2focus.realtime.engine.settings import EngineSettings
from br2focus.realtime.frame import Roi

FOOTAGE = RESULTS / "footage.json"
SIZE = (1920, 1080)
RADIUS = 4.0  # of the background's blur in pixels of the frame: one pixel of the network
SHOWN = (720, 405)
LARGEST = 16.0  # radius shown as white in the picture of radii


def scene() -> Pixels:
    """Render a frame: a wall out of focus by four pixels, grass and a sign in focus, through H.264."""
    rng = np.random.default_rng(77)
    back = blur(to_linear(draw_picture(*SIZE, rng)), RADIUS)
    image = back
    for kind, shade in (("panicles", 0.5), ("hairs", 0.02), ("lettering", 0.7)):
        alpha = draw_shape(SIZE[0], rng, kind)[: SIZE[1]]
        colour = np.broadcast_to(rng.uniform(0.5, 1, 3) * shade, (SIZE[1], SIZE[0], 3))
        image = over(premultiply(colour.astype(np.float32), alpha), image)
    pixels = Sensor(*SIZE, noise=2.0, seed=1).expose(image, 0)
    return compressed(pixels, "libx264", {"crf": "31"}, (1.0, 0.5), 3)


def peaked(image: Pixels) -> Pixels:
    """Mark what contrast alone peaks: gradients above a threshold."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    strength = cv2.magnitude(cv2.Sobel(gray, -1, 1, 0), cv2.Sobel(gray, -1, 0, 1)) / 4
    shown = image // 2
    shown[strength > 12] = (0, 176, 255)
    return np.asarray(shown, np.uint8)


def gray(values: Values, title: str) -> Pixels:
    """Show a map in 0..1 as a captioned picture."""
    levels = np.asarray(np.clip(values, 0, 1) * 255, np.uint8)
    return tile(np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR), np.uint8), title)


def tile(image: Pixels, title: str) -> Pixels:
    """Return ``image`` at the sheet's size with its title."""
    small = np.asarray(cv2.resize(image, SHOWN, interpolation=cv2.INTER_AREA), np.uint8)
    cv2.rectangle(small, (0, 0), (SHOWN[0], 26), (20, 20, 20), -1)
    cv2.putText(small, title, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (240, 240, 240), 1, cv2.LINE_AA)
    return small


def scene_sheet() -> None:
    """Write resolution_scene.jpg."""
    image = scene()
    old, new = (Engine(EngineSettings(name, "cpu")) for name in ("standard", "native"))
    before, now = old.start(image)().at(SIZE), new.start(image)().at(SIZE)
    assert now.radii is not None
    radius = np.log1p(now.radii.at(SIZE)) / np.log1p(LARGEST)
    left, top = 700, 420
    crop = image[top : top + 405, left : left + 720]
    tiles = [
        tile(image, "1920 x 1080; the background is blurred by 4 pixels"),
        tile(crop, "a part of it at 1:1"),
        tile(peaked(image), "contrast alone"),
        gray(before.values, "P(blurred) of `standard`, which sees 480 pixels (white = blurred)"),
        gray(now.values, "P(blurred) of `native`, with the frame's own pixels"),
        gray(
            np.asarray(radius, np.float32),
            f"blur radius of `native` (white = {LARGEST:.0f} pixels)",
        ),
    ]
    sheet = np.vstack([np.hstack(tiles[i : i + 2]) for i in (0, 2, 4)])
    cv2.imwrite(str(DOCS / "resolution_scene.jpg"), sheet, [cv2.IMWRITE_JPEG_QUALITY, 85])


def stack_plot() -> None:
    """Write resolution_stack.png."""
    stack = render_stack(201, step=1.0)
    boxes = [Roi("region", *box) for box in regions(1536, 1024)]
    chosen = [stack.best.index(place) for place in (2, 5, 7) if place in stack.best]
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True)
    for axis, name, title in (
        (axes[0], "standard", "`standard`: mean of 1 - P at 480 pixels"),
        (axes[1], "native", "`native`: score of the blur radius"),
    ):
        engine = Engine(EngineSettings(name, "cpu"))
        maps = [engine.start(picture)().at((1536, 1024)) for picture in stack.slices]
        for number in chosen:
            curve = [each.score(boxes[number]) for each in maps]
            [line] = axis.plot(range(1, len(maps) + 1), curve, marker="o", markersize=3)
            axis.axvline(stack.best[number] + 1, color=line.get_color(), linestyle=":")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("slice (1 pixel of blur from one to the next)")
        axis.set_ylim(0, 1)
    axes[0].set_ylabel("score of a region")
    figure.tight_layout()
    figure.savefig(DOCS / "resolution_stack.png", dpi=110)


def reliability_plot() -> None:
    """Write reliability.png; the area of a mark is the number of points."""
    found = json.loads(FOOTAGE.read_text())
    figure, axis = plt.subplots(figsize=(4.6, 4.2))
    axis.plot([0, 1], [0, 1], color="gray", linestyle=":", label="as often as it says")
    for model, figures in found.items():
        bins = figures["points"]["reliability"]
        x, y = [b["mean_p"] for b in bins], [b["blurred"] for b in bins]
        [line] = axis.plot(x, y, label=model, linewidth=1)
        axis.scatter(x, y, s=[3 * b["points"] for b in bins], color=line.get_color(), alpha=0.5)
    axis.set_xlabel("P(blurred), mean of the points in a tenth")
    axis.set_ylabel("share of them that a person calls blurred")
    axis.legend(loc="upper left", fontsize=8)
    figure.tight_layout()
    figure.savefig(DOCS / "reliability.png", dpi=110)


if __name__ == "__main__":
    scene_sheet()
    stack_plot()
    reliability_plot()

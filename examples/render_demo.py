"""Render the demo clip: a focus pull from grass to an astronaut to a rocket and back, with sound.

    python examples/render_demo.py out/demo.mp4 [--truth out/demo.json]

The material is in the public domain or CC0 and comes with scikit-image: NASA's portrait of Eileen Collins,
SpaceX's photograph of a Falcon 9, and CC0Textures' grass. The nearest grass is drawn.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray
from skimage import data

from br2focus.models.rendering.clips import ClipSpec
from br2focus.models.rendering.optics import (
    SHARP_RADIUS,
    BlurStack,
    Lens,
    Pixels,
    Values,
    over,
    premultiply,
    to_linear,
)
from br2focus.models.rendering.sensor import Sensor

WIDTH, HEIGHT, MARGIN = 960, 540, 24
RATE, SECONDS = 30, 9
SOUND_RATE = 48000
LENS = Lens(focal_length=0.05, f_number=1.6)
NEAR, SUBJECT, FAR = 0.9, 2.2, 60.0  # metres
LAYERS = {"grass": NEAR, "astronaut": SUBJECT, "rocket": FAR}
# (second, distance in focus): holds on each layer, pulls between them
PULL = ((0, NEAR), (1, NEAR), (2.2, SUBJECT), (4, SUBJECT), (5.3, FAR), (7, FAR), (8.3, NEAR))
CLIP = ClipSpec(WIDTH, HEIGHT, Fraction(RATE), SECONDS, pulls=PULL, lens=LENS, noise=1.8)
HORIZON = 470  # row of the canvas
CAMERA_HEIGHT = 0.5  # metres
FOCAL_PIXELS = LENS.focal_length / LENS.sensor_width * WIDTH


def main(arguments: list[str] | None = None) -> None:
    """Render the clip, and on request the true focus of every frame."""
    parser = argparse.ArgumentParser(description="Render the demo clip.")
    parser.add_argument("output", type=Path)
    parser.add_argument("--truth", type=Path, help="JSON file for what is in focus in every frame")
    parser.add_argument(
        "--frames", type=int, default=RATE * SECONDS, help="number of frames, such as a few for a trial"
    )
    options = parser.parse_args(arguments)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    partial = options.output.with_name(options.output.name + ".partial")
    write(partial, options.frames)
    partial.replace(options.output)
    if options.truth:
        options.truth.write_text(json.dumps(truth(options.frames), indent=1) + "\n")


# --- the focus pull ---------------------------------------------------------------------------------


def truth(frames: int) -> list[dict[str, object]]:
    """Return for every frame its time, the distance in focus, and what is in focus."""
    rows: list[dict[str, object]] = []
    for index in range(frames):
        second = index / RATE
        radii = {name: round(float(CLIP.radius_at(second, z)), 2) for name, z in LAYERS.items()}
        rows.append(
            {
                "seconds": round(second, 4),
                "focus_metres": round(CLIP.focus_at(second), 3),
                "radius_pixels": radii,
                "in_focus": [name for name, radius in radii.items() if radius <= SHARP_RADIUS],
            }
        )
    return rows


# --- the layers: linear light on a canvas larger than the frame by a margin on every side -----------


@dataclass(frozen=True)
class Scene:
    """The three layers, each ready at any blur, and the depth of every row of the backdrop."""

    backdrop: BlurStack
    row_depth: Values
    subject: BlurStack
    grass: BlurStack


def scene() -> Scene:
    """Build the layers; takes some seconds, most of them for the blurs."""
    rows = np.arange(HEIGHT + 2 * MARGIN, dtype=np.float32)
    ground = FOCAL_PIXELS * CAMERA_HEIGHT / np.maximum(rows - HORIZON, 1)

    def stack(layer: Values, depth: float) -> BlurStack:
        largest = max(float(LENS.coc_radius(depth, z, WIDTH)) for z in LAYERS.values())
        return BlurStack(layer, largest)

    return Scene(
        backdrop=stack(backdrop(), FAR),
        row_depth=np.minimum(ground, FAR),
        subject=stack(astronaut(), SUBJECT),
        grass=stack(blades(), NEAR),
    )


def canvas_size() -> tuple[int, int]:
    """Return width and height of the canvas."""
    return WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN


def backdrop() -> Values:
    """Return the rocket behind a lawn that recedes to the horizon, H x W x 3 (BGR)."""
    width, height = canvas_size()
    photo = np.array(data.rocket()[:, :, ::-1], np.uint8)  # type: ignore[no-untyped-call]
    scale = width / photo.shape[1]
    large = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_LANCZOS4)
    soft = cv2.GaussianBlur(large, (0, 0), 1.6)
    photo = np.asarray(cv2.addWeighted(large, 1.9, soft, -0.9, 0), np.uint8)
    base = round(404 * scale)  # the row of the photograph that meets the lawn
    sky = glowing(to_linear(photo[base - HORIZON : base]))
    return hedged(np.vstack([sky, lawn(height - HORIZON, width)]))


def glowing(light: Values) -> Values:
    """Make lamps that the photograph clipped brighter than white again; otherwise they blur to gray."""
    clipped = np.clip((light.min(2) - 0.75) / 0.25, 0, 1)
    clipped = cv2.GaussianBlur(clipped, (0, 0), 1.5)
    return np.asarray(light * (1 + 7 * clipped[:, :, None]), np.float32)


def lawn(rows: int, width: int) -> Values:
    """Return CC0 grass on the ground below the horizon, rows x W x 3, darker where no lamp reaches."""
    grass = to_linear(data.grass())  # type: ignore[no-untyped-call]
    texture = cv2.GaussianBlur(np.tile(grass, (4, 4)), (0, 0), 1.0)
    depth = (FOCAL_PIXELS * CAMERA_HEIGHT / (np.arange(rows) + 0.5))[:, None]
    across = (np.arange(width) - width / 2)[None] / FOCAL_PIXELS * depth
    along = np.broadcast_to(depth, across.shape)
    places = [np.asarray(metres * 300 % 1536, np.float32) for metres in (across, -along)]
    shade = cv2.remap(texture, places[0], places[1], cv2.INTER_LINEAR)
    near = np.exp(-depth / 18)  # far blades are finer than a pixel: use their mean
    shade = near * shade + (1 - near) * cv2.GaussianBlur(shade, (0, 0), 2.0)
    tint = np.array([0.08, 0.24, 0.19])
    lamps = 0.3 + 0.7 * np.exp(-((np.linspace(-1, 1, width) / 0.6) ** 2))
    return np.asarray(shade[:, :, None] * tint * lamps[None, :, None], np.float32)


def hedged(light: Values) -> Values:
    """Add a dark hedge along the horizon, where photograph and lawn meet."""
    rng = np.random.default_rng(3)
    height = np.convolve(rng.uniform(-6, 22, light.shape[1] + 40), np.hanning(13) / 6, "same")
    height = (height + rng.uniform(-2, 2, len(height)))[20:-20]
    rows = np.arange(len(light))[:, None]
    inside = np.clip(rows - (HORIZON - height)[None], 0, 1) * np.clip(HORIZON + 4 - rows, 0, 1)
    leaves = rng.uniform(0.2, 1, inside.shape)[:, :, None] * np.array([0.006, 0.014, 0.012])
    alpha = inside[:, :, None]
    return np.asarray(light * (1 - alpha) + leaves * alpha, np.float32)


# Polygons for the portrait, x and y: she is entirely inside the first; the second is entirely inside her.
AROUND = tuple(
    int(number)
    for number in """
    18 511 20 420 30 290 60 230 110 200 118 160 160 125 150 90 148 40 175 12 230 8 285 20 305 60 300
    110 285 150 312 215 350 240 370 300 368 340 420 335 470 350 500 400 511 440 511 511
    """.split()
)
INSIDE = tuple(
    int(number)
    for number in """
    40 511 38 430 55 300 90 240 135 210 140 185 190 175 185 120 172 80 190 45 220 26 270 36 290 60
    278 110 250 150 254 182 280 200 294 225 330 258 345 280 350 330 345 370 400 352 450 360 485 400
    490 480 495 511
    """.split()
)


def astronaut() -> Values:
    """Cut out the portrait and set it into the right of the canvas, H x W x 4, in evening light."""
    photo = np.array(data.astronaut()[:, :, ::-1], np.uint8)  # type: ignore[no-untyped-call]
    alpha = cut_out(photo)
    light = to_linear(photo) * np.array([0.62, 0.5, 0.5], np.float32)
    scale = 1.06
    layer = premultiply(light, alpha)
    larger = cv2.resize(layer, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    layer = np.asarray(np.clip(larger, 0, 1), np.float32)
    width, height = canvas_size()
    canvas = np.zeros((height, width, 4), np.float32)
    canvas[height - len(layer) :, width - layer.shape[1] :] = layer
    return canvas


def cut_out(photo: Pixels) -> Values:
    """Return the coverage of the person in the portrait, float32 H x W in [0, 1], soft at the hair."""
    areas = np.full(photo.shape[:2], cv2.GC_BGD, np.uint8)
    cv2.fillPoly(areas, [np.reshape(AROUND, (-1, 2))], cv2.GC_PR_FGD)
    cv2.fillPoly(areas, [np.reshape(INSIDE, (-1, 2))], cv2.GC_FGD)
    cv2.setRNGSeed(1)
    cv2.grabCut(photo, areas, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    person = np.isin(areas, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    inner = cv2.erode(person, np.ones((3, 3), np.uint8))  # the rim shows the studio's wall
    return np.asarray(cv2.GaussianBlur(inner, (0, 0), 0.8), np.float32)


def blades() -> Values:
    """Draw blades of grass close to the lens, H x W x 4, at twice the size for smooth edges."""
    width, height = canvas_size()
    rng = np.random.default_rng(7)
    colour = np.zeros((2 * height, 2 * width, 3), np.float32)
    alpha = np.zeros((2 * height, 2 * width), np.float32)
    for _ in range(46):
        blade(colour, alpha, rng)
    canvas = cv2.resize(np.dstack([colour, alpha]), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(canvas, np.float32)


def blade(colour: Values, alpha: Values, rng: np.random.Generator) -> None:
    """Draw one blade: bent, tapered, with a rib and veins along it."""
    height, width = alpha.shape
    root = rng.beta(0.7, 1.6) * width * 0.62 - 0.04 * width
    tall = height * rng.uniform(0.25, 0.72) * (1 - 0.5 * root / width)
    lean = rng.normal(0.1, 0.25) * tall
    half = rng.uniform(7, 15)
    tint = np.array([0.03, 0.13, 0.08]) * rng.uniform(0.5, 1.6) + np.array([0, 0.01, 0.03])
    t = np.linspace(0, 1, 60)
    spine = np.stack([root + lean * t**2, height + 20 - tall * (t - 0.12 * t**3)], 1)
    wide = half * (1 - t**1.8)[:, None] * np.array([[1.0, 0.15]])
    for low in np.linspace(-1, 0.8, 10):
        strip = np.vstack([spine + low * wide, (spine + (low + 0.22) * wide)[::-1]])
        rib = 0.6 if abs(low + 0.1) < 0.12 else 1.0
        shade = (0.55 + 0.75 * (low + 1) / 2) * rib * rng.uniform(0.8, 1.2)
        points = [np.round(strip * 16).astype(np.int32)]
        cv2.fillPoly(colour, points, (tint * shade).tolist(), cv2.LINE_8, 4)
        cv2.fillPoly(alpha, points, 1.0, cv2.LINE_8, 4)


# --- frames and sound -------------------------------------------------------------------------------


def picture(layers: Scene, second: float) -> Values:
    """Return the scene at one time without noise, linear light H x W x 3 (BGR)."""
    light = moved(layers.backdrop.at_rows(CLIP.radius_at(second, layers.row_depth)), second, FAR)
    for stack, depth in ((layers.subject, SUBJECT), (layers.grass, NEAR)):
        front = stack.at(float(CLIP.radius_at(second, depth)))
        light = over(moved(front, second, depth), light)
    return light


def frames(count: int) -> Iterator[Pixels]:
    """Yield the frames of the clip, uint8 BGR H x W x 3, with the noise of a sensor."""
    layers = scene()
    sensor = Sensor(WIDTH, HEIGHT, noise=CLIP.noise, seed=1)
    for index in range(count):
        yield sensor.expose(picture(layers, index / RATE), index)


def moved(layer: Values, second: float, depth: float) -> Values:
    """Return the frame's part of a layer while the camera drifts by millimetres: near layers move more."""
    aside = 0.006 * np.sin(second * 0.9) * FOCAL_PIXELS / depth + 3 * np.sin(second * 0.7)
    up = 0.002 * np.sin(second * 1.3) * FOCAL_PIXELS / depth + 2 * np.sin(second * 0.5)
    move = np.array([[1, 0, aside - MARGIN], [0, 1, up - MARGIN]], np.float64)
    return np.asarray(
        cv2.warpAffine(layer, move, (WIDTH, HEIGHT), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    )


def sound(seconds: float) -> NDArray[np.float32]:
    """Return a tone that follows the focus (near = high) over quiet noise, float32 1 x N in [-1, 1]."""
    time = np.arange(round(seconds * SOUND_RATE)) / SOUND_RATE
    coarse = np.arange(0, seconds + 0.01, 0.01)
    near = np.interp(time, coarse, [1 / CLIP.focus_at(t) for t in coarse.tolist()])
    pitch = 110 * 2 ** (2 * near)
    phase = 2 * np.pi * np.cumsum(pitch) / SOUND_RATE
    tone = 0.12 * np.sin(phase) + 0.04 * np.sin(2 * phase)
    noise = np.convolve(np.random.default_rng(2).standard_normal(len(time)), np.ones(64) / 64, "same")
    fade = np.clip(np.minimum(time, seconds - time) / 0.2, 0, 1)
    return np.asarray((fade * (tone + 0.05 * noise))[None], np.float32)


def write(path: Path, count: int) -> None:
    """Encode frames and sound as H.264 and AAC, with colour tags; an existing file is replaced."""
    options = {"movflags": "faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        video = container.add_stream("libx264", RATE, options={"crf": "19", "preset": "fast"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        tags = video.codec_context
        tags.color_primaries = tags.color_trc = tags.colorspace = 1  # BT.709
        tags.color_range = 1  # limited
        audio = container.add_stream("aac", SOUND_RATE, layout="mono")
        reformatter = VideoReformatter()
        for index, image in enumerate(frames(count)):
            frame = reformatter.reformat(
                av.VideoFrame.from_ndarray(image, "bgr24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
            )
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(sound(count / RATE), "fltp", "mono")
        samples.sample_rate = SOUND_RATE
        samples.pts, samples.time_base = 0, Fraction(1, SOUND_RATE)
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))


if __name__ == "__main__":
    main()

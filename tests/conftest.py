"""What every test may use: the data folder, the GPU mark, a small model, and small clips made on the spot.

``make_clip(path, frames=12, audio=2, vfr=True)`` writes a clip and returns its path; every option is a field
of `Clip`. ``picture(index, size)`` is the picture that the clip's frame ``index`` was made from.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange
from torch.utils.data._utils import signal_handling

from br2focus.models import checkpoint
from br2focus.models.br2net import BR2Net
from br2focus.models.checkpoint import ModelInfo
from br2focus.models.config import BR2NetConfig
from br2focus.models.fast import InferenceNet
from br2focus.models.int8 import observe
from br2focus.realtime.frame import Image
from br2focus.realtime.video_info import Colour

INSIDE_A_TEST = "PYTEST_CURRENT_TEST" in os.environ  # when this file is loaded, not while tests run
SHARED = Path(os.environ.get("BR2FOCUS_SHARED", Path(__file__).parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with data sets and clips; its place is the variable BR2FOCUS_SHARED."""
    if not SHARED.is_dir():
        pytest.skip(f"no data folder at {SHARED} (set BR2FOCUS_SHARED)")
    return SHARED


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Converted models go to a folder of this test run, not to the user's; runs inside a test share it."""
    if INSIDE_A_TEST:
        yield Path(os.environ["BR2FOCUS_CACHE"])
        return
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("BR2FOCUS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small checkpoint of the shipped kind of network: random weights, a map that depends on the input."""
    torch.manual_seed(0)
    config = BR2NetConfig(
        backbone="mobilenet_v2", width=8, reduce=8, h2l_tap=2, h2l_shrink="area", fusion="mean"
    )
    net = BR2Net(config).train()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # statistics of what follows, or the map is nearly constant
        for _ in range(2):
            net(torch.rand(4, 3, 96, 128) * 4 - 2)
        for pathway in (net.l2h, net.h2l):
            pathway[-1].body[-1].weight *= 8
        probability = torch.sigmoid(net.eval()(torch.rand(1, 3, 96, 128) * 4 - 2).fused)
    assert probability.max() - probability.min() > 0.3
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    info = ModelInfo("random", config, size=128)
    pictures = ((torch.randint(0, 256, (1, 96, 128, 3), dtype=torch.uint8),) for _ in range(4))
    ranges = observe(InferenceNet(net, info.scale), pictures)
    checkpoint.save(net, replace(info, ranges=ranges), path)
    return str(path)


@pytest.fixture(scope="session")
def detail_model(model: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with evidence at the frame's own pixels: random weights that give radii from .1 to 100 px."""
    torch.manual_seed(3)
    net, info = checkpoint.load(Path(model))
    config = replace(info.config, detail="learned")
    detailed = BR2Net(config).eval()
    detailed.load_state_dict(net.state_dict(), strict=False)
    with torch.no_grad():
        for conv in detailed.detail.inject:
            torch.nn.init.normal_(conv.weight, std=0.3)
        detailed.detail.refine.body[-1].weight *= 4
    path = tmp_path_factory.mktemp("detail") / "detail.safetensors"
    checkpoint.save(detailed, replace(info, name="detail", config=config, ranges={}), path)
    return str(path)


@pytest.fixture(autouse=True)
def no_handler_of_dead_children_is_left() -> Iterator[None]:
    """Take away PyTorch's handler of SIGCHLD, which it leaves behind when a training had a worker.

    Later tests end children while threads of other libraries run; with the handler in place the kernel found
    no stack to deliver the signal on, and ended the interpreter.
    """
    before = signal.getsignal(signal.SIGCHLD)
    yield
    if signal.getsignal(signal.SIGCHLD) is not before:
        signal.signal(signal.SIGCHLD, before)
        signal_handling._SIGCHLD_handler_set = False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA GPU, and none is here")
        for item in items:
            if item.get_closest_marker("needs_cuda"):
                item.add_marker(skip)


def picture(index: int, size: tuple[int, int]) -> Image:
    """uint8 BGR: two colour ramps and a bright square that moves 3 pixels a frame."""
    width, height = size
    image = np.empty((height, width, 3), np.uint8)
    image[..., 0] = np.linspace(30, 200, width)[None, :]
    image[..., 1] = np.linspace(40, 180, height)[:, None]
    image[..., 2] = 60 + index * 7 % 120
    side = max(min(size) // 4, 1)
    x = index * 3 % max(width - side, 1)
    image[:side, x : x + side] = 235
    return image


@dataclass(frozen=True)
class Clip:
    """What to write.

    Attributes:
        size: width and height of the stored picture.
        frames: how many pictures.
        rate: nominal frames a second.
        codec, options, pix_fmt: of the video encoder.
        gop: frames from one keyframe to the next.
        vfr: uneven times (steps of 1, 2, 1, 3 frame times).
        pts: the very times in units of ``1 / (rate * 10)``; ``vfr`` and ``first`` are then ignored.
        first: time of the first frame in frame times.
        rotation: display rotation in degrees as FFmpeg counts (counter-clockwise); ``matrix``: the nine
            raw values instead.
        colour: tags, and the conversion used for the pixels; None = no tags, BT.601 limited.
        sample_aspect: width to height of a pixel.
        audio, videos: how many streams of each; a second video is half as large.
        audio_codec: of every audio stream.
        draw: makes picture ``index`` of a size.
        container: options of the muxer, e.g. ``{"movflags": "frag_keyframe"}``.
        metadata: of the container.
    """

    size: tuple[int, int] = (64, 48)
    frames: int = 10
    rate: Fraction = Fraction(25)
    codec: str = "libx264"
    options: dict[str, str] = field(default_factory=dict)
    pix_fmt: str = "yuv420p"
    gop: int = 5
    vfr: bool = False
    pts: Sequence[int] | None = None
    first: int = 0
    rotation: int = 0
    matrix: Sequence[int] | None = None
    colour: Colour | None = None
    sample_aspect: Fraction = Fraction(1)
    audio: int = 0
    videos: int = 1
    audio_codec: str = "aac"
    draw: Callable[[int, tuple[int, int]], Image] = picture
    container: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)

    def times(self) -> list[int]:
        """Presentation times in units of a tenth of a frame time."""
        if self.pts is not None:
            return list(self.pts)
        steps = [1, 2, 1, 3] if self.vfr else [1]
        times = [self.first]
        for index in range(self.frames - 1):
            times.append(times[-1] + steps[index % len(steps)])
        return [10 * time for time in times]


def write_clip(path: Path, clip: Clip) -> Path:
    """Write ``clip`` to ``path``; the container follows from the suffix."""
    with av.open(str(path), "w", options=clip.container) as container:
        container.metadata.update(clip.metadata)
        sizes = [clip.size] + [(clip.size[0] // 2, clip.size[1] // 2)] * (clip.videos - 1)
        videos = [_video_stream(container, clip, size) for size in sizes]
        voices = [_audio_stream(container, clip) for _ in range(clip.audio)]
        times = clip.times()
        for stream, size in zip(videos, sizes, strict=True):
            for index, time in enumerate(times):
                frame = _frame(clip, index, size)
                frame.pts, frame.time_base = time, 1 / (clip.rate * 10)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        seconds = float((times[-1] - times[0]) / (clip.rate * 10) + 1 / clip.rate) if times else 0.0
        for number, voice in enumerate(voices):
            _sing(container, voice, seconds, pitch=220 * (number + 1))
    return path


def _video_stream(container, clip: Clip, size: tuple[int, int]):
    options = {"preset": "ultrafast", "crf": "10"} if clip.codec == "libx264" else {}
    stream = container.add_stream(clip.codec, rate=clip.rate, options=options | clip.options)
    stream.width, stream.height = size
    stream.pix_fmt = clip.pix_fmt
    stream.time_base = 1 / (clip.rate * 10)
    context = stream.codec_context
    context.time_base, context.gop_size, context.thread_count = stream.time_base, clip.gop, 1
    context.sample_aspect_ratio = clip.sample_aspect
    if clip.colour is not None:
        context.colorspace, context.color_primaries = clip.colour.matrix, clip.colour.primaries
        context.color_trc = clip.colour.transfer
        context.color_range = ColorRange.JPEG if clip.colour.full_range else ColorRange.MPEG
    if clip.matrix is not None:
        stream.set_display_matrix(list(clip.matrix))
    elif clip.rotation:
        stream.set_display_rotation(clip.rotation)
    return stream


def _audio_stream(container, clip: Clip):
    stream = container.add_stream(clip.audio_codec, rate=16000, layout="mono")
    stream.codec_context.thread_count = 1
    return stream


def _frame(clip: Clip, index: int, size: tuple[int, int]) -> av.VideoFrame:
    colour = clip.colour or Colour(matrix=6)
    frame = av.VideoFrame.from_ndarray(clip.draw(index, size), format="bgr24")
    if clip.pix_fmt in ("gbrp", "bgr0"):
        return frame.reformat(format=clip.pix_fmt)
    target = ColorRange.JPEG if colour.full_range else ColorRange.MPEG
    matrix = {6: 5, 2: 5}.get(colour.matrix, colour.matrix)  # swscale knows BT.601 as 5
    frame = frame.reformat(
        format=clip.pix_fmt,
        src_color_range=ColorRange.JPEG,
        dst_color_range=target,
        dst_colorspace=matrix,
    )
    frame.colorspace, frame.color_range = colour.matrix, target
    return frame


def _sing(container, stream, seconds: float, *, pitch: float) -> None:
    """A sine of ``pitch`` Hz, encoded and muxed."""
    rate, step = 16000, 1024
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * rate)) / rate)
    for start in range(0, len(wave), step):
        part = wave[None, start : start + step].astype(np.float32)
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """``make_clip(path, **fields of Clip)`` writes a clip and returns its path."""

    def make(path: Path, **options: object) -> Path:
        return write_clip(path, Clip(**options))  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def clip_picture() -> Callable[[int, tuple[int, int]], Image]:
    """The function that draws the pictures of a clip."""
    return picture

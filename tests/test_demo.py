"""The demo clip shows the focus pull that it says it shows."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import cv2
import numpy as np
import pytest

pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image")

SCRIPT = Path(__file__).parents[1] / "examples" / "render_demo.py"
# Parts of the frame that belong to one layer: rows, columns.
PARTS = {
    "grass": (slice(440, 530), slice(0, 150)),
    "astronaut": (slice(60, 180), slice(620, 740)),
    "rocket": (slice(60, 300), slice(0, 110)),
}


@pytest.fixture(scope="module")
def demo() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("render_demo", SCRIPT)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def layers(demo: ModuleType) -> Any:
    return demo.scene()


def sharpness(light: np.ndarray, part: tuple[slice, slice]) -> float:
    gray = cv2.cvtColor(np.sqrt(np.clip(light, 0, 1)).astype(np.float32), cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(gray, cv2.CV_32F)[part].var())


def test_focus_visits_every_layer_and_returns(demo: ModuleType) -> None:
    rows = demo.truth(demo.RATE * demo.SECONDS)
    seen = [row["in_focus"][0] for row in rows if row["in_focus"]]
    order = [name for name, before in zip(seen, [None, *seen], strict=False) if name != before]
    assert order == ["grass", "astronaut", "rocket", "astronaut", "grass"]


@pytest.mark.parametrize("name", ["grass", "astronaut", "rocket"])
def test_each_layer_is_sharpest_when_the_truth_says_so(demo: ModuleType, layers: Any, name: str) -> None:
    # The middle of each hold; the camera has drifted by pixels in between.
    holds = {"grass": 0.5, "astronaut": 3.0, "rocket": 6.0}
    values = {at: sharpness(demo.picture(layers, second), PARTS[name]) for at, second in holds.items()}
    others = [value for at, value in values.items() if at != name]
    assert values[name] > 3 * max(others), values


def test_writes_a_clip_with_sound_and_truth(
    demo: ModuleType, layers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, truth = tmp_path / "new" / "demo.mp4", tmp_path / "demo.json"
    monkeypatch.setattr(demo, "scene", lambda: layers)
    demo.main([str(clip), "--truth", str(truth), "--frames", "6"])
    with av.open(str(clip)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert sound.codec_context.name == "aac"
        assert video.codec_context.color_range == 1
        assert video.codec_context.colorspace == 1
        frames = list(container.decode(video))
    assert [frame.time for frame in frames] == pytest.approx([i / 30 for i in range(6)])
    assert (frames[0].width, frames[0].height) == (960, 540)
    assert len(json.loads(truth.read_text())) == 6
    assert [path.name for path in clip.parent.iterdir()] == ["demo.mp4"]

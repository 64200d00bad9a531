"""Blur radii: the limit, the reference over time, and scores that peak."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from br2focus.models.detail import Blur
from br2focus.realtime.drawing.refining import refine
from br2focus.realtime.engine.radii import Reference, parse_coc
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import BlurMap, Frame, Radii, Roi
from br2focus.realtime.result import FocusResult


def planes(radius: float | np.ndarray, softness: float, gain: float = 4.0) -> np.ndarray:
    """A field of ``radius`` whose two last columns are as sharp as the footage gets."""
    field = np.array(np.broadcast_to(np.asarray(radius, np.float32), (8, 12)))
    field[:, 10:] = softness
    rest = (np.full_like(field, gain), np.full_like(field, math.log(softness)))
    return np.stack([np.log(field), *rest]).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "width", "pixels"),
    [("1.5", 1920, 1.5), ("2px", 640, 2.0), ("0.5 px", 640, 0.5), ("1/1500", 3000, 2.0)],
)
def test_a_circle_of_confusion_is_pixels_or_a_share(text: str, width: int, pixels: float) -> None:
    assert parse_coc(text).pixels(width) == pytest.approx(pixels)


@pytest.mark.parametrize("text", ["", "-1", "0", "1/0", "a", "1/2", "1e9", "1/1500px", "nan"])
def test_nonsense_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(SettingsError, match=r"coc .*"):
        parse_coc(text)


def test_p_is_one_half_at_the_limit() -> None:
    for coc in (None, parse_coc("2.5")):
        allowed = coc.pixels(1280) if coc else 0.7
        limit = math.hypot(0.6, allowed)
        blur = Reference(coc).judged(planes(limit, 0.6), 1280, (24, 16), None)
        assert blur.values.shape == (16, 24) and np.allclose(blur.values[:, :16], 0.5, atol=1e-4)
        assert blur.radii is not None and blur.radii.limit == pytest.approx(limit)
    softer, sharper = (
        Reference().judged(planes(r, 0.6), 1280, (24, 16), None).values[:, :16].mean() for r in (3.0, 0.5)
    )
    assert softer > 0.95 > 0.2 > sharper


@pytest.mark.parametrize(("radius", "softness"), [(20.0, 0.6), (1.6, 0.6), (1.2, 2.0)])
def test_the_network_judges_a_picture_by_itself_in_the_same_way(radius: float, softness: float) -> None:
    log_radius = np.log(np.linspace(radius, 2 * radius, 96, dtype=np.float32)).reshape(1, 1, 8, 12)
    vote = math.log(softness)
    blur = Blur(*(torch.tensor(plane) for plane in (log_radius, log_radius)), torch.tensor([vote]))
    found = math.exp(blur.reference(torch.tensor([1280.0])).item())
    gain, votes = np.ones_like(log_radius[0, 0]), np.full_like(log_radius[0, 0], vote)
    shown = np.stack([log_radius[0, 0], gain, votes])
    radii = Reference().judged(shown, 1280, (24, 16), None).radii
    assert radii is not None and radii.reference == pytest.approx(found, rel=1e-5)


def test_the_reference_is_the_best_so_far_and_is_forgotten_slowly() -> None:
    reference = Reference()
    assert reference.rounded is None
    for second in np.arange(0, 4, 0.04):
        reference.after(2.0, 1280, float(second))
    assert reference.pixels == pytest.approx(2.0)
    for second in np.arange(4, 8, 0.04):
        reference.after(0.8, 1280, float(second))
    assert reference.pixels == pytest.approx(0.8, rel=0.01), "a sharper picture counts at once"
    for second in np.arange(8, 12, 0.04):
        reference.after(2.2, 1280, float(second))
    assert reference.pixels < 0.9, "a shot out of focus does not make the footage soft"
    for second in np.arange(12, 400, 1.0):
        reference.after(2.2, 1280, float(second))
    assert reference.pixels == pytest.approx(2.2, rel=0.01)


def test_dropped_frames_do_not_change_the_reference() -> None:
    found = []
    for step in (1, 2, 5):
        reference = Reference()
        for index in range(0, 101, step):
            reference.after(2.0 if index < 50 else 1.0, 1280, index / 25)
        found.append(reference.pixels)
    assert found[1] == pytest.approx(found[0], rel=0.02)
    assert found[2] == pytest.approx(found[0], rel=0.04)


def test_another_source_begins_anew_and_a_single_picture_leaves_no_trace() -> None:
    reference = Reference()
    reference.after(0.6, 1280, 0.0)
    assert reference.after(2.0, 1280, None) == 2.0 and reference.pixels == pytest.approx(0.6)
    assert reference.after(2.0, 1920, 0.1) == 2.0
    reference.reset()
    assert reference.after(3.0, 1920, 0.2) == 3.0


def test_a_reopened_stream_does_not_forget_the_reference() -> None:
    reference = Reference()
    for second in (0.0, 100.0, 200.0):
        reference.after(0.6, 1280, second)
    assert reference.after(2.0, 1280, 0.0) == pytest.approx(0.6)
    assert reference.after(2.0, 1280, 0.1) < 0.61


def test_footage_without_anything_in_focus_is_not_its_own_reference() -> None:
    assert Reference().after(40.0, 1280, None) == pytest.approx(1280 / 550)
    values = Reference().judged(planes(13.0, 13.0), 1280, (24, 16), None).values
    assert values.min() > 0.9


def test_a_soft_picture_is_its_own_reference() -> None:
    """What the network calls a sharp camera, and nothing in it is: the codec has taken it away."""
    field = np.full((8, 12), 9.0, np.float32)
    field[:, :3] = 2.0
    soft = planes(field, 0.6)
    soft[0, :, 10:] = math.log(9.0)
    blur = Reference().judged(soft, 1280, (12, 8), None)
    assert blur.radii is not None and blur.radii.reference == pytest.approx(2.0)
    assert (blur.values[:, :2] < 0.5).all() and (blur.values[:, 6:] > 0.9).all()


def test_thin_things_in_focus_fill_their_cells() -> None:
    field = np.full((8, 12), 9.0, np.float32)
    field[4, 2:8] = 0.6
    blur = Reference().judged(planes(field, 0.6), 1280, (12, 8), None)
    assert (blur.values[3:6, 3:7] < 0.5).all() and (blur.values[1, 3:7] > 0.9).all()
    image = np.full((80, 120, 3), 128, np.uint8)
    for mode in ("off", "fast", "best"):
        fine = refine(image, blur, mode)  # type: ignore[arg-type]
        assert (fine.values <= blur.at((120, 80)).values + 1e-6).all(), mode


def test_a_score_has_a_peak_and_no_plateau() -> None:
    scores = []
    for radius in (3.0, 1.2, 0.9, 0.7, 0.6, 0.55):
        blur = Reference().judged(planes(radius, 0.55), 1280, (24, 16), None)
        scores.append(blur.score(Roi("left", 0, 0, 18, 16)))
    assert scores == sorted(scores) and min(np.diff(scores)) > 0.01


def test_a_region_is_scored_by_its_own_radii() -> None:
    field = np.full((8, 12), 10.0, np.float32)
    field[:4, :6] = 0.5
    blur = Reference().judged(planes(field, 0.5), 1280, (120, 80), None)
    assert blur.score(Roi("sharp", 0, 0, 60, 40)) > 0.8
    assert blur.score(Roi("soft", 70, 50, 25, 20)) < 0.1
    assert blur.score(Roi("a pixel", 1, 1, 1, 1)) > 0.8
    with pytest.raises(ValueError, match="outside"):
        blur.score(Roi("gone", 500, 0, 5, 5))


def test_a_result_gives_radii_in_pixels_of_its_frame() -> None:
    frame = Frame(np.zeros((80, 120, 3), np.uint8), 0, 0, Fraction(1), 0.0)
    blur = Reference().judged(planes(3.0, 0.5), 120, (24, 16), None)
    result = FocusResult(frame, BlurMap(np.zeros((80, 120), np.float32)), raw=blur)
    assert result.radius is not None and result.radius.shape == (80, 120)
    assert np.allclose(result.radius[:, :80], 3.0, rtol=1e-4) and not result.radius.flags.writeable
    assert result.reference == pytest.approx(0.5)
    plain = FocusResult(frame, BlurMap(np.zeros((80, 120), np.float32)))
    assert plain.radius is None and plain.reference is None


def test_radii_follow_a_map_to_another_size() -> None:
    radii = Radii(np.zeros((4, 6), np.float32), 1.0, 1.0, 2.0)
    assert BlurMap(np.zeros((8, 12), np.float32), radii).at((24, 16)).radii is radii

"""Rack-focus clips: the mask is that of the lens, the frames depend on the seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from br2focus.models.rendering.clips import (
    FAR,
    NEAR,
    SUBJECT,
    ClipFrame,
    ClipSpec,
    RackFocusClip,
    best_focus,
    evaluation_clips,
)
from br2focus.models.rendering.optics import BLURRED, IGNORED, IN_FOCUS, Lens, classes

# As many pixels of blur as a lens of f/1.8 gives at four times the width.
WIDE = Lens(focal_length=0.05, f_number=0.45)
SMALL = ClipSpec(width=160, height=90, rate=Fraction(10), seconds=2.0, seed=14, lens=WIDE)
THROUGH = replace(SMALL, pulls=((0.0, NEAR), (2.0, FAR)), noise=0.0)
LAYERS = {"near": NEAR, "subject": SUBJECT, "far": FAR}


def same(one: ClipFrame, other: ClipFrame) -> bool:
    return bool((one.image == other.image).all() and (one.label == other.label).all())


def gray(frame: ClipFrame) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY), np.float32)


def detail(frame: ClipFrame, where: NDArray[np.bool_]) -> float:
    return float(np.abs(cv2.Laplacian(gray(frame), cv2.CV_32F))[where].mean())


def at_focus(metres: float) -> ClipFrame:
    return RackFocusClip(replace(SMALL, pulls=((0.0, metres),), noise=0.0)).frame(0)


@pytest.fixture(scope="module")
def pull() -> list[ClipFrame]:
    return list(RackFocusClip(THROUGH))


@pytest.fixture(scope="module")
def cores() -> dict[str, NDArray[np.bool_]]:
    """Where a layer is seen whatever the focus: what is in focus with the lens on it, without its rim."""
    found = {name: at_focus(metres).label == IN_FOCUS for name, metres in LAYERS.items()}
    found["far"][40:] = False  # the ground
    found["subject"][75:] = False
    rim = np.ones((13, 13), np.uint8)
    near = cv2.dilate(found.pop("near").astype(np.uint8), rim) > 0
    return {name: cv2.erode((part & ~near).astype(np.uint8), rim) > 0 for name, part in found.items()}


class TestTheLens:
    def test_labels_agree_with_the_circle_of_confusion(
        self, pull: list[ClipFrame], cores: dict[str, NDArray[np.bool_]]
    ) -> None:
        seen = set()
        for frame in pull:
            for name in ("subject", "far"):
                assert cores[name].sum() > 30
                expected = int(classes(THROUGH.radius_at(float(frame.pts), LAYERS[name])))
                assert (frame.label[cores[name]] == expected).all(), (name, frame.pts)
                seen.add((name, expected))
        assert {
            ("subject", IN_FOCUS),
            ("subject", BLURRED),
            ("far", IN_FOCUS),
            ("far", BLURRED),
        } <= seen

    @pytest.mark.parametrize("name", ["subject", "far"])
    def test_a_layer_is_sharpest_when_it_is_in_best_focus(
        self, name: str, pull: list[ClipFrame], cores: dict[str, NDArray[np.bool_]]
    ) -> None:
        strengths = [detail(frame, cores[name]) for frame in pull]
        (second,) = best_focus(THROUGH, LAYERS[name])
        assert abs(int(np.argmax(strengths)) - second * THROUGH.rate) <= 2
        assert max(strengths) > 2 * min(strengths)

    def test_the_focus_passes_every_layer(self, pull: list[ClipFrame]) -> None:
        focused = [float((frame.label == IN_FOCUS).mean()) for frame in pull]
        assert pull[0].focus_metres == pytest.approx(NEAR)
        assert pull[10].focus_metres == pytest.approx(2 / (1 / NEAR + 1 / FAR))
        assert focused[-1] > 0.2 > focused[0] > 0.01
        changed = [(a.label != b.label).any() for a, b in pairwise(pull)]
        assert sum(changed) > 12

    def test_the_ground_is_in_focus_in_a_band(self) -> None:
        frame = at_focus(6.0)
        row = np.array([np.mean(line == IN_FOCUS) for line in frame.label])
        rows = np.flatnonzero(row > 0.3)
        assert 3 < len(rows) < 45
        assert (np.diff(rows) == 1).all()
        assert row[:35].max() < 0.05

    @pytest.mark.parametrize("breathing", [0.0, 3.0])
    def test_the_band_lies_where_the_picture_is_sharp(self, breathing: float) -> None:
        spec = replace(SMALL, pulls=((0.0, 6.0),), noise=0.0, breathing=breathing)
        frame = RackFocusClip(spec).frame(0)
        pinhole = RackFocusClip(replace(spec, lens=Lens(f_number=22.0))).frame(0)
        beside = np.s_[:, :30]  # of the person
        change = np.abs(gray(frame) - gray(pinhole))[beside].mean(1)
        focused = (frame.label[beside] == IN_FOCUS).mean(1) > 0.5
        edges = np.flatnonzero(np.diff(focused.astype(int)))
        assert change[focused].max() < change[~focused].mean()
        for edge in edges:  # already at 8 rows from the band it is blurred
            outside = edge - 8 if focused[edge + 1] else edge + 9
            assert outside >= 90 or change[outside] > 2 * change[focused].mean()

    def test_some_lenses_leave_all_sharp_and_some_all_blurred(self) -> None:
        sharp = replace(SMALL, lens=Lens(f_number=22.0))
        assert (RackFocusClip(sharp).frame(0).label == IN_FOCUS).all()
        blurred = replace(SMALL, pulls=((0.0, 0.5),), lens=Lens(f_number=0.7))
        assert (RackFocusClip(blurred).frame(0).label == BLURRED).all()


class TestFrames:
    def test_are_what_they_say(self) -> None:
        clip = RackFocusClip(SMALL)
        frames = list(clip)
        assert len(frames) == len(clip) == 20
        assert [frame.pts for frame in frames] == [Fraction(i, 10) for i in range(20)]
        assert frames[0].image.shape == (90, 160, 3) and frames[0].image.dtype == np.uint8
        assert frames[0].label.shape == (90, 160) and frames[0].label.dtype == np.uint8
        assert set(np.unique(frames[0].label)) <= {IN_FOCUS, BLURRED, IGNORED}
        assert {frame.focus_metres for frame in frames} == {SUBJECT}

    def test_in_any_order_are_those_of_the_iteration(self) -> None:
        spec = replace(SMALL, cuts=(1.0,), sway=0.02, walk=0.1)
        frames, clip = list(RackFocusClip(spec)), RackFocusClip(spec)
        assert all(same(clip.frame(index), frames[index]) for index in (15, 3, 4, 19, 0))

    def test_depend_on_the_seed(self) -> None:
        one, again, other = (RackFocusClip(replace(SMALL, seed=s)).frame(2) for s in (1, 1, 2))
        assert same(one, again)
        assert (one.image != other.image).mean() > 0.5
        assert (one.label != other.label).any()

    @pytest.mark.parametrize("index", [-1, 20])
    def test_outside_of_the_clip_are_an_error(self, index: int) -> None:
        with pytest.raises(IndexError, match=f"frame {index} of a clip of 20"):
            RackFocusClip(SMALL).frame(index)

    def test_rates_are_rational(self) -> None:
        clip = RackFocusClip(replace(SMALL, rate=Fraction(30000, 1001)))
        assert len(clip) == 60
        assert clip.frame(59).pts == Fraction(59 * 1001, 30000)

    def test_surfaces_may_be_photographs(self) -> None:
        red = np.zeros((40, 50, 3), np.uint8)
        red[:, :, 2] = 180
        spec = replace(SMALL, noise=0.0)
        assert np.abs(RackFocusClip(spec, [red]).frame(0).image[:8].astype(int) - (0, 0, 180)).max() <= 1


class TestCuts:
    def test_change_everything_in_one_frame(self) -> None:
        spec = replace(SMALL, cuts=(1.0,), noise=0.0, pulls=((0.0, SUBJECT), (1.0, SUBJECT), (1.0, FAR)))
        frames = list(RackFocusClip(spec))
        steps = [float(np.abs(gray(a) - gray(b)).mean()) for a, b in pairwise(frames)]
        assert steps[9] > 10
        assert max(steps[:9] + steps[10:]) == 0
        assert (frames[9].label != frames[10].label).mean() > 0.3
        assert (frames[9].focus_metres, frames[10].focus_metres) == (SUBJECT, FAR)

    def test_come_at_their_time_at_any_rate(self) -> None:
        spec = replace(SMALL, cuts=(0.5, 1.5), rate=Fraction(12), noise=0.0)
        frames = list(RackFocusClip(spec))
        changes = [i + 1 for i in range(23) if (frames[i].image != frames[i + 1].image).any()]
        assert changes == [6, 18]


class TestMotion:
    def shift(self, spec: ClipSpec, rows: slice) -> tuple[float, float]:
        """Pixels from the first frame to the last: right and down."""
        clip = RackFocusClip(replace(spec, noise=0.0))
        first, last = (gray(clip.frame(i))[rows] for i in (0, len(clip) - 1))
        (x, y), _ = cv2.phaseCorrelate(first, last, cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F))
        return x, y

    def test_a_pan_moves_the_picture_by_parts_of_a_pixel(self) -> None:
        spec = replace(SMALL, pan=0.05, pulls=((0.0, FAR),))
        x, y = self.shift(spec, slice(0, 30))
        assert x == pytest.approx(0.05 * 160 * 19 / 20, abs=0.3)
        assert y == pytest.approx(0, abs=0.3)

    def test_nothing_moves_by_itself(self) -> None:
        frames = list(RackFocusClip(replace(SMALL, noise=0.0)))
        assert all(same(frames[0], frame) for frame in frames)

    @pytest.mark.parametrize(
        "spec", [replace(SMALL, walk=0.2), replace(SMALL, sway=0.04), replace(SMALL, pan=0.04)]
    )
    def test_the_mask_moves_with_the_picture(self, spec: ClipSpec) -> None:
        clip = RackFocusClip(replace(spec, noise=0.0))
        one, other = clip.frame(0), clip.frame(9)
        assert (one.image != other.image).any()
        middles = [np.argwhere(f.label[:70] == IN_FOCUS).mean(0)[1] for f in (one, other)]
        assert abs(middles[0] - middles[1]) > 2

    def test_breathing_scales_the_picture(self) -> None:
        near = replace(SMALL, pulls=((0.0, NEAR),), breathing=1.0, noise=0.0, lens=Lens(f_number=22.0))
        still = replace(near, breathing=0.0)
        scaled, plain = RackFocusClip(near).frame(0), RackFocusClip(still).frame(0)
        scale = 1 + 0.05 / (NEAR - 0.05)
        middle = np.array([159, 89]) / 2
        move = np.array([[scale, 0, 0], [0, scale, 0]])
        move[:, 2] = middle - scale * middle
        expected = cv2.warpAffine(gray(plain), move, (160, 90), flags=cv2.INTER_CUBIC)
        inside = np.s_[10:-10, 10:-10]
        assert np.abs(expected - gray(scaled))[inside].mean() < 6
        assert np.abs(gray(plain) - gray(scaled))[inside].mean() > 12


class TestNoise:
    def test_is_the_same_in_focus_and_out_of_it(self) -> None:
        clip = RackFocusClip(replace(SMALL, width=240, height=160, noise=8.0, lens=WIDE))
        one, other = clip.frame(0), clip.frame(1)
        assert (one.label == other.label).all()
        both = (one.image.astype(float) + other.image) / 2
        difference = (one.image.astype(float) - other.image) / np.sqrt(2)
        bright = (both > 60) & (both < 180)  # where neither end clips
        kinds = [difference[bright & (one.label == kind)[:, :, None]] for kind in (IN_FOCUS, BLURRED)]
        assert min(len(kind) for kind in kinds) > 1000
        assert kinds[0].std() == pytest.approx(kinds[1].std(), rel=0.15)
        assert kinds[0].std() > 5

    def test_does_not_touch_the_mask(self) -> None:
        noisy, clean = (RackFocusClip(replace(SMALL, noise=n)).frame(1) for n in (9.0, 0.0))
        assert (noisy.label == clean.label).all()
        assert 2 < np.abs(noisy.image.astype(int) - clean.image).mean() < 15


class TestFocus:
    SPEC = ClipSpec(pulls=((1.0, 1.0), (2.0, 4.0), (2.5, 4.0), (2.5, 9.0)))

    @pytest.mark.parametrize(
        ("second", "metres"),
        [
            (0, 1),
            (1, 1),
            (1.25, 1.1327),
            (1.5, 1.6),
            (2, 4),
            (2.3, 4),
            (2.4999, 4),
            (2.5, 9),
            (7, 9),
        ],
    )
    def test_follows_its_pulls(self, second: float, metres: float) -> None:
        assert self.SPEC.focus_at(second) == pytest.approx(metres, rel=1e-4)

    def test_best_focus_is_where_the_pull_passes(self) -> None:
        assert best_focus(self.SPEC, 1.6) == pytest.approx([1.5], abs=1 / 50)

    def test_best_focus_of_a_stay_is_its_middle(self) -> None:
        assert best_focus(self.SPEC, 4.0) == pytest.approx([2.25], abs=1 / 50)
        assert best_focus(ClipSpec(seconds=3.0), SUBJECT) == pytest.approx([1.5], abs=1 / 50)

    def test_best_focus_of_a_pull_and_back_comes_twice(self) -> None:
        spec = ClipSpec(pulls=((0.0, 1.0), (1.5, 4.0), (3.0, 1.0)))
        assert best_focus(spec, 1.6) == pytest.approx([0.75, 2.25], abs=1 / 50)

    def test_what_never_comes_into_focus_has_none(self) -> None:
        assert best_focus(self.SPEC, 0.5) == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 8}, "too small"),
        ({"seconds": 0.0}, "0 frames"),
        ({"pulls": ()}, "at least one"),
        ({"pulls": ((1.0, 2.0), (0.0, 3.0))}, "in order of time"),
        ({"cuts": (2.0, 1.0)}, "in order of time"),
        ({"pulls": ((0.0, 0.04),)}, "cannot focus that near"),
    ],
)
def test_impossible_clips_are_refused(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(SMALL, **wrong)  # type: ignore[arg-type]


class TestEvaluationClips:
    def clips(self) -> Iterator[tuple[str, ClipSpec]]:
        yield from evaluation_clips().items()

    def test_are_different_and_of_real_frames(self) -> None:
        specs = dict(self.clips())
        assert len(specs) >= 8
        assert len({spec.seed for spec in specs.values()}) == len(specs)
        assert {(s.width, s.height, s.frames) for s in specs.values()} == {(640, 360, 100)}

    def test_are_what_their_names_say(self) -> None:
        specs = dict(self.clips())
        depths = np.array([NEAR, SUBJECT, 5.0, FAR], np.float32)
        assert (classes(specs["all sharp"].radius_at(1.0, depths)) == IN_FOCUS).all()
        assert (classes(specs["all blurred"].radius_at(1.0, depths)) == BLURRED).all()
        passed = [best_focus(specs["three layers"], depth)[0] for depth in (NEAR, SUBJECT, FAR)]
        assert passed == sorted(passed)
        assert specs["cut"].cuts and specs["noisy"].noise > 8 and specs["moving subject"].walk

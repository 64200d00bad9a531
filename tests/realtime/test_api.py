"""The front door: what `br2focus.realtime` promises, used as a program uses it."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.Image
import pytest

import br2focus.realtime as br
from br2focus.realtime.picture import Picture

SMALL = {"device": "cpu", "backend": "torch", "precision": "fp32"}


def pictures(count: int = 6) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (72, 96, 3), dtype=np.uint8)
    return [cv2.GaussianBlur(noise, (0, 0), 1 + n) for n in range(count)]


def annotated(what, path: Path, model: str, **how) -> list[br.FocusResult]:
    """The program of the README."""
    seen = []
    with (
        br.open(what, **how) as source,
        br.Engine(model, **SMALL) as engine,
        br.VideoWriter(path, like=source) as sink,
        br.Pipeline(source, engine, smoothing="look-ahead", refine="best") as results,
    ):
        for result in results:
            sink.write(result.overlay("heat"))
            seen.append(result)
            if len(seen) == 6:
                break
    return seen


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


def test_the_program_on_a_file_keeps_its_times_and_sound(model, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=6, vfr=True, audio=1)
    seen = annotated(str(clip), tmp_path / "out.mp4", model)
    assert times(tmp_path / "out.mp4") == pytest.approx([float(r.frame.seconds) for r in seen], abs=1e-3)
    assert len(set(np.diff(times(tmp_path / "out.mp4")).round(3))) > 1, "variable, as in the clip"
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert len(container.streams.audio) == 1


def test_the_program_on_the_test_source(model, tmp_path):
    assert len(annotated("test", tmp_path / "out.mp4", model)) == 6
    assert len(times(tmp_path / "out.mp4")) == 6


def test_the_program_on_a_list_of_arrays(model, tmp_path):
    seen = annotated(pictures(), tmp_path / "out.mp4", model, rate=25)
    assert times(tmp_path / "out.mp4") == pytest.approx([n / 25 for n in range(6)], abs=1e-3)
    assert [result.frame.index for result in seen] == list(range(6))


def test_every_name_exists_and_is_listed():
    assert sorted(br.__all__) == sorted(set(br.__all__)) == dir(br)
    for name in br.__all__:
        found = getattr(br, name)
        assert isinstance(found, str) or inspect.getdoc(found), name
    with pytest.raises(AttributeError, match="nothing"):
        _ = br.nothing


def test_modules_of_the_package_do_not_hide_its_names():
    code = (
        "import pkgutil, importlib, br2focus.realtime as br\n"
        "for m in pkgutil.iter_modules(br.__path__): importlib.import_module(f'br2focus.realtime.{m.name}')\n"
        "print([n for n in br.__all__ if type(getattr(br, n)).__name__ == 'module'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_package_loads_no_library():
    code = "import sys, br2focus.realtime; print({'cv2', 'av', 'torch', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("kind", ["image", "folder", "path"])
def test_images_are_opened_by_name(kind, tmp_path):
    for number, image in enumerate(pictures(2)):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    what = {"image": str(tmp_path / "0.png"), "folder": str(tmp_path), "path": tmp_path / "1.png"}[kind]
    with br.open(what) as source:
        frames = list(source)
    assert len(frames) == (2 if kind == "folder" else 1)
    assert np.array_equal(frames[-1].image, pictures(2)[0 if kind == "image" else 1])


@pytest.mark.parametrize("wrong", ["missing.mp4", "missing.png", "nowhere/clip", "empty"])
def test_what_is_not_there_is_a_source_error_that_names_it(wrong, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(br.SourceError, match=wrong):
        br.open(wrong)


def test_a_result_answers_for_itself(model):
    with br.Engine(model, **SMALL) as engine, br.Pipeline(br.open(pictures(1)), engine) as results:
        [result] = results
    assert result.blur.dtype == np.float32 and result.blur.shape == (72, 96)
    assert np.array_equal(result.in_focus, result.blur < 0.5)
    assert result.score() == pytest.approx(1 - result.blur.mean(), abs=1e-5)
    assert result.score((10, 10, 20, 20)) == result.scores([(10, 10, 30, 30)])[0]
    text = repr(result)
    assert text.startswith("<FocusResult frame 0 at 0.000 s, 96x72, ") and len(text) < 80


@pytest.mark.parametrize("kind", ["heat", "none"])
def test_an_overlay_may_be_drawn_on_and_keeps_its_time(model, kind):
    with br.Engine(model, **SMALL) as engine, br.Pipeline(br.open(pictures(3)), engine) as results:
        *_, result = results
    picture = result.overlay(kind)
    assert isinstance(picture, Picture) and picture.seconds == Fraction(2, 30)
    before = result.frame.image.copy()
    cv2.rectangle(picture, (0, 0), (20, 20), (1, 2, 3), -1)
    assert tuple(picture[5, 5]) == (1, 2, 3) and np.array_equal(result.frame.image, before)
    assert cv2.flip(picture, 1).shape == picture.shape
    assert picture[::2, ::2].seconds == Fraction(2, 30)


def test_a_result_without_a_painter_says_so():
    frame = br.Frame(pictures(1)[0], 0, 0, Fraction(1, 30), 0.0)
    result = br.FocusResult(frame, br.BlurMap(np.zeros((72, 96), np.float32)))
    with pytest.raises(ValueError, match="Pipeline or a FocusStage"):
        result.overlay("heat")


def test_arrays_without_a_time_follow_at_the_rate(tmp_path):
    with br.VideoWriter(tmp_path / "out.mp4", like=br.open(pictures(), rate=10)) as sink:
        for picture in pictures():
            sink.write(picture)
    assert times(tmp_path / "out.mp4") == pytest.approx([n / 10 for n in range(6)], abs=1e-3)
    with br.VideoWriter(tmp_path / "alone.mp4") as sink:
        for picture in pictures(2):
            sink.write(picture)
    assert times(tmp_path / "alone.mp4") == pytest.approx([0, 1 / 30], abs=1e-3)


def test_what_is_computed_from_an_overlay_is_a_plain_array():
    frame = br.Frame(pictures(1)[0], 0, 0, Fraction(1, 30), 0.0)
    picture = Picture.of(frame.image.copy(), frame)
    for computed in (picture // 2, picture > 3, np.hstack([picture, picture]), np.zeros_like(picture)):
        assert getattr(computed, "time", None) is None
    assert round(picture.mean(), 1) == round(float(np.mean(np.asarray(picture))), 1)
    assert picture[:4, :4].copy().base is None, "holds no frame"


def test_a_picture_without_a_time_is_refused_beside_a_file(model, make_clip, tmp_path):
    clip = make_clip(tmp_path / "clip.mp4", frames=4, vfr=True)
    with br.open(clip) as source, br.Engine(model, **SMALL) as engine:
        wanted = []
        with (
            br.VideoWriter(tmp_path / "out.mp4", like=source) as sink,
            br.Pipeline(source, engine) as results,
        ):
            for result in results:
                both = np.hstack([result.frame.image, result.overlay("heat")])
                with pytest.raises(ValueError, match="of=result"):
                    sink.write(both)
                sink.write(both, of=result)
                wanted.append(float(result.frame.seconds))
    assert times(tmp_path / "out.mp4") == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("wrong", [np.ones((48, 64, 3), np.float32), np.zeros((48, 64), np.uint8)])
def test_what_is_no_picture_is_refused_and_the_next_is_written(wrong, tmp_path):
    with br.VideoWriter(tmp_path / "out.mp4") as sink:
        with pytest.raises(ValueError, match="uint8 H x W x 3"):
            sink.write(wrong)
        sink.write(pictures(1)[0])
    assert len(times(tmp_path / "out.mp4")) == 1


def test_a_result_that_nothing_was_drawn_of_is_refused(model, tmp_path):
    with br.Engine(model, **SMALL) as engine, br.VideoWriter(tmp_path / "out.mp4") as sink:
        with br.Pipeline(br.open(pictures(1)), engine) as results:
            [result] = results
        with pytest.raises(ValueError, match="nothing was drawn"):
            sink.write(result)


def test_a_title_card_may_come_before_pictures_with_times(tmp_path):
    frames = [br.Frame(pictures(1)[0].copy(), n, n, Fraction(1, 60), 0.0) for n in (4, 5)]
    with br.VideoWriter(tmp_path / "out.mkv") as sink:
        sink.write(pictures(1)[0])
        for frame in frames:
            sink.write(Picture.of(frame.image.copy(), frame))
    assert times(tmp_path / "out.mkv") == pytest.approx([0, 4 / 60, 5 / 60], abs=1e-3)


def test_results_can_be_pickled(model):
    with br.Engine(model, **SMALL) as engine, br.Pipeline(br.open(pictures(1)), engine) as results:
        [result] = results
    again = pickle.loads(pickle.dumps(result))
    assert np.array_equal(again.overlay("heat"), result.overlay("heat"))


def test_smoothing_and_refining_change_by_name_and_wrong_ones_are_refused(model):
    with br.Engine(model, **SMALL) as engine, br.Pipeline(br.open(pictures()), engine) as results:
        results.smoothing, results.refine = "adaptive", "fast"
        assert len(list(results)) == 6
        for name, wrong in (("smoothing", "some"), ("smoothing", object()), ("refine", "much")):
            with pytest.raises(br.SettingsError):
                setattr(results, name, wrong)


def test_a_sink_that_forgets_to_write_cannot_be_made():
    class Wrong(br.Sink):
        def wirte(self, result: br.FocusResult) -> None: ...

    with pytest.raises(TypeError, match="write"):
        Wrong()


@pytest.mark.parametrize(
    "one", [pictures(1)[0], pictures(1)[0][:, :, 0], PIL.Image.fromarray(pictures(1)[0])]
)
def test_one_picture_is_one_frame(one):
    [frame] = br.open(one)
    assert frame.size == (96, 72)


@pytest.mark.parametrize("wrong", [b"clip.mp4", True, "", 3.5, None])
def test_what_names_no_source_is_said(wrong):
    with pytest.raises(br.SourceError):
        br.open(wrong)


@pytest.mark.parametrize("number", [0, np.int64(0), "/dev/null", Path("/dev/video0")])
def test_numbers_and_devices_are_cameras(number):
    with br.open(number) as source:
        assert source.info.live and source.info.name.startswith("camera ")


@pytest.mark.parametrize("rate", [0, -5, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(br.SourceError, match="rate"):
        br.open(pictures(1), rate=rate)


def test_a_network_of_ones_own(tmp_path):
    def contrast(image: np.ndarray) -> np.ndarray:
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        edges = np.abs(cv2.Laplacian(gray, cv2.CV_32F))
        return 1 - np.clip(cv2.resize(edges, (24, 18), interpolation=cv2.INTER_AREA) / 50, 0, 1)

    network = br.FunctionNetwork(contrast, "contrast")
    with br.Pipeline(br.open(pictures()), network, smoothing=0.1, refine="fast") as results:
        shares = [float(result.blur.mean()) for result in results]
    assert len(shares) == 6 and shares[0] < shares[-1]


def test_a_network_that_gives_no_map_is_told_where_results_are_read():
    network = br.FunctionNetwork(lambda image: np.full((4, 4), 2.0))
    with (
        br.Pipeline(br.open(pictures(1)), network) as results,
        pytest.raises(br.ComputeError, match="function, frame 0: .*0, 1"),
    ):
        list(results)


def test_one_settings_object_serves_engine_and_stage(model):
    from br2focus.plugins.opencv import FocusStage

    settings = br.FocusSettings(model, **SMALL, smoothing=0.2, refine="fast")
    with br.Engine(settings) as engine, FocusStage(settings) as stage:
        assert engine.settings is stage.settings is settings
        assert stage(pictures(1)[0]).blur.shape == (72, 96)
    with pytest.raises(TypeError, match="size"):
        br.Engine(settings, size=320)
    with pytest.raises(TypeError, match="colour"):
        br.Engine(model, colour="red")


@pytest.mark.parametrize("wrong", [{"smoothing": "some"}, {"refine": "much"}, {"size": 3}, {"coc": "-1"}])
def test_a_wrong_setting_is_refused_once_for_all(model, wrong):
    with pytest.raises(br.SettingsError):
        br.FocusSettings(model, **wrong)
    if not {"size", "coc"} & set(wrong):
        with pytest.raises(br.SettingsError):
            br.Pipeline(br.open(pictures(1)), br.FunctionNetwork(lambda image: image), **wrong)

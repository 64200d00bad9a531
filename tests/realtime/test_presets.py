"""Settings of a viewer in a file: what is written is read again, and nothing wrong is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from br2focus.realtime.errors import SettingsError, SinkError
from br2focus.realtime.frame import Roi
from br2focus.realtime.overlay_style import OverlayStyle
from br2focus.realtime.presets import list_presets, load_preset, preset_path, save_preset
from br2focus.realtime.settings import ViewSettings

SETTINGS = [
    ViewSettings(),
    ViewSettings(overlay="heat", smoothing=None, size=320, rois=(Roi("face", 1, 2, 30, 40),)),
    ViewSettings(smoothing=0.25),
    ViewSettings(smoothing="look-ahead:3"),
    ViewSettings(style=OverlayStyle(colour=(1, 2, 3), levels=3, ground="alone", stripes=True)),
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_is_saved_is_loaded(settings: ViewSettings, tmp_path: Path) -> None:
    path = tmp_path / "new" / "mine.toml"
    save_preset(settings, path)
    assert load_preset(path) == settings
    save_preset(ViewSettings(), path)
    assert load_preset(path) == ViewSettings(), "written over"
    assert [each.name for each in path.parent.iterdir()] == ["mine.toml"]


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("")
    assert load_preset(tmp_path / "a.toml") == ViewSettings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("overlay = 'fog'", "overlay: "),
        ("stile = 1", "stile: unknown key, the known ones are model, device"),
        ("[style]\nlevel = 2", "style.level: unknown key, the known ones are colour"),
        ("[style]\nlevels = 9", "levels are 1 to 3"),
        ("[style]\ncolour = [1, 2]", "style.colour"),
        ("[[rois]]\nname = 'a'\nx = 1", "rois.0.y: "),
        ("[[rois]]\nname = 'a'\nx = 1\ny = 1\nwidth = 5\nheight = 5\ndepth = 5", "the known ones are name"),
        ("smoothing = 'soon'", "smoothing 'soon': choose adaptive"),
        ("smoothing = -1.0", "smoothing -1.0: choose adaptive"),
        ("smoothing = [1]", "smoothing: choose adaptive"),
        ("size = 5", "size is 64 to 2048"),
        ("overlay = ", "not a TOML file"),
        ("x = '" + "a" * (1 << 20) + "'", "too large"),
    ],
)
def test_one_line_says_what_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as error:
        load_preset(path)
    line = str(error.value)
    assert line.startswith(str(path)) and said in line and "\n" not in line


def test_names_stay_in_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BR2FOCUS_CONFIG", str(tmp_path))
    save_preset(ViewSettings(), preset_path("studio"))
    assert list_presets() == ["studio"] and preset_path("x/y.toml") == Path("x/y.toml")
    for name in ("../up", "a/b", "", ".hidden", "a\0b"):
        with pytest.raises(SettingsError, match="plain name"):
            preset_path(name)
    with pytest.raises(SettingsError, match="No such file"):
        load_preset(preset_path("other"))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="file"):
        save_preset(ViewSettings(), tmp_path / "file" / "a.toml")

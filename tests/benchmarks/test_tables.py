"""The README's tables are those of the JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.report import tables as tables_module

TEXT = "# T\n\n<!-- table:accuracy -->\nold\n<!-- /table -->\n\nrest\n"
METRICS = ("mae", "auc", "max_f_focus", "f50_blur", "iou_blur", "boundary_f")


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    return tables_module


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """JSON files of the documented form: a good and a bad model, and two rows of speed."""
    models = {
        name: {
            "model": name,
            "device": "cpu",
            "ms_per_image": 12.34,
            "metrics": dict.fromkeys(METRICS, mae) | {"boundary_f": None},
        }
        for name, mae in (("bad", 0.25), ("good", 0.0625))
    }
    accuracy = {"cuhk": {"data": "two images", "models": models}}
    accuracy["other"] = {"data": "other images", "models": {"good": models["good"]}}
    (tmp_path / "accuracy.json").write_text(json.dumps(accuracy))
    rows = [
        {"program": "this", "frames a second": 40.04},
        {"program": "that", "frames a second": 9},
    ]
    (tmp_path / "annotate.json").write_text(json.dumps({"machine": "a machine", "rows": rows}))
    return tmp_path


def test_readme_is_up_to_date(tables: ModuleType) -> None:
    assert tables.main(["--check"]) == 0


def test_writes_between_the_marks_alone(tables: ModuleType, folder: Path) -> None:
    text = tables.filled(TEXT, folder)
    assert text.startswith("# T\n\n<!-- table:accuracy -->\n| model |")
    assert text.endswith("two images; times on cpu.\n<!-- /table -->\n\nrest\n")
    assert "old" not in text


def test_best_model_first_with_its_figures(tables: ModuleType, folder: Path) -> None:
    rows = [line for line in tables.filled(TEXT, folder).splitlines() if line.startswith("| `")]
    good = "0.062 | 0.062 | 0.062 | 0.062 | 0.062 | - | 12.3"
    bad = "0.250 | 0.250 | 0.250 | 0.250 | 0.250 | - | 12.3"
    assert rows == [f"| `good` | {good} |", f"| `bad` | {bad} |"]


def test_the_other_sets_have_a_row_for_each_model(tables: ModuleType, folder: Path) -> None:
    text = tables.filled("<!-- table:sets -->\n<!-- /table -->", folder)
    assert "| other images | `good` | 0.062 | 0.062 | 0.062 | - |" in text
    assert "two images" not in text


def test_a_card_has_the_sets_of_its_model(tables: ModuleType, folder: Path) -> None:
    text = tables.filled("<!-- table:card_bad -->\n<!-- /table -->", folder)
    assert "| two images | 0.250 | 0.250" in text and "other images" not in text


def test_curves_are_drawn_from_their_file(tables: ModuleType, folder: Path) -> None:
    (folder / "README.md").write_text(TEXT)
    line = [0.5, 1.0]
    curves = {"pr": {"blurred": [line * 128] * 2, "focused": [line * 128] * 2}, "roc": [0.5] * 513}
    (folder / "curves.json").write_text(json.dumps({"good": curves}))
    assert tables.main([], root=folder, folder=folder) == 0
    assert {p.name for p in (folder / "docs/curves").iterdir()} == {"pr.png", "roc.png", "f.png"}


def test_rows_of_speed_keep_their_order(tables: ModuleType, folder: Path) -> None:
    text = tables.filled("<!-- table:speed -->\n<!-- /table -->", folder)
    assert "| program | frames a second |\n| --- | ---: |\n| this | 40.0 |\n| that | 9 |\n" in text
    assert "Measured on a machine." in text


def test_a_fault_shows_its_worst_round_where_it_differs(tables: ModuleType, folder: Path) -> None:
    rows = [
        {"what": "pulled", "noticed_s": {"median": 0.14, "worst": 1.25}, "must": "2 s", "held": True},
        {
            "what": "refused",
            "exit_code": [-9, 4],
            "exit_s": {"median": 1.0, "worst": 1.0},
            "must": "exit 4",
            "held": False,
        },
    ]
    content = {"machine": "a machine", "rounds": 3, "rows": rows}
    (folder / "live_faults.json").write_text(json.dumps(content))
    text = tables.filled("<!-- table:live_faults -->\n<!-- /table -->", folder)
    assert "| pulled | noticed in 0.14 (1.25) s | 2 s | yes |" in text
    assert "| refused | exit 4 or killed by us, gone in 1.00 s | exit 4 | no |" in text
    assert "Median (worst) of 3, on a machine." in text


def test_check_tells_a_stale_table_and_changes_nothing(
    tables: ModuleType, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = folder / "README.md"
    readme.write_text(TEXT)
    assert tables.main(["--check"], root=folder, folder=folder) == 1
    assert "stale" in capsys.readouterr().err
    assert readme.read_text() == TEXT
    assert tables.main([], root=folder, folder=folder) == 0
    assert tables.main(["--check"], root=folder, folder=folder) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "make bench"), ("{}", "not of the form"), ("{", "not of the form")],
)
def test_one_line_when_the_figures_are_not_there(
    tables: ModuleType,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    message: str,
) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(TEXT)
    if content is not None:
        (tmp_path / "accuracy.json").write_text(content)
    assert tables.main([], root=tmp_path, folder=tmp_path) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_unknown_table_lists_the_known_ones(tables: ModuleType, folder: Path) -> None:
    with pytest.raises(tables.TableError, match="accuracy, sets, speed"):
        tables.filled("<!-- table:other -->\n<!-- /table -->", folder)

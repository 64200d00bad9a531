"""Write the tables of README.md, docs/*.md and the model cards, and the curves, from benchmarks/results.

    python -m benchmarks.report.tables          write them, and draw docs/curves/ from curves.json
    python -m benchmarks.report.tables --check  change nothing; exit 1 if a table is stale

The table NAME is between `<!-- table:NAME -->` and `<!-- /table -->`:

* `accuracy` and `sets` from accuracy.json:
  `{SET: {"data": TEXT, "models": {NAME: what `evaluate --json` prints}}, ...}`;
* `card_MODEL` from accuracy.json: the metrics of one model on every set;
* `speed` from annotate.json, `training` from training.json:
  `{"machine": TEXT, "rows": [{COLUMN: VALUE, ...}, ...]}`;
* `smoothing`, `flicker`, `real_smoothing` from smoothing.json, `noise_PART` from noise.json: the same for
  each part;
* `network_PART`, `stages`, `peers`, `video`, `starts` from speed.json: what `br2focus bench engine` and
  `bench video` print; PART is a key of the file;
* `gpu`, `gpu_frame`, `gpu_kernels` from gpu.json, `gpu_video` from gpu_video.json, which gpu.sh writes;
* `footage`, `stacks`, `reliability` from footage.json:
  `{MODEL: {"points": FIGURES, "stacks": FIGURES}}`;
* `live` from live.json, `detail_speed` from detail_speed.json, `refining` from refining.json: the same as
  `speed`; `archive_PART` from archive.json too, for each part;
* `live_faults` from live_faults.json: the same, with rows
  `{"what": TEXT, KEY OF FAULT_FIGURES: {"median": X, "worst": X}, ..., "must": TEXT, "held": BOOL}`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.paths import RESULTS, ROOT
from benchmarks.report.markdown import TableError, markdown, number
from benchmarks.report.speed_tables import (
    gpu,
    gpu_frame,
    gpu_kernels,
    live_faults,
    network,
    starts,
    times,
    video,
)

FOLDERS = ("docs", "models/weights")  # folders whose *.md have tables, besides README.md
METRICS = ("mae", "auc", "max_f_focus", "f50_blur", "iou_blur", "boundary_f")
BLOCK = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def accuracy(content: dict[str, Any]) -> str:
    """Return the test images of CUHK: one row per model, the smallest mean absolute error first."""
    content = content["cuhk"]
    models = sorted(content["models"].values(), key=lambda report: report["metrics"]["mae"])
    rows = [
        [
            f"`{report['model']}`",
            *(number(report["metrics"][name]) for name in METRICS),
            number(report["ms_per_image"], 1),
        ]
        for report in models
    ]
    table = markdown(["model", *(f"`{name}`" for name in METRICS), "ms an image"], rows)
    devices = " and ".join(sorted({report["device"] for report in models}))
    return f"{table}\n\n{content['data']}; times on {devices}."


def sets(content: dict[str, Any]) -> str:
    """Return every other data set: one row per set and model; what a set does not define is a dash."""
    head = ["data", "model", "`mae` or `false_alarm`", "`auc`", "`max_f_focus`", "`boundary_f`"]
    rows = []
    for name, data in content.items():
        for report in data["models"].values() if name != "cuhk" else ():
            figures = [number(report["metrics"][key]) for key in ("mae", *METRICS[1:3], METRICS[-1])]
            rows.append([data["data"], f"`{report['model']}`", *figures])
    return markdown(head, rows)


def card(content: dict[str, Any], model: str) -> str:
    """Return the metrics of one model: one row per set that it was measured on."""
    head = ["data", *(f"`{name}`" for name in METRICS)]
    rows = [
        [data["data"], *(number(data["models"][model]["metrics"][name]) for name in METRICS)]
        for data in content.values()
        if model in data["models"]
    ]
    return markdown(head, rows)


def footage(content: dict[str, Any]) -> str:
    """Return the labelled points of real clips: one row per model."""
    keys = ("points_auc", "balanced", "focus_found", "blur_found", "thin_found", "pairs")
    rows = [[f"`{model}`", *(number(row["points"][key]) for key in keys)] for model, row in content.items()]
    count = next(iter(content.values()))["points"]["count"]
    return (
        f"{markdown(['model', *(f'`{key}`' for key in keys)], rows)}\n\n{count['F']} points in focus "
        f"({count['thin']} on thin things), {count['B']} clearly out of it, {count['pairs']} ordered pairs, "
        f"{count['frames']} frames of four clips; each frame by itself."
    )


def stacks(content: dict[str, Any]) -> str:
    """Return the rendered focal stacks: one row per model, and one for full-size contrast."""
    keys = ("exact", "within_1", "plateau")
    rows = [[f"`{model}`", *(number(row["stacks"][key]) for key in keys)] for model, row in content.items()]
    first = next(iter(content.values()))["stacks"]
    rows.append(["contrast at full size", *(number(first[f"contrast_{key}"]) for key in keys)])
    return markdown(["", "best slice", "within one", "slices no worse than the best"], rows)


def reliability(content: dict[str, Any]) -> str:
    """Return how often points are blurred for each range of P (rows) and each model (columns)."""
    models = list(content)
    bins = [{int(b["mean_p"] * 10): b for b in content[m]["points"]["reliability"]} for m in models]
    rows = [
        [f"{n / 10:.1f} to {n / 10 + 0.1:.1f}"]
        + [f"{b[n]['blurred']:.2f} of {b[n]['points']}" if n in b else "-" for b in bins]
        for n in range(10)
    ]
    return markdown(["P", *(f"`{model}`: blurred" for model in models)], rows)


def speed(content: dict[str, Any]) -> str:
    """Return the rows unchanged, in their order; their keys are the head."""
    rows = content["rows"]
    head = list(rows[0])
    table = markdown(head, [[number(row[name], 1) for name in head] for row in rows])
    return f"{table}\n\nMeasured on {content['machine']}."


def exact(content: dict[str, Any]) -> str:
    """Return the rows unchanged, with the decimals in the JSON."""
    rows = content["rows"]
    head = list(rows[0])
    cells = [["-" if row[name] is None else str(row[name]) for name in head] for row in rows]
    return f"{markdown(head, cells)}\n\nMeasured with {content['machine']}."


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "accuracy": ("accuracy.json", accuracy),
    "sets": ("accuracy.json", sets),
    "speed": ("annotate.json", speed),
    "training": ("training.json", speed),
    "live_faults": ("live_faults.json", live_faults),
    "live": ("live.json", exact),
    "refining": ("refining.json", exact),
    "footage": ("footage.json", footage),
    "stacks": ("footage.json", stacks),
    "reliability": ("footage.json", reliability),
    "detail_speed": ("detail_speed.json", exact),
    "stages": ("speed.json", lambda content: times(content, "stages_ms")),
    "peers": ("speed.json", lambda content: times(content, "peers_ms")),
    "video": ("speed.json", lambda content: video(content["video"])),
    "starts": ("speed.json", starts),
    "gpu": ("gpu.json", gpu),
    "gpu_frame": ("gpu.json", gpu_frame),
    "gpu_kernels": ("gpu.json", lambda content: gpu_kernels(content, 1)),
    "gpu_kernels_64": ("gpu.json", lambda content: gpu_kernels(content, 64)),
    "gpu_video": ("gpu_video.json", video),
    "archive_kills": ("archive.json", lambda content: exact(content["kills"])),
    "archive_many": ("archive.json", lambda content: exact(content["many"])),
    "archive_speed": ("archive.json", lambda content: exact(content["speed"])),
    "smoothing": ("smoothing.json", lambda content: exact(content["clips"])),
    "flicker": ("smoothing.json", lambda content: exact(content["flicker"])),
    "real_smoothing": ("smoothing.json", lambda content: exact(content["real"])),
}


def _source(name: str) -> tuple[str, Callable[[dict[str, Any]], str]]:
    """Return the JSON file of a table, and the function that makes the table from it."""
    if name.startswith("card_"):
        return "accuracy.json", lambda content: card(content, name.removeprefix("card_"))
    if name.startswith("network_"):
        return "speed.json", lambda content: network(content, name.removeprefix("network_"))
    if name.startswith("noise_"):
        return "noise.json", lambda content: exact(content[name.removeprefix("noise_")])
    if name not in TABLES:
        raise TableError(f"unknown table {name!r}: one of {', '.join(TABLES)}")
    return TABLES[name]


def filled(text: str, folder: Path) -> str:
    """Return ``text`` with every table between its marks rewritten from the JSON files in ``folder``.

    Raises:
        TableError: a mark names an unknown table, or the JSON file is missing or has another form.
    """

    def fill(match: re.Match[str]) -> str:
        name = match[2]
        file, make = _source(name)
        try:
            table = make(json.loads((folder / file).read_text()))
        except OSError as error:
            raise TableError(f"table {name!r} needs {folder / file}: run `make bench`") from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise TableError(f"{folder / file} is not of the form of {name!r}: {error!r}") from error
        return f"{match[1]}{table}\n{match[3]}"

    return BLOCK.sub(fill, text)


def draw_curves(source: Path, folder: Path) -> None:
    """Draw ``pr.png``, ``roc.png`` and ``f.png`` of every model in ``source``."""
    from br2focus.models.evaluation.curves import Curves, plot_curves

    models = json.loads(source.read_text())
    plot_curves({name: Curves.read(values) for name, values in models.items()}, folder)


def main(arguments: Sequence[str] | None = None, *, root: Path = ROOT, folder: Path = RESULTS) -> int:
    """Write or check the tables; return 0 if they are (now) up to date, else 1."""
    parser = argparse.ArgumentParser(description="Write the tables of README.md and docs/*.md.")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if stale")
    check = parser.parse_args(arguments).check
    stale = False
    for document in [
        root / "README.md",
        *(f for place in FOLDERS for f in sorted((root / place).glob("*.md"))),
    ]:
        text = document.read_text()
        try:
            new = filled(text, folder)
        except TableError as error:
            print(f"{document.name}: {error}", file=sys.stderr)
            return 1
        if new != text and check:
            print(f"{document.name}: tables are stale: run `make tables`", file=sys.stderr)
            stale = True
        elif new != text:
            document.write_text(new)
    if not check and (folder / "curves.json").exists():
        draw_curves(folder / "curves.json", root / "docs" / "curves")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())

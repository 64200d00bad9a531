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
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.paths import RESULTS, ROOT

FOLDERS = ("docs", "models/weights")  # folders whose *.md have tables, besides README.md
METRICS = ("mae", "auc", "max_f_focus", "f50_blur", "iou_blur", "boundary_f")
FAULT_FIGURES = {
    "noticed_s": "noticed in {} s",
    "resumed_s": "back in {} s",
    "exit_s": "gone in {} s",
    "logins": "asked {} times",
    "reopened": "opened again {} times",
    "damaged": "{} damaged shown",
    "recorded": "{} pictures recorded",
    "traceback": "{} tracebacks",
    "threads": "{} threads",
    "fds": "{} files",
    "objects": "{} objects",
    "mb": "{} MB",
}
STAGES = 6  # of `annotate`, each in its own thread
BLOCK = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


class TableError(Exception):
    """A table cannot be written; the text is one line for the user."""


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with the first column left-aligned, the others right-aligned."""
    align = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, align, *rows])


def number(value: object, digits: int = 3) -> str:
    """Format a cell: floats with ``digits`` decimals, None as a dash, anything else unchanged."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


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


def live_faults(content: dict[str, Any]) -> str:
    """Return one row per fault: the median of every figure, and the worst if it differs."""
    rows = []
    for row in content["rows"]:
        codes = sorted(row.get("exit_code", []), reverse=True)
        ends = " or ".join(f"exit {code}" if code >= 0 else "killed by us" for code in codes)
        figures = [ends] if ends else []
        for key, text in FAULT_FIGURES.items():
            if key in row:
                median, worst = (number(row[key][name], 2) for name in ("median", "worst"))
                figures.append(text.format(median if median == worst else f"{median} ({worst})"))
        rows.append([row["what"], ", ".join(figures), row["must"], "yes" if row["held"] else "no"])
    table = markdown(["fault", "measured", "must", "held"], rows).replace("---:", "---")
    rounds = f"Median (worst) of {content['rounds']}"
    return f"{table}\n\n{rounds}, on {content['machine']}."


def network(content: dict[str, Any], part: str) -> str:
    """Return every way to run one network at one size: one row per way, the plain one first."""
    report = content[part]
    head = [
        "way",
        "ms",
        "p95",
        "maps/s",
        "3 in flight",
        "x plain",
        "of the ceiling",
        "dP max",
        "dP mean",
    ]
    rows = [
        [
            row["way"],
            *(number(row[key], 1) for key in ("p50", "p95", "maps_per_s", "maps_per_s_in_flight")),
            number(row["times_plain"], 1),
            f"{row['share_of_ceiling']:.0%}",
            *(f"{row[key]:.2g}" for key in ("largest_difference", "mean_difference")),
        ]
        for row in report["network"]
    ]
    gmac, machine, most = report["gmac"], report["machine"], report["ceiling"]
    libraries = ", ".join(f"{name} {machine[name]}" for name in ("torch", "openvino", "onnxruntime"))
    return (
        f"{markdown(head, rows)}\n\n`{report['model']}`, maps of {report['map']}: {gmac['plain']} G "
        f"multiply-adds plain, {gmac['fast']} G fast. {machine['cores']} cores, {machine['cpu']} "
        f"({', '.join(machine['cpu_features'])}), {libraries}; matrix product in the same run: "
        f"{most['fp32_gmac_per_s']} G multiply-adds/s in fp32, {most['bf16_gmac_per_s']} in bf16."
    )


def times(content: dict[str, Any], key: str) -> str:
    """Return milliseconds by name."""
    report = content["lite_720p"]
    rows = [[name, *(number(ms[p], 2) for p in ("p50", "p95"))] for name, ms in report[key].items()]
    return f"{markdown(['', 'ms', 'p95'], rows)}\n\nOn frames of {report['picture']}, one at a time."


def video(report: dict[str, Any]) -> str:
    """Return `annotate` compared with its parts and its stages."""
    rows = [
        [
            row["what"],
            number(row["wall_ms"], 1),
            number(row["cpu_ms"], 1),
            number(row["frames_per_s"], 1),
            f"{row['share_of_most']:.0%}",
        ]
        for row in report["rows"]
    ]
    head = ["", "ms a frame", "CPU ms a frame", "frames/s", "of the most"]
    most = f"The most: {report['most_frames_per_s']} frames/s = cores / CPU time of the bare parts."
    if report["machine"]["cores"] >= STAGES:  # else the stages share cores
        most += f" `annotate` has {report['share_of_slowest_stage']:.0%} of its slowest stage's."
    return f"{markdown(head, rows)}\n\n{report['clip']}, {report['device']}. {most}"


def starts(content: dict[str, Any]) -> str:
    """Return the times of whole commands, as seen from the shell."""
    rows = content["starts"]["rows"]
    head = list(rows[0])
    return markdown(head, [[f"`{row[head[0]]}`", *(str(row[k]) for k in head[1:])] for row in rows])


def gpu(content: dict[str, Any]) -> str:
    """Return one row per network; what was not measured is a dash."""
    runs = ["plain fp32 eager", "plain fp32 graph", "fast fp16 graph", "compiled fp16 graph"]
    head = [
        "network",
        *(f"{run}, ms" for run in runs),
        "x plain",
        "1080p host to host p95, ms",
        "most maps/s",
        "of the ceiling",
        "dP max (mean)",
    ]
    rows = []
    for name, parts in content["networks"].items():
        latency, whole = parts["latency_ms"], parts.get("hd_host_to_host_ms")
        best = max(parts.get("batches", []), key=lambda row: row["maps_per_s"], default=None)
        worst = max(parts.get("equality", []), key=lambda row: row["largest"], default=None)
        rows.append(
            [
                f"`{name}`",
                *(number(latency[r]["p50"], 2) if r in latency else "-" for r in runs),
                number(latency["times_plain"], 1),
                number(whole["p95"], 2) if whole else "-",
                f"{number(best['maps_per_s'], 0)} ({best['way']})" if best else "-",
                f"{best['share_of_ceiling']:.0%}" if best else "-",
                f"{worst['largest']:.2g} ({worst['mean']:.2g})" if worst else "-",
            ]
        )
    measured = "; ".join(
        f"`{name}` {parts.get('measured', 'in one run')}" for name, parts in content["networks"].items()
    )
    return (
        f"{markdown(head, rows)}\n\nOne map of 320x320 from tensor to tensor, medians; the most is at a "
        f"batch of 64. {content['device']}, torch {content['torch']}. Measured: {measured}."
    )


def gpu_frame(content: dict[str, Any]) -> str:
    """Return refining and overlays of a 1080p frame, on the CPU and on the GPU."""
    times = content["hd_frame_ms"]
    rows = [
        [
            name.removesuffix(", CPU"),
            number(spent["p50"], 1),
            number(times[name.replace("CPU", "device")]["p50"], 1),
        ]
        for name, spent in times.items()
        if name.endswith("CPU")
    ]
    table = markdown(["1920x1080, from host to host", "CPU, ms", "GPU, ms"], rows)
    return f"{table}\n\nMeasured {content.get('hd_frame_measured', 'in the same run')}."


def gpu_kernels(content: dict[str, Any], batch: int) -> str:
    """Return where the time of a batch goes, compiled."""
    profile = content["networks"]["paper"][f"profile_{batch}"]
    rows = [
        [f"`{row['kernel'][:70]}`", number(row["times"], 0), number(row["us"], 0)] for row in profile["rows"]
    ]
    total = f"All {profile['kernels']} kernels: {number(profile['us'], 0)} us."
    return f"{markdown(['kernel', 'times', 'us'], rows)}\n\n{total}"


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

"""Write docs/ablation.md and docs/ablation_loss.png from benchmarks/results/ablation.json.

    python -m benchmarks.report.ablation          write them
    python -m benchmarks.report.ablation --check  change nothing; exit 1 if the document is stale

The text between `<!-- findings -->` and `<!-- /findings -->` in the document is written by hand and kept.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import statistics
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.paths import DOCS, RESULTS
from br2focus.models.training.plots import smooth

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIGURES = ("mae", "auc", "max_f_focus", "f50_blur", "boundary_f")
FINDINGS = re.compile(r"<!-- findings -->\n.*?<!-- /findings -->", re.DOTALL)
PICTURE = "ablation_loss.png"
SMOOTHING = 9  # points of the curve, which has at most 100

Run = dict[str, Any]
Runs = dict[str, list[Run]]  # row -> one run per seed


class Group(NamedTuple):
    """One table: its title, what a reader has to know, and the names of the rows with their labels."""

    title: str
    note: str
    rows: dict[str, str]


GROUPS = (
    Group(
        "Pathways and fusion",
        "L2H refines from shallow to deep features, H2L from deep to shallow. A single pathway is trained "
        "without the other: five maps are supervised instead of eleven.",
        {
            "l2h": "L2H alone",
            "h2l": "H2L alone",
            "base": "both, mean (base)",
            "conv": "both, learned fusion",
        },
    ),
    Group(
        "Residual refining",
        "With RLRM, each unit corrects the previous map. Without it, the same unit replaces that map.",
        {"no_rlrm": "without RLRM", "base": "with RLRM (base)"},
    ),
    Group(
        "Attention",
        "The attention block on each of the five features.",
        {
            "no_attention": "none",
            "base": "CAM, the paper's (base)",
            "bam": "BAM",
            "cbam": "CBAM",
        },
    ),
    Group(
        "Losses",
        "The paper's authors propose two additions to the sum of eleven cross entropies, on the fused map, "
        "with weight 1: soft intersection over union, and a second cross entropy near the mask's edge.",
        {
            "base": "cross entropy (base)",
            "iou": "+ IoU",
            "edge": "+ edge",
            "iou_edge": "+ IoU + edge",
        },
    ),
    Group(
        "Data",
        "A quarter of all crops come from elsewhere; the figures are still those of CUHK's defocus. Many "
        "masks of SZU-BD mark the salient object; with agreement, what `lite` firmly contradicts is left "
        "out. The masks of the motion images mark motion blur. Rendered scenes show what CUHK lacks "
        "(pictures without any blur, thin foregrounds), which these figures do not measure.",
        {
            "base": "CUHK (base)",
            "szu_bd": "+ SZU-BD",
            "szu_bd_agreeing": "+ SZU-BD where `lite` agrees",
            "motion": "+ CUHK's motion blur",
            "rendered": "+ rendered scenes",
        },
    ),
    Group(
        "Backbones and their start",
        "All rows have the same data and iterations. A random backbone learns at the rate of the new layers, "
        "a pretrained one at its own lower rate.",
        {
            "base": "MobileNetV2, ImageNet (base)",
            "random_mobilenet_v2": "MobileNetV2, random",
            "random_efficientnet_lite0": "EfficientNet-Lite0, random",
            "random_resnext50_32x4d": "ResNeXt-50, random",
            "random_vgg16": "VGG16, random",
        },
    ),
)


def by_row(content: dict[str, Any]) -> Runs:
    """Return the runs of each row."""
    runs: Runs = {}
    for run in content["runs"]:
        runs.setdefault(run["row"], []).append(run)
    return runs


def values(runs: Iterable[Run], figure: str) -> list[float]:
    """Return ``figure`` of the runs that define it."""
    return [run["figures"][figure] for run in runs if run["figures"][figure] is not None]


def noise(runs: Runs, figure: str) -> float | None:
    """Return the standard deviation between seeds, pooled over rows with several; None if there are none."""
    several = [values(row, figure) for row in runs.values()]
    degrees = sum(len(v) - 1 for v in several if len(v) > 1)
    if not degrees:
        return None
    squares = sum((len(v) - 1) * statistics.variance(v) for v in several if len(v) > 1)
    return math.sqrt(squares / degrees)


def cell(runs: Runs, row: str, figure: str) -> str:
    """Format the mean of the seeds, half the distance from best to worst, and a star beyond the noise."""
    ours, base = values(runs[row], figure), values(runs.get("base", []), figure)
    if not ours:
        return "-"
    text = f"{statistics.mean(ours):.3f}"
    if len(ours) > 1:
        text += f" ± {(max(ours) - min(ours)) / 2:.3f}"
    deviation = noise(runs, figure)
    if row == "base" or not base or deviation is None:
        return text
    limit = 2 * deviation * math.sqrt(1 / len(ours) + 1 / len(base))
    return text + (" \\*" if abs(statistics.mean(ours) - statistics.mean(base)) > limit else "")


def table(runs: Runs, group: Group) -> str:
    """Return the table of one group, with the rows that were trained."""
    head = ["", *(f"`{name}`" for name in FIGURES), "parameters", "s an iteration", "seeds"]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row, label in group.rows.items():
        if row in runs:
            times = [t for run in runs[row] if (t := run["seconds_per_iteration"]) is not None]
            cells = [cell(runs, row, figure) for figure in FIGURES]
            cost = f"{runs[row][0]['parameters'] / 1e6:.2f} M"
            seconds = f"{statistics.median(times):.2f}" if times else "-"
            lines.append([label, *cells, cost, seconds, str(len(runs[row]))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def budget(base: dict[str, Any]) -> str:
    """Describe what every row was given."""
    return (
        f"Every row is `configs/ablation.toml` with one thing changed: {base['iterations']} iterations of "
        f"{base['batch']} crops of {base['augment']['crop']} px, from {base['data']['description']}. "
        f"MobileNetV2 from ImageNet, taps reduced to {base['network']['reduce']} channels, RLRM of width "
        f"{base['network']['width']}. Figures are those of the {base['data']['validation']} pairs held back, "
        f"long side {base['size']} px. The test images are not used."
    )


def document(content: dict[str, Any], before: str = "") -> str:
    """Return the text of docs/ablation.md; the findings of the text ``before`` are kept.

    Raises:
        KeyError: the figures do not have the form that benchmarks.measure.ablation writes.
        ValueError: there are no trainings, or they have different lengths.
    """
    runs = by_row(content)
    lengths = {run["iterations"] for run in content["runs"]}
    if lengths != {content["base"]["iterations"]}:
        raise ValueError(f"trainings of {sorted(lengths)} iterations cannot be compared")
    findings = FINDINGS.search(before)
    parts = [
        "# Ablation: what each part of BR²Net is worth",
        "`python -m benchmarks.report.ablation` writes this page from `benchmarks/results/ablation.json`, "
        "which `python -m benchmarks.measure.ablation` trains. Only the findings are written by hand.",
        findings[0] if findings else "<!-- findings -->\n<!-- /findings -->",
        "## Budget",
        budget(content["base"]),
        "This is a small part of a full training. The rows show which part helps early, on little data, and "
        "by how much. They do not show what each could reach.",
        "## How to read the tables",
        "A lower `mae` is better; for the others, higher is better. `models/evaluation/metrics.py` defines "
        "them. A cell is the mean of the seeds ± half the distance between the best and the worst. "
        + _noise_text(runs),
    ]
    for group in GROUPS:
        if sum(row in runs for row in group.rows) > 1:
            parts += [f"## {group.title}", group.note, table(runs, group)]
        if group.title == "Residual refining" and _curves(runs):
            parts.append(f"![Training loss with and without RLRM]({PICTURE})")
    missing = sorted({row for group in GROUPS for row in group.rows} - runs.keys())
    if missing:
        parts.append(f"Not trained yet: {', '.join(f'`{row}`' for row in missing)}.")
    return "\n\n".join([*parts, *_machines(content["runs"])]) + "\n"


def _noise_text(runs: Runs) -> str:
    spreads = {figure: noise(runs, figure) for figure in FIGURES}
    known = [f"{value:.3f} for `{figure}`" for figure, value in spreads.items() if value is not None]
    if not known:
        return "Each row has one seed, so the noise is not known."
    return (
        "Pooled over all rows with several seeds, the standard deviation between seeds is "
        f"{', '.join(known)}. A star marks a difference from the base of more than twice what this noise "
        "alone gives (some 1 in 20 get one by chance). A difference without a star may be only noise."
    )


def _machines(runs: Iterable[Run]) -> list[str]:
    lines = []
    for run in runs:
        versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
        lines.append(f"Trained on {run['machine']}; {versions}.")
    return sorted(set(lines))


# The picture.


def _curves(runs: Runs) -> dict[str, list[Run]]:
    """Return the trainings with and without RLRM; empty unless there are both."""
    labels = {"with RLRM": "base", "without RLRM": "no_rlrm"}
    found = {label: runs[row] for label, row in labels.items() if row in runs}
    return found if len(found) == len(labels) else {}


def draw(runs: Runs, path: Path) -> None:
    """Plot the training loss with and without RLRM: of the fused map, and the sum of all eleven maps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    panels = {"result": "BCE of the fused map", "sum": "sum of the eleven BCE terms"}
    for axes, (key, label) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for index, (name, row) in enumerate(_curves(runs).items()):
            _draw_row(axes, [run["curve"] for run in row], key, name, f"C{index}")
        axes.set_xlabel("iteration")
        axes.set_ylabel(f"training loss: {label}")
        axes.grid(alpha=0.3)
        axes.legend()
    partial = path.with_name(path.name + ".partial")
    figure.savefig(partial, format="png", dpi=110)
    partial.replace(path)


def _draw_row(axes: Axes, curves: Sequence[Run], key: str, name: str, colour: str) -> None:
    """Draw each seed smoothed and thin, and their mean thick."""
    x = curves[0]["iteration"]
    smoothed = [smooth(np.array(curve[key], np.float64), SMOOTHING) for curve in curves]
    for line in smoothed:
        axes.plot(x, line, color=colour, alpha=0.35, linewidth=0.8)
    label = f"{name} (mean of {len(curves)} seeds)" if len(curves) > 1 else name
    axes.plot(x, np.mean(smoothed, axis=0), color=colour, linewidth=2, label=label)


def main(arguments: Sequence[str] | None = None, *, folder: Path = RESULTS, docs: Path = DOCS) -> int:
    """Write or check the document; return 0 if it is (now) up to date, else 1."""
    parser = argparse.ArgumentParser(description="Write docs/ablation.md and its picture.")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 if stale")
    parser.add_argument("--folder", type=Path, default=folder, help="folder of ablation.json")
    parser.add_argument("--docs", type=Path, default=docs, help="folder of ablation.md")
    options = parser.parse_args(arguments)
    source, target = options.folder / "ablation.json", options.docs / "ablation.md"
    before = target.read_text() if target.exists() else ""
    try:
        content = json.loads(source.read_text())
        text = document(content, before)
    except OSError:
        print(f"{source} is missing: run python -m benchmarks.measure.ablation", file=sys.stderr)
        return 1
    except (KeyError, TypeError, ValueError) as error:
        print(f"{source}: {error!r}", file=sys.stderr)
        return 1
    if options.check:
        if text != before:
            print(f"{target.name} is stale: run python -m benchmarks.report.ablation", file=sys.stderr)
        return int(text != before)
    target.write_text(text)
    if _curves(by_row(content)):
        draw(by_row(content), options.docs / PICTURE)
    return 0


if __name__ == "__main__":
    sys.exit(main())

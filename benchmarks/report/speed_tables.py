"""The tables of docs/speed.md and docs/live.md that need more than their rows."""

from __future__ import annotations

from typing import Any

from benchmarks.report.markdown import markdown, number

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

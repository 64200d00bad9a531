"""Write the tables of README.md out of the JSON files beside this script.

    python benchmarks/tables.py          write them
    python benchmarks/tables.py --check  change nothing; exit 1 when a table is stale

The table NAME stands between `<!-- table:NAME -->` and `<!-- /table -->`:

* `accuracy` from accuracy.json: `{"data": TEXT, "models": {NAME: what `evaluate --json` prints}}`;
* `speed` from annotate.json: `{"machine": TEXT, "rows": [{COLUMN: VALUE, ...}, ...]}`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
METRICS = ("mae", "auc", "max_f_focus", "f50_blur", "iou_blur", "boundary_f")
BLOCK = re.compile(r"(<!-- table:(\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)


class TableError(Exception):
    """A table cannot be written; the text is one line for the user."""


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown: the first column to the left, the others to the right."""
    align = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, align, *rows])


def number(value: object, digits: int = 3) -> str:
    """A cell: floats with ``digits`` decimals, None as a dash, anything else as it is."""
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def accuracy(content: dict[str, Any]) -> str:
    """One row a model, the smallest mean absolute error first."""
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


def speed(content: dict[str, Any]) -> str:
    """The rows as they are, in their order; their keys are the head."""
    rows = content["rows"]
    head = list(rows[0])
    table = markdown(head, [[number(row[name], 1) for name in head] for row in rows])
    return f"{table}\n\nMeasured on {content['machine']}."


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "accuracy": ("accuracy.json", accuracy),
    "speed": ("annotate.json", speed),
}


def filled(text: str, folder: Path) -> str:
    """``text`` with every table between its marks made anew from the JSON files of ``folder``.

    Raises:
        TableError: a mark names an unknown table, or the JSON file is missing or of another form.
    """

    def fill(match: re.Match[str]) -> str:
        name = match[2]
        if name not in TABLES:
            raise TableError(f"unknown table {name!r}: one of {', '.join(TABLES)}")
        file, make = TABLES[name]
        try:
            table = make(json.loads((folder / file).read_text()))
        except OSError as error:
            raise TableError(f"table {name!r} needs {folder / file}: run `make bench`") from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise TableError(
                f"{folder / file} is not of the form of {name!r}: {error!r}"
            ) from error
        return f"{match[1]}{table}\n{match[3]}"

    return BLOCK.sub(fill, text)


def main(
    arguments: Sequence[str] | None = None, *, readme: Path = README, folder: Path = HERE
) -> int:
    """Write or check the tables; 0 when they are (now) up to date, 1 when not."""
    parser = argparse.ArgumentParser(description="Write the tables of README.md.")
    parser.add_argument("--check", action="store_true", help="change nothing, exit 1 when stale")
    check = parser.parse_args(arguments).check
    text = readme.read_text()
    try:
        new = filled(text, folder)
    except TableError as error:
        print(f"{readme.name}: {error}", file=sys.stderr)
        return 1
    if new == text:
        return 0
    if check:
        print(f"{readme.name}: tables are stale: run `make tables`", file=sys.stderr)
        return 1
    readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Markdown tables out of figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


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

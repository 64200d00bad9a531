"""Per-frame metrics as a table: CSV, JSON lines or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from br2focus.models.paths import AnyPath
from br2focus.realtime.errors import SettingsError
from br2focus.realtime.frame import BlurMap, Roi
from br2focus.realtime.output import Output
from br2focus.realtime.result import FocusResult

from .sink import FileSink

Row = dict[str, int | float | None]
COLUMNS = ("index", "pts", "seconds", "in_focus_share", "sharpness")
BATCH = 1024  # rows per Parquet row group


class _Table(Protocol):
    def add(self, row: Row) -> None: ...

    def close(self) -> None: ...


class MetricsWriter(FileSink):
    """Writes one row per frame with its focus metrics.

    The columns are ``index``, ``pts``, ``seconds``, ``in_focus_share`` and ``sharpness`` (both 0 to 1), and
    ``NAME_sharpness`` for every ROI. All values describe that frame alone, without temporal smoothing.

    Args:
        path: ``.csv``, ``.jsonl`` or ``.parquet``.
        rois: rectangles in pixels of the frame, with unique names.
        now: returns the current positions of these regions by name; a region that is missing or outside the
            frame has no value.
        overwrite: replace an existing file.

    Raises:
        SettingsError: the suffix is unknown or a ROI's name is already taken; while writing, a ROI lies
            outside the frame.
        SinkError: the file exists or cannot be written.
    """

    def __init__(
        self,
        path: AnyPath,
        rois: Sequence[Roi] = (),
        *,
        overwrite: bool = False,
        now: Callable[[], Sequence[Roi]] | None = None,
    ) -> None:
        path = Path(path)
        kind = TABLES.get(path.suffix.lower())
        if kind is None:
            raise SettingsError(f"{path.name}: name a metrics file *{', *'.join(TABLES)}")
        columns = COLUMNS + tuple(f"{roi.name}_sharpness" for roi in rois)
        if len(set(columns)) < len(columns):
            raise SettingsError(f"ROI names must differ, got {', '.join(roi.name for roi in rois)}")
        super().__init__(Output(path, overwrite=overwrite))
        self._rois, self._now = rois, now
        try:
            self._table = kind(self._output.temporary, columns)
        except BaseException:
            self._output.discard()
            raise

    def _write(self, result: FocusResult) -> None:
        frame = result.frame
        row: Row = {
            "index": frame.index,
            "pts": frame.pts,
            "seconds": float(frame.seconds),
            **result.figures._asdict(),
        }
        self._table.add(row | self._sharpness(result.measured))

    def _sharpness(self, blur: BlurMap) -> Row:
        """Return the sharpness of every region."""
        if self._now is None:
            try:
                return {f"{roi.name}_sharpness": blur.sharpness(roi) for roi in self._rois}
            except ValueError as error:
                raise SettingsError(str(error)) from error
        row: Row = {f"{roi.name}_sharpness": None for roi in self._rois}
        for roi in self._now():
            with suppress(ValueError):  # outside the frame
                if f"{roi.name}_sharpness" in row:
                    row[f"{roi.name}_sharpness"] = blur.sharpness(roi)
        return row

    def _finish(self) -> None:
        self._table.close()
        self._output.commit()

    def _cancel(self) -> None:
        try:
            self._table.close()
        finally:
            self._output.discard()


class _Csv:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, columns, lineterminator="\n")
        self._writer.writeheader()

    def add(self, row: Row) -> None:
        self._writer.writerow(row)

    def close(self) -> None:
        self._file.close()


class _JsonLines:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8")

    def add(self, row: Row) -> None:
        self._file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        self._file.close()


class _Parquet:
    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        import pyarrow
        import pyarrow.parquet

        whole = {"index", "pts"}
        fields = [(name, pyarrow.int64() if name in whole else pyarrow.float64()) for name in columns]
        self._schema = pyarrow.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == BATCH:
            self._flush()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow

        rows, self._rows = self._rows, []
        self._writer.write_table(pyarrow.Table.from_pylist(rows, self._schema))


TABLES: dict[str, type[_Csv] | type[_JsonLines] | type[_Parquet]] = {
    ".csv": _Csv,
    ".jsonl": _JsonLines,
    ".parquet": _Parquet,
}

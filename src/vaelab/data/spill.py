"""Tables that are larger than the memory: column after column goes to a file, and from there to the cache of rows."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .arrays import grid_of
from .columns import Column, FrameCells
from .dataset import Dataset
from .reading import Reading
from .schema import Schema, Values
from .stored import Cache, Mapped, block_of, full, source_key, store
from .words import count, reason, some


@dataclass(frozen=True)
class ParquetCells:
    """The cells of a parquet file; each column is read when it is asked for. Raises DataError for a damaged file."""

    path: Path
    reading: Reading

    @property
    def source(self) -> str:
        """The name of the file."""
        return self.path.name

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        import polars as pl

        return list(self._said(lambda: pl.read_parquet_schema(self.path)))

    def __len__(self) -> int:
        import polars as pl

        return int(self._said(lambda: pl.scan_parquet(self.path).select(pl.len()).collect().item()))

    def column(self, name: str, *, new: bool, form: str | None = None) -> Column:
        """Return the numbers, words or dates of a column. Raises DataError for other things, and for infinities."""
        return self._alone(name).column(name, new=new, form=form)

    def exact(self, name: str) -> NDArray[Any]:
        """Return the numbers or words of a column; where some are missing, words."""
        return self._alone(name).exact(name)

    def _alone(self, name: str) -> FrameCells:
        import narwhals as nw
        import polars as pl

        frame = self._said(lambda: pl.read_parquet(self.path, columns=[name]))
        return FrameCells(self.source, nw.from_native(frame, eager_only=True), self.reading)

    def _said(self, read: Callable[[], Any]) -> Any:
        import polars as pl

        try:
            return read()
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(f"{self.source} cannot be read as parquet: {reason(error)}.") from None


class Spill:
    """The columns of one large table, on their way to the cache of its rows.

    `how` names how the table is read: with the file it names the cache.
    """

    def __init__(self, cache: Cache, path: Path, *how: Any) -> None:
        self.cache, self.path, self.how = cache, path, how
        self.columns: list[Mapped] = []

    def wanted(self, rows: int, columns: int) -> bool:
        """Whether so large a table is kept on the disk."""
        return rows * columns * 8 >= self.cache.least

    def column(self, column: Column) -> Column:
        """Return a column whose numbers lie in a file that goes when they do."""
        try:
            self.cache.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.cache.folder) as file:
                file.write(np.ascontiguousarray(column.values, np.float64).tobytes())
                file.flush()
                kept = Mapped(Path(file.name), np.float64, column.values.shape)
        except OSError as error:
            raise full(self.cache, error) from error
        self.columns.append(kept)
        return replace(column, values=kept.array)

    def forget(self) -> None:
        """Give back the memory of all columns."""
        for column in self.columns:
            column.forget()

    def values(self, columns: Sequence[Column]) -> tuple[Values, int | None, int | None]:
        """Return the kind of values of all columns together, and their grid; as `grid_of`."""
        kinds = set()
        for column in columns:
            kinds.add(grid_of(column.values, integers=False))
            self.forget()
        return kinds.pop() if len(kinds) == 1 else ("real", None, None)

    def rows(self, columns: Sequence[Column], schema: Schema, notes: Sequence[str]) -> Dataset:
        """Return the rows in the random order of the cache; those without any value are left out."""
        total = len(columns[0].values)

        def blocks() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
            block = block_of(8 * len(columns))
            for start in range(0, total, block):
                x = np.stack([column.values[start : start + block] for column in columns], 1)
                numbers, there = np.arange(start + 1, start + len(x) + 1), ~np.isnan(x).all(1)
                yield (x, numbers) if there.all() else (x[there], numbers[there])
                self.forget()

        key = source_key(self.path, [column.name for column in columns], schema.reading, *self.how)
        kept = store(self.cache, key, total, np.float64, schema.shape, blocks)
        said = [*notes]
        if kept.observed is not None:
            gone = {column.name: int(np.isnan(column.values).sum()) for column in columns}
            self.forget()
            cells = count(sum(gone.values()), "missing value")
            said.append(f"{cells}: {some([f'{name} {n:,}' for name, n in gone.items() if n], 8)}.")
        if left := total - len(kept.x):
            said.append(f"{count(left, 'row')} without any value to model, left out.")
        return Dataset(kept.x, schema, kept.observed, numbers=kept.numbers, store=kept, notes=(*said, kept.note))

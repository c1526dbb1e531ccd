"""One door for all data: names, files, folders, arrays, frames, torch data sets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, UsageError, suggest
from .arrays import array_dataset, pick, read_idx, read_npy, read_npz
from .dataset import Dataset
from .images import open_folder
from .known import KNOWN, binarized, open_known
from .schema import Schema
from .table import Column, Picked, frame_column, keep, known_dataset, stem, table_dataset, text_column, wanted
from .text import read_text
from .words import reason

MISSING = ("", "NA", "NaN", "nan", "?", "null", "None")
ARRAY_NAME = re.compile(r"\.(npy|npz|idx|idx\.gz)$|-idx\d-[a-z]+(\.gz)?$")
TABLE_NAME = re.compile(r"\.(csv|tsv|txt)(\.gz)?$|\.parquet$")
KINDS = "digits, mnist, frey-faces, a folder of images, .npy, .npz, .idx, .csv, .tsv, .parquet"


def open_source(
    source: Any,
    *,
    columns: Picked = None,
    drop: Picked = None,
    header: str = "auto",
    labels: Any = None,
    missing: Sequence[str] = MISSING,
    sep: str | None = None,
    encoding: str = "utf-8",
    size: str | tuple[int, int] | None = None,
    binarize: str | None = None,
    schema: Schema | None = None,
) -> Dataset:
    """Return the rows of a source, checked, with what was decided in `notes`.

    source   "digits", "mnist", "frey-faces"; a file .npy .npz (or file.npz:key) .idx .csv .tsv .parquet;
             a folder of images; an array, a tensor, a data frame, a torch data set
    columns, drop   columns of a table to keep or leave out: names and 1-based ranges, "1-3,quality"
    header, sep, encoding, missing   how text tables are read; an empty cell is always missing
    labels   the column of a table, or the array (or its file) that labels the rows; it is not modelled
    size     "WxH": resize images, which otherwise must be of one size
    binarize "stochastic", "threshold", "fixed" (MNIST's published draw) or "none"
    schema   the schema of a model: the source is then new data for it, columns are matched by name

    Raises DataError for data that cannot be used, UsageError for options that do not fit the source.

    >>> data.open_source([[1.5, 2.0], [0.5, 4.0]]).schema.describe()
    'real arrays of shape (2,)'
    """
    options = {"--columns": columns, "--drop": drop, "--sep": sep, "--size": size}
    # new data are read as the model's were; a model of real numbers says nothing, then the option counts
    rule = binarize if schema is None else schema.binarize or binarize or "none"
    if isinstance(source, (str, Path)):
        data = _open_path(source, options, header, labels, tuple(missing), encoding, rule, schema)
    else:
        data = _open_object(source, options, labels, schema)
    if schema is not None:
        return data if data.schema is schema else _known_under(data, schema, str(source))
    return data if str(source) in KNOWN else binarized(data, binarize)


def _known_under(data: Dataset, schema: Schema, source: str) -> Dataset:
    """Return a known data set under the schema of a model that may treat its values otherwise."""
    fits = data.schema.shape == schema.shape and (data.schema.low, data.schema.high) == (
        schema.low,
        schema.high,
    )
    if not fits:
        raise DataError(f"{source}: {data.schema.describe()}; the model was trained on {schema.describe()}.")
    return replace(data, schema=schema, test=None if data.test is None else replace(data.test, schema=schema))


def _only(options: dict[str, Any], kind: str, *fitting: str) -> None:
    for name, value in options.items():
        if value is not None and name not in fitting:
            meant = "folders of images" if name == "--size" else "text tables" if name == "--sep" else "tables"
            raise UsageError(f"{name} applies to {meant}, not to {kind}.")


def _open_path(
    source: str | Path,
    options: dict[str, Any],
    header: str,
    labels: Any,
    missing: tuple[str, ...],
    encoding: str,
    binarize: str | None,
    schema: Schema | None,
) -> Dataset:
    if str(source) in KNOWN:
        _only(options, str(source))
        return open_known(str(source), binarize)
    path, key = _split_key(str(source))
    if path.is_dir():
        _only(options, "folders of images", "--size")
        return open_folder(path, options["--size"], schema)
    lower = path.name.lower()
    if not path.exists():
        hint = "Check the path." if "." in lower or "/" in str(source) else suggest(str(source), KNOWN).strip()
        raise DataError(f"no such file: {path}. {hint}")
    if ARRAY_NAME.search(lower):
        _only(options, "arrays")
        return _open_array_file(path, key, labels, schema)
    if lower.endswith(".parquet"):
        _only(options, "parquet files", "--columns", "--drop")
        return _open_frame(_read_parquet(path), stem(path), path.name, options, labels, schema)
    if TABLE_NAME.search(lower):
        _only(options, "tables", "--columns", "--drop", "--sep")
        frame, notes = read_text(path, header=header, sep=options["--sep"], encoding=encoding, missing=missing)
        data = _open_columns(
            path.name,
            stem(path),
            frame.columns,
            options,
            labels,
            schema,
            lambda name: text_column(path.name, name, frame[name]),
        )
        if isinstance(labels, str) and schema is None:
            data = replace(data, labels=_labels_of(frame[labels].to_numpy(), data))
        return replace(data, notes=(*notes, *data.notes))
    raise DataError(f"{path.name}: unknown kind of file. Known: {KINDS}.")


def _split_key(source: str) -> tuple[Path, str | None]:
    """Return the path and the key of "file.npz:key"."""
    cut = source.rfind(".npz:")
    return (Path(source[: cut + 4]), source[cut + 5 :]) if cut >= 0 else (Path(source), None)


def _open_array_file(path: Path, key: str | None, labels: Any, schema: Schema | None) -> Dataset:
    name = stem(path)
    given = _label_array(labels)
    if path.suffix.lower() == ".npz":
        x, own, test, own_test = pick(path, read_npz(path), key)
        data = array_dataset(name, x, schema, given if given is not None else own)
        if test is None:
            return data
        official = array_dataset(name, test, data.schema, own_test)
        return replace(data, test=replace(official, notes=()), notes=(*data.notes, "x_test is the official test part."))
    x = read_npy(path) if path.suffix.lower() == ".npy" else read_idx(path)
    return array_dataset(name, x, schema, given)


def _label_array(labels: Any) -> NDArray[Any] | None:
    """Return labels given as an array, or as the file of one."""
    if labels is None:
        return None
    if not isinstance(labels, (str, Path)):
        return np.asarray(labels)
    path, key = _split_key(str(labels))
    if path.suffix == ".npz":
        return pick(path, read_npz(path), key)[0]
    return read_npy(path) if path.suffix == ".npy" else read_idx(path)


def _read_parquet(path: Path) -> Any:
    import polars as pl

    try:
        return pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as parquet: {reason(error)}.") from None


def _open_object(source: Any, options: dict[str, Any], labels: Any, schema: Schema | None) -> Dataset:
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, (np.ndarray, list, tuple)):
        _only(options, "arrays")
        return array_dataset("array", np.asarray(source), schema, _label_array(labels))
    if hasattr(source, "toarray"):
        raise UsageError("sparse arrays are not read yet: pass source.toarray().")
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not hasattr(source, "columns"):
        _only(options, "torch data sets")
        return _open_torch(source, labels, schema)
    return _open_frame(source, "table", "the frame", options, labels, schema)


def _open_torch(source: Any, labels: Any, schema: Schema | None) -> Dataset:
    """Return the items of a map-style data set; of an item (x, y, ...) y is the label."""
    items = [source[i] for i in range(len(source))]
    if not items:
        raise DataError("the data set has no rows.")
    paired = isinstance(items[0], (tuple, list))
    try:
        x = np.stack([np.asarray(item[0] if paired else item) for item in items])
    except ValueError:
        raise DataError("the items of the data set differ in shape. Give them one shape.") from None
    own = np.array([np.asarray(item[1]) for item in items]) if paired and len(items[0]) > 1 else None
    if own is not None and own.ndim != 1:
        own = None
    return array_dataset(type(source).__name__, x, schema, _label_array(labels) if labels is not None else own)


def _open_frame(
    source: Any, name: str, shown: str, options: dict[str, Any], labels: Any, schema: Schema | None
) -> Dataset:
    import narwhals as nw

    try:
        frame = nw.from_native(source, eager_only=True)
    except TypeError:
        raise UsageError(
            f"a source of type {type(source).__name__} is not known. Known: {KINDS}, arrays, frames."
        ) from None
    if not len(frame):
        raise DataError(f"{shown} has no rows.")
    data = _open_columns(
        shown,
        name,
        frame.columns,
        options,
        labels,
        schema,
        lambda column: frame_column(shown, column, frame[column]),
    )
    if isinstance(labels, str) and schema is None:
        data = replace(data, labels=_labels_of(frame[labels].to_numpy(), data))
    return data


def _open_columns(
    shown: str,
    name: str,
    names: list[str],
    options: dict[str, Any],
    labels: Any,
    schema: Schema | None,
    read: Any,
) -> Dataset:
    if schema is not None:
        needed, extra = wanted(shown, schema, names)
        return known_dataset(shown, schema, [read(column) for column in needed], extra)
    kept = keep(names, options["--columns"], options["--drop"], labels if isinstance(labels, str) else None)
    columns: list[Column] = [read(column) for column in kept]
    given = None if labels is None or isinstance(labels, str) else np.asarray(labels)
    if given is not None and len(given) != len(columns[0].values):
        raise DataError(f"{shown}: {len(given):,} labels for {len(columns[0].values):,} rows.")
    return table_dataset(name, columns, given)


def _labels_of(values: NDArray[Any], data: Dataset) -> NDArray[Any]:
    """Return the labels of the rows that were kept: integers where all are, never Python objects."""
    kept = values if data.ids is None else values[data.ids - 1]
    if kept.dtype != object:
        return kept
    words = np.array(["" if word is None else str(word) for word in kept])
    try:
        return words.astype(np.int64)
    except ValueError:
        return words

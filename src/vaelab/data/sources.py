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
from .arff import read_arff
from .arrays import array_dataset, pick, read_idx, read_npy, read_npz
from .asked import Asked
from .columns import Cells, FrameCells, TextCells
from .conditions import conditioned
from .dataset import Dataset
from .images import open_folder
from .kinds import Asked as Kind
from .kinds import asked_kinds
from .known import KNOWN, binarized, open_known
from .large import large_array
from .large_text import TextColumns, is_large
from .reading import Reading
from .room import check_room, room_for_array, room_for_parquet, room_for_text
from .schema import Schema
from .spill import ParquetCells, Spill
from .stored import Cache
from .table import Picked, open_table
from .text import read_text
from .words import count

ARRAY_NAME = re.compile(r"\.(npy|npz|idx|idx\.gz)$|-idx\d-[a-z]+(\.gz)?$")
TABLE_NAME = re.compile(r"\.(csv|tsv|txt|arff)(\.gz)?$|\.parquet$")
KINDS = "digits, mnist, frey-faces, a folder of images, .npy, .npz, .idx, .csv, .tsv, .arff, .parquet"


def open_source(
    source: Any,
    *,
    columns: Picked = None,
    drop: Picked = None,
    column: Sequence[str] = (),
    columns_file: str | None = None,
    unseen: str | None = None,
    header: str | None = None,
    labels: Any = None,
    ids: str | None = None,
    condition: str | Sequence[str] | None = None,
    missing: Sequence[str] | None = None,
    inf_as_missing: bool | None = None,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    size: str | tuple[int, int] | None = None,
    fit: str | None = None,
    skip_bad: bool = False,
    binarize: str | None = None,
    cache: str = "auto",
    schema: Schema | None = None,
) -> Dataset:
    """Return the rows of a source, checked, with what was decided in `notes`.

    source   "digits", "mnist", "frey-faces"; a file .npy .npz (or file.npz:key) .idx .csv .tsv .arff .parquet;
             a folder of images; an array, a tensor, a data frame, a torch data set
    columns, drop   columns of a table to keep or leave out: names and 1-based ranges, "1-3,quality"
    column, columns_file   kinds of columns, ("age:count", "zip:category"), "*:auto" for all; a TOML file of them
    labels   the column of a table, or the array (or its file) that labels the rows; it is not modelled
    ids      the column of a table that names the rows; it is not modelled
    condition  "label", and columns of a table, "label,age": what a conditional model is given beside x
    skip_bad   leave out images that cannot be read, with a note; else they are refused
    binarize "stochastic", "threshold", "fixed" (MNIST's published draw) or "none"
    cache    where rows of more than 1 GB are kept on the disk: "auto" (the user's cache folder), "off", or a folder,
             which then takes rows of any size; see `data.stored`
    schema   the schema of a model: the source is then new data for it, columns are matched by name, and what is not
             given here is read as the model's data were
    the others: see `Reading`

    Raises DataError for data that cannot be used, UsageError for options that do not fit the source.

    >>> data.open_source([[1.5, 2.0], [0.5, 4.0]]).schema.describe()
    'real arrays of shape (2,)'
    """
    how = {
        "header": header,
        "sep": sep,
        "decimal": decimal,
        "encoding": encoding,
        "missing": missing,
        "inf_as_missing": inf_as_missing,
        "unseen": unseen,
        "size": size,
        "fit": fit,
        "ids": ids,
        "condition": tuple(condition.split(",")) if isinstance(condition, str) else condition,
        "labels": labels if isinstance(labels, str) and _is_table(source) else None,
    }
    given = {
        **how,
        "columns": columns,
        "drop": drop,
        "column": column or None,
        "columns_file": columns_file,
        "skip_bad": skip_bad or None,
    }
    # new data are read as the model's were; a model of real numbers says nothing, then the option counts
    rule = binarize if schema is None else schema.binarize or binarize or "none"
    reading = Reading.of(() if schema is None else schema.reading, **how)
    named = frozenset(name for name, value in given.items() if value is not None)
    kinds = asked_kinds(column, columns_file)
    asked = Asked(columns, drop, labels, skip_bad, rule, schema, reading, named, kinds, Cache.asked(cache))
    data = _open_path(source, asked) if isinstance(source, (str, Path)) else _open_object(source, asked)
    if schema is not None:
        data = data if data.schema is schema else _known_under(data, schema, str(source))
    elif str(source) not in KNOWN:
        data = binarized(data, binarize)
    return conditioned(data, reading.condition, data.schema.name) if reading.condition else data


def _known_under(data: Dataset, schema: Schema, source: str) -> Dataset:
    """Return a known data set under the schema of a model that may treat its values otherwise."""
    fits = data.schema.shape == schema.shape and (data.schema.low, data.schema.high) == (
        schema.low,
        schema.high,
    )
    if not fits:
        raise DataError(f"{source}: {data.schema.describe()}; the model was trained on {schema.describe()}.")
    return replace(data, schema=schema, test=None if data.test is None else replace(data.test, schema=schema))


def stem(path: Path) -> str:
    """Return the name of a file without folders and suffixes: "wine_red" of "data/wine_red.csv.gz"."""
    return Path(path.name.removesuffix(".gz")).stem


def _is_table(source: Any) -> bool:
    """Whether labels can be one of its columns: a text table, a parquet file, a data frame."""
    if isinstance(source, (str, Path)):
        return TABLE_NAME.search(str(source).lower()) is not None and not Path(source).is_dir()
    return hasattr(source, "columns")


def _open_path(source: str | Path, asked: Asked) -> Dataset:
    if str(source) in KNOWN:
        asked.only(str(source))
        return open_known(str(source), asked.binarize)
    path, key = _split_key(str(source))
    if path.is_dir():
        asked.only("folders of images", "folders of images")
        return open_folder(path, asked.reading, asked.schema, skip_bad=asked.skip_bad, cache=asked.cache)
    lower = path.name.lower()
    if not path.exists():
        hint = "Check the path." if "." in lower or "/" in str(source) else suggest(str(source), KNOWN).strip()
        raise DataError(f"no such file: {path}. {hint}")
    if ARRAY_NAME.search(lower):
        asked.only("arrays", "tables and arrays")
        return _open_array_file(path, key, asked)
    if lower.endswith(".parquet"):
        asked.only("parquet files", "tables", "tables and arrays")
        how = (asked.columns, asked.drop, asked.kinds)
        spill = None if asked.cache is None else Spill(asked.cache, path, *how)
        if spill is None or asked.schema is not None:
            check_room(path, room_for_parquet(path))
        return _open_cells(stem(path), ParquetCells(path, asked.reading), asked, spill)
    if TABLE_NAME.search(lower):
        asked.only("tables", "tables", "text tables", "tables and arrays")
        if ".arff" not in lower and asked.cache and asked.schema is None and is_large(path, asked.reading, asked.cache):
            how = (asked.columns, asked.drop, asked.kinds)
            with TextColumns(asked.cache, path, asked.reading) as columns:
                cells = TextCells(path.name, columns, asked.reading)
                data = _open_cells(stem(path), cells, asked, Spill(asked.cache, path, *how))
            return replace(data, notes=(*columns.notes, *data.notes))
        declared: dict[str, Kind] = {}
        check_room(path, room_for_text(path))
        if ".arff" in lower:
            frame, notes, declared = read_arff(path, asked.reading)
        else:
            frame, notes = read_text(path, asked.reading)
        asked = replace(asked, kinds={**declared, **asked.kinds})
        data = _open_cells(stem(path), TextCells(path.name, frame, asked.reading), asked)
        return replace(data, notes=(*notes, *data.notes))
    raise DataError(f"{path.name}: unknown kind of file. Known: {KINDS}.")


def _split_key(source: str) -> tuple[Path, str | None]:
    """Return the path and the key of "file.npz:key"."""
    cut = source.rfind(".npz:")
    return (Path(source[: cut + 4]), source[cut + 5 :]) if cut >= 0 else (Path(source), None)


def _open_array_file(path: Path, key: str | None, asked: Asked) -> Dataset:
    name, given, missing = stem(path), _label_array(asked.labels), asked.reading.inf_as_missing
    if path.suffix.lower() == ".npz":
        x, own, test, own_test = pick(path, read_npz(path), key)
        labels = given if given is not None else own
        data = array_dataset(name, x, asked.schema, labels, inf_as_missing=missing)
        if test is None:
            return data
        official = array_dataset(name, test, data.schema, own_test, inf_as_missing=missing)
        return replace(data, test=replace(official, notes=()), notes=(*data.notes, "x_test is the official test part."))
    if path.suffix.lower() == ".npy" and asked.cache is not None and asked.schema is None:
        large = large_array(asked.cache, path, name, given, inf_as_missing=missing)
        if large is not None:
            return large
    check_room(path, room_for_array(path))
    x = read_npy(path) if path.suffix.lower() == ".npy" else read_idx(path)
    return array_dataset(name, x, asked.schema, given, inf_as_missing=missing)


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


def _open_object(source: Any, asked: Asked) -> Dataset:
    if isinstance(source, torch.Tensor):
        source = source.detach().cpu().numpy()
    if isinstance(source, (np.ndarray, list, tuple)):
        asked.only("arrays", "tables and arrays")
        labels = _label_array(asked.labels)
        return array_dataset(
            "array", np.asarray(source), asked.schema, labels, inf_as_missing=asked.reading.inf_as_missing
        )
    if hasattr(source, "toarray"):
        raise UsageError("sparse arrays are not read yet: pass source.toarray().")
    if hasattr(source, "__getitem__") and hasattr(source, "__len__") and not hasattr(source, "columns"):
        asked.only("torch data sets")
        return _open_torch(source, asked)
    return _open_frame(source, "table", "the frame", asked)


def _open_torch(source: Any, asked: Asked) -> Dataset:
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
    labels = _label_array(asked.labels) if asked.labels is not None else own
    return array_dataset(type(source).__name__, x, asked.schema, labels)


def _open_frame(source: Any, name: str, shown: str, asked: Asked) -> Dataset:
    import narwhals as nw

    try:
        frame = nw.from_native(source, eager_only=True)
    except TypeError:
        raise UsageError(
            f"a source of type {type(source).__name__} is not known. Known: {KINDS}, arrays, frames."
        ) from None
    except nw.exceptions.DuplicateError as error:
        raise DataError(f"{shown}: {' '.join(str(error).split())}. Rename one.") from None
    return _open_cells(name, FrameCells(shown, frame, asked.reading), asked)


def _open_cells(name: str, cells: Cells, asked: Asked, spill: Spill | None = None) -> Dataset:
    data = open_table(name, cells, asked.columns, asked.drop, asked.schema, asked.kinds, spill)
    labels = None if isinstance(asked.labels, str) else asked.labels
    if labels is None:
        return data
    if len(labels) != len(cells):
        raise DataError(f"{cells.source}: {count(len(labels), 'label')} for {count(len(cells), 'row')}.")
    return replace(data, labels=np.asarray(labels)[data.row_numbers - 1])

"""Places in the latent space, read from a file that `encode` wrote or that a user made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .arrays import pick, read_npy, read_npz
from .words import reason, show


def read_codes(path: str | Path, latent_dim: int) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
    """Return z (N, latent_dim) and the other columns of its rows, such as ids and labels.

    .npy: the array; .npz: its key "z" (or its only array); .csv and .parquet: the columns z0, z1, ...; deviations (sd0,
    ...) are left out. Raises DataError naming what is missing or not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no such file: {path}. Give codes as .csv, .parquet, .npy or .npz.")
    beside: dict[str, NDArray[Any]] = {}
    if path.suffix == ".npy":
        z = read_npy(path)
    elif path.suffix == ".npz":
        arrays = read_npz(path)
        z = pick(path, arrays, "z" if "z" in arrays else None)[0]
        beside = {name: a for name, a in arrays.items() if a.ndim == 1 and len(a) == len(z)}
    else:
        z, beside = _of_columns(path, latent_dim)
    z = np.asarray(z)
    if z.ndim != 2 or z.shape[1] != latent_dim or z.dtype.kind not in "fiu":
        raise DataError(f"{path.name}: {z.dtype} {z.shape} are no codes of this model: it needs (rows, {latent_dim}).")
    z = z.astype(np.float64)
    bad = np.argwhere(~np.isfinite(z))
    if len(bad):
        row, dimension = bad[0]
        raise DataError(f"{path.name}: z{dimension} in row {row + 1} is {z[row, dimension]}: expected a finite number.")
    return z, beside


def _of_columns(path: Path, latent_dim: int) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    import polars as pl

    try:
        frame = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{path.name} cannot be read as codes: {reason(error)}.") from None
    names, deviations = [[f"{kind}{i}" for i in range(latent_dim)] for kind in ("z", "sd")]
    for name in names:
        if name not in frame.columns:
            raise DataError(
                f"{path.name}: no column {name}: the model's codes are the columns z0 to z{latent_dim - 1}."
            )
        if not frame[name].dtype.is_numeric():
            raise DataError(f"{path.name}: column {show(name)} holds {frame[name].dtype}: expected numbers.")
    if f"z{latent_dim}" in frame.columns:
        raise DataError(f"{path.name}: has a column z{latent_dim}, but the model has {latent_dim} latent dimensions.")
    others = [name for name in frame.columns if name not in (*names, *deviations)]
    return frame.select(names).cast(pl.Float64).to_numpy(), {name: frame[name].to_numpy() for name in others}

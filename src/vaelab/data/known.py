"""Data sets known by name: digits (bundled), MNIST and the Frey faces."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from .arrays import image_dataset, read_idx, read_npz
from .dataset import Dataset
from .schema import BINARIZATIONS, Schema

KNOWN = ("digits", "mnist", "frey-faces")


def find(relative: str) -> Path | None:
    """Return a file in the folders that the environment variable VAELAB_DATA lists, or None."""
    folders = [Path(folder) for folder in os.environ.get("VAELAB_DATA", "").split(os.pathsep) if folder]
    return next((folder / relative for folder in folders if (folder / relative).is_file()), None)


def open_known(name: str, binarize: str | None) -> Dataset:
    """Return a known data set; MNIST is binarised stochastically unless told otherwise ("none": 0..255)."""
    check_rule(binarize)
    if name == "mnist":
        return _mnist_fixed() if binarize == "fixed" else binarized(_mnist(), binarize or "stochastic")
    data = _digits() if name == "digits" else _frey_faces()
    return binarized(data, binarize)


def check_rule(how: str | None) -> None:
    """Raise UsageError for an unknown rule, before any data are sought."""
    if how not in (None, "none", *BINARIZATIONS):
        raise UsageError(f"--binarize {how}: expected stochastic, threshold, fixed or none.")


def binarized(data: Dataset, how: str | None) -> Dataset:
    """Return integer images with a rule that makes grey values 0 or 1; None and "none" leave them.

    Raises UsageError for an unknown rule, for "fixed" (a published draw, of MNIST only), and for other data.
    """
    if how is None or how == "none":
        return data
    if how == "fixed":
        raise UsageError(
            f"--binarize fixed is the published draw of MNIST; {data.schema.name} has none. Use stochastic."
        )
    check_rule(how)
    if data.schema.layout != "image" or data.schema.values != "integer":
        raise UsageError(f"--binarize {how}: {data.schema.name} is {data.schema.describe()}, not grey values.")
    schema = data.schema.replace(values="binary", binarize=how)
    note = {
        "stochastic": "pixels are drawn to 0 or 1 afresh at every use, with probability value/maximum.",
        "threshold": "pixels above half of the maximum are 1, others 0.",
    }[how]
    test = None if data.test is None else replace(data.test, schema=schema)
    return replace(data, schema=schema, notes=(*data.notes, note), test=test)


def _digits() -> Dataset:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    schema = Schema(name="digits", layout="image", shape=(8, 8), values="integer", low=0, high=16)
    return Dataset(torch.from_numpy(bunch.images.astype(np.uint8)), schema, labels=bunch.target)


def _frey_faces() -> Dataset:
    path = find("frey_faces/frey_faces.npz")
    if path is None:
        raise DataError("frey-faces: no frey_faces/frey_faces.npz. Set VAELAB_DATA to a folder that holds it.")
    note = "consecutive video frames: a random split leaves neighbours of training frames in validation."
    return image_dataset("frey-faces", read_npz(path)["images"], (note,))


def _mnist() -> Dataset:
    parts = [find(f"mnist/{stem}-idx{dims}-ubyte.gz") for stem, dims in _MNIST_FILES]
    found = [path for path in parts if path is not None]
    x, y, x_test, y_test = [read_idx(path) for path in found] if len(found) == len(parts) else _fetch_mnist()
    test = image_dataset("mnist", x_test, labels=y_test)
    return image_dataset("mnist", x, labels=y, test=test)


_MNIST_FILES = (("train-images", 3), ("train-labels", 1), ("t10k-images", 3), ("t10k-labels", 1))


def _fetch_mnist() -> list[NDArray[Any]]:
    from sklearn.datasets import fetch_openml

    try:
        x, y = fetch_openml("mnist_784", version=1, parser="liac-arff", as_frame=False, return_X_y=True)
    except OSError as error:
        raise DataError(
            f"mnist cannot be fetched from openml.org ({type(error).__name__}). "
            "Set VAELAB_DATA to a folder that holds mnist/train-images-idx3-ubyte.gz and its companions."
        ) from error
    images, labels = x.reshape(-1, 28, 28).astype(np.uint8), y.astype(np.uint8)
    return [images[:60000], labels[:60000], images[60000:], labels[60000:]]


def _mnist_fixed() -> Dataset:
    path = find("mnist/fixed_binarised.npz")
    if path is None:
        raise DataError("mnist: no mnist/fixed_binarised.npz. Set VAELAB_DATA to its folder, or use stochastic.")
    packed = read_npz(path)
    schema = Schema(name="mnist", layout="image", shape=(28, 28), values="binary", low=0, high=1, binarize="fixed")
    train, test = (
        torch.from_numpy(np.unpackbits(packed[key], axis=1).reshape(-1, 28, 28)) for key in ("x_train", "x_test")
    )
    note = "the published draw (Salakhutdinov & Murray 2008), in its own order and without labels."
    return Dataset(train, schema, test=Dataset(test, schema), notes=(note,))

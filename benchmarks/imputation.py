"""Gaps filled by the recipe miwae-missing as it comes, and by the usual methods; see benchmarks/tables.py."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.preprocessing import OneHotEncoder

import vaelab
from results import Results
from vaelab.data import open_source

Array = np.ndarray
Fill = Callable[[pl.DataFrame, int], pl.DataFrame]  # a frame with gaps, a seed -> the frame without
NAMES = {  # file, columns that are left out: the class that papers on imputation leave out too
    "banknote": ("banknote.csv.gz", ["forged"]),
    "WDBC": ("breast_cancer_wdbc.csv.gz", ["benign"]),
    "red wine": ("wine_red.csv.gz", ["quality"]),
    "white wine": ("wine_white.csv.gz", ["quality"]),
    "credit approval": ("credit_approval.arff.gz", []),
    "titanic": ("titanic.csv.gz", []),
    "adult, 2,000 rows": ("adult_train.csv.gz", []),
}
PEER = Path(__file__).parent / "peers" / "hyperimpute_fill.py"
ROUNDS = 5  # of the forests, at most


def tables(only: str = "") -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the name and the whole frame of each data set; numbers are floats, all else words."""
    folder = Path(os.environ["VAELAB_DATA"]) / "tables"
    for name, (file, left_out) in NAMES.items():
        if only not in name:
            continue
        data = open_source(str(folder / file), column=("*:auto",))
        frame = vaelab.data.write.as_table(data.x, data.schema).drop(left_out)
        frame = frame.with_columns(pl.selectors.numeric().cast(pl.Float64), pl.selectors.boolean().cast(pl.String))
        yield name, frame.head(2000) if name.startswith("adult") else frame


def words_of(frame: pl.DataFrame) -> list[str]:
    """Return the names of the columns that hold words."""
    return [name for name, kind in frame.schema.items() if kind == pl.String]


def at_random(frame: pl.DataFrame, seed: int) -> Array:
    """Return which cells are taken away: half of them, at random."""
    return np.random.default_rng(seed).random(frame.shape) < 0.5


def self_masked(frame: pl.DataFrame, seed: int) -> Array:
    """Return which cells are taken away: in the first half of the number columns all above the mean (Ipsen 2021)."""
    gone = np.zeros(frame.shape, dtype=bool)
    numbers = [i for i, kind in enumerate(frame.dtypes) if kind.is_float()]
    for i in numbers[: len(numbers) // 2]:
        column = frame.to_series(i)
        gone[:, i] = (column > column.mean()).fill_null(False).to_numpy()
    return gone


def without(frame: pl.DataFrame, gone: Array) -> pl.DataFrame:
    """Return the frame with these cells empty."""
    return pl.DataFrame([c.set(pl.Series(gone[:, i]), None) for i, c in enumerate(frame.get_columns())])


def error(truth: pl.DataFrame, filled: pl.DataFrame, gone: Array) -> float:
    """Root of the mean over columns of their error on the cells that were taken away and are known.

    Of numbers the squared error over the column's variance, of words the share of wrong ones over that of the most
    frequent word: 1 is what mean and mode reach. Where all columns are numbers it is the RMSE of standardised columns.
    """
    each = []
    for i, column in enumerate(truth.get_columns()):
        judged = gone[:, i] & column.is_not_null().to_numpy()
        if not judged.any():
            continue
        right, said = column.filter(pl.Series(judged)), filled[column.name].filter(pl.Series(judged))
        if column.dtype == pl.String:
            wrong = 1 - column.drop_nulls().value_counts()["count"].max() / column.count()
            each.append((right != said).mean() / wrong)
        else:
            each.append(((right - said) ** 2).mean() / (column.var(ddof=0) or 1))
    return float(np.sqrt(np.mean(each)))


def by_means(frame: pl.DataFrame, seed: int = 0) -> pl.DataFrame:
    """Fill by the mean of the column, or its most frequent word."""
    best = {c.name: c.drop_nulls().mode().sort()[0] if c.dtype == pl.String else c.mean() for c in frame.get_columns()}
    return frame.with_columns(pl.col(name).fill_null(value) for name, value in best.items())


def by_numbers(imputer: Callable[[int], object]) -> Fill:
    """Return a filler of numbers for words too: standardised numbers, unit vectors of words, and back."""

    def fill(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
        blocks, places = [], {}
        for column in frame.get_columns():
            begin = sum(block.shape[1] for block in blocks)
            empty = column.is_null().to_numpy()
            if column.dtype == pl.String:
                words = OneHotEncoder(sparse_output=False).fit(column.drop_nulls().to_numpy()[:, None])
                block = np.full((len(column), len(words.categories_[0])), np.nan)
                block[~empty] = words.transform(column.drop_nulls().to_numpy()[:, None])
                places[column.name] = begin, words.categories_[0]
            else:
                block = ((column - column.mean()) / column.std()).to_numpy()[:, None]
                places[column.name] = begin, (column.mean(), column.std())
            blocks.append(block)
        x = imputer(seed).fit_transform(np.concatenate(blocks, 1))
        out = []
        for column in frame.get_columns():
            begin, known = places[column.name]
            if column.dtype == pl.String:
                said = pl.Series(np.array(known)[x[:, begin : begin + len(known)].argmax(1)].astype(str))
            else:
                said = pl.Series(x[:, begin] * known[1] + known[0])
            out.append(column.fill_null(said).alias(column.name))
        return pl.DataFrame(out)

    return fill


def by_forests(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """missForest (Stekhoven & Bühlmann 2012): 100 trees a column, until fillings move apart again."""
    now, moved = by_means(frame), np.inf
    order = sorted(frame.columns, key=lambda name: frame[name].null_count())
    for _ in range(ROUNDS):
        before = now
        for name in order:
            empty = frame[name].is_null()
            if not empty.any():
                continue
            others = np.stack([_as_codes(now[other]) for other in frame.columns if other != name], 1)
            kind = RandomForestClassifier if frame[name].dtype == pl.String else RandomForestRegressor
            # a third of the columns for numbers, the root for words: the defaults of R's randomForest
            forest = kind(100, max_features=1 / 3 if kind is RandomForestRegressor else "sqrt", random_state=seed)
            forest.fit(others[~empty.to_numpy()], frame[name].drop_nulls().to_numpy())
            said = pl.Series(forest.predict(others[empty.to_numpy()]))
            now = now.with_columns(now[name].scatter(empty.arg_true(), said))
        gone = np.stack([frame[name].is_null().to_numpy() for name in frame.columns], 1)
        step = error(now, before, gone)
        if step >= moved:
            return before
        moved = step
    return now


def _as_codes(column: pl.Series) -> Array:
    return column.rank("dense").to_numpy() if column.dtype == pl.String else column.to_numpy()


def by_vae(**options: object) -> Fill:
    """Return a filler by `vaelab.train(frame, **options)` and `impute`."""

    def fill(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
        run = vaelab.train(frame, seed=seed, threads=1, progress="off", **options)
        said = run.frame(run.impute(frame, samples=500, seed=seed).values)
        known = [name for name in frame.columns if name in said.columns]
        filled = frame.with_columns(frame[name].fill_null(said[name].cast(frame[name].dtype)) for name in known)
        return by_means(filled)  # of a column that is not modelled

    return fill


def by_peer(python: str) -> Fill:
    """Return a filler by HyperImpute, run by another Python; a column that it gives back empty is left to the mean."""

    def fill(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
        with tempfile.TemporaryDirectory() as folder:
            source, target = f"{folder}/in.csv", f"{folder}/out.csv"
            frame.write_csv(source)
            subprocess.run([python, str(PEER), source, target, str(seed)], check=True, capture_output=True)
            said = pl.read_csv(target, schema_overrides=frame.schema)
        return by_means(frame.with_columns(frame[name].fill_null(said[name]) for name in frame.columns))

    return fill


def spent() -> float:
    """Return the seconds of processor time of this process and of those it has started, which have ended."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


METHODS: dict[str, Fill] = {
    "mean, mode": by_means,
    "kNN": by_numbers(lambda seed: KNNImputer()),
    "IterativeImputer": by_numbers(lambda seed: IterativeImputer(max_iter=30, random_state=seed)),
    "forests": by_forests,
    "miwae-missing": by_vae(recipe="miwae-missing"),
    "not-miwae": by_vae(recipe="not-miwae"),
    "not-miwae, told": by_vae(recipe="not-miwae", missingness="self-masking:direction=high"),
}
WAYS = {"at random": at_random, "self-masking": self_masked}


def suits(method: str, name: str, way: str) -> bool:
    """Return whether a method is meant for such gaps; Adult's numbers are whole or have spikes, and cannot hide."""
    return not method.startswith("not-miwae") or (way == "self-masking" and not name.startswith("adult"))


def imputation(seeds: int, only: str, results: Results, methods: str = "", peers: str | None = None) -> None:
    """Print the errors of each data set and way, and the seconds of processor time."""
    known = METHODS | ({"HyperImpute": by_peer(peers)} if peers else {})
    chosen = [name for name in known if not methods or name in methods.split(";")]
    print(f"| data | gaps | {' | '.join(chosen)} |\n|---|---|{'---|' * len(chosen)}")
    for name, frame in tables(only):
        for way, take in WAYS.items():
            cells = []
            for method in chosen:
                found, fill = [], known[method]
                for seed in range(seeds if suits(method, name, way) else 0):
                    gone = take(frame, seed)

                    def judge(fill: Fill = fill, seed: int = seed, gone: Array = gone) -> dict[str, float]:
                        began = spent()
                        with warnings.catch_warnings():
                            warnings.simplefilter("ignore", ConvergenceWarning)
                            filled = fill(without(frame, gone), seed)  # noqa: B023
                        seconds = spent() - began
                        return {"error": error(frame, filled, gone), "seconds": seconds}  # noqa: B023

                    found.append(results.once(["imputation", name, way, method, seed], judge))
                cells.append(results.cell(found, "error"))
            print(f"| {name} | {way} | {' | '.join(cells)} |", flush=True)
    print(f"\nSeconds of processor time: {results.spent('imputation', chosen)}.")

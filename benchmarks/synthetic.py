"""Synthetic rows of Adult by `vaelab train`, and by TVAE and CTGAN, as they come; see benchmarks/tables.py."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from itertools import combinations
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.ensemble import AdaBoostClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

import vaelab
from imputation import spent
from results import Figures, Results

NAMES = (
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation", "relationship"),
    *("race", "sex", "capital_gain", "capital_loss", "hours_per_week", "native_country", "income"),
)
NUMBERS = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
TARGET, POSITIVE = "income", ">50K"
PEER = Path(__file__).parent / "peers" / "ctgan_rows.py"
BINS = 10
# chosen with 80 % of the training rows to train on and 20 % to judge; the test rows took no part
OURS: dict[str, dict[str, object]] = {"vaelab": {}, "vaelab, chosen": {"prior": "mixture", "batch_size": 200}}


def adult(part: str) -> pl.DataFrame:
    """Return the rows of one part of UCI Adult; an unknown word is the word "?", as the peers need it.

    The files end with an empty line, which is no row.
    """
    path = Path(os.environ["VAELAB_DATA"]) / "tables" / f"adult_{part}.csv.gz"
    rows = pl.read_csv(path, has_header=False, new_columns=list(NAMES), infer_schema=False).drop_nulls()
    rows = rows.with_columns(pl.all().str.strip_chars().str.strip_suffix("."))
    return rows.with_columns(pl.col(name).cast(pl.Int64) for name in NUMBERS)


def classifiers(seed: int) -> list[object]:
    """Return the four of SDGym (Xu et al. 2019, section 5)."""
    return [
        DecisionTreeClassifier(max_depth=20, class_weight="balanced", random_state=seed),
        AdaBoostClassifier(random_state=seed),
        LogisticRegression(class_weight="balanced", max_iter=50),
        MLPClassifier((50,), max_iter=50, random_state=seed),
    ]


def features(rows: pl.DataFrame, real: pl.DataFrame) -> np.ndarray:
    """Return standardised numbers and unit vectors of words, as the real training rows have them."""
    out = []
    for column in real.drop(TARGET).get_columns():
        here = rows[column.name]
        if column.dtype == pl.String:
            out += [(here == word).to_numpy().astype(float)[:, None] for word in column.unique().sort()]
        else:
            out.append(((here.cast(pl.Float64) - column.mean()) / column.std()).to_numpy()[:, None])
    return np.concatenate(out, 1)


def utility(made: pl.DataFrame, real: pl.DataFrame, test: pl.DataFrame, seed: int) -> float:
    """Return the mean F1 on real test rows of classifiers trained on these rows."""
    truth, here = (test[TARGET] == POSITIVE).to_numpy(), (made[TARGET] == POSITIVE).to_numpy()
    if len(set(here)) < 2:
        return 0.0
    x, x_test, scores = features(made, real), features(test, real), []
    for classifier in classifiers(seed):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            scores.append(f1_score(truth, classifier.fit(x, here).predict(x_test)))
    return float(np.mean(scores))


def coded(rows: pl.DataFrame, real: pl.DataFrame) -> dict[str, np.ndarray]:
    """Return columns as codes: words as places in the real list, numbers as the tenth of the real ones they lie in."""
    out = {}
    for column in real.get_columns():
        here = rows[column.name]
        if column.dtype == pl.String:
            words = {word: i for i, word in enumerate(column.unique().sort())}
            out[column.name] = np.array([words.get(word, len(words)) for word in here])
        else:
            edges = np.unique(np.quantile(column.to_numpy(), np.linspace(0, 1, BINS + 1)[1:-1]))
            out[column.name] = np.searchsorted(edges, here.cast(pl.Float64).to_numpy())
    return out


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """Return the total variation between two samples of codes."""
    size = int(max(a.max(), b.max())) + 1
    return float(abs(np.bincount(a, minlength=size) / len(a) - np.bincount(b, minlength=size) / len(b)).sum() / 2)


def judged(made: pl.DataFrame, real: pl.DataFrame, test: pl.DataFrame, seed: int) -> Figures:
    """Return F1, the mean total variation of columns and of pairs of them, and the share of exact copies."""
    ours, theirs = coded(made, real), coded(test, real)
    pairs = [apart(ours[i] * 1000 + ours[j], theirs[i] * 1000 + theirs[j]) for i, j in combinations(real.columns, 2)]
    known = set(real.rows())
    return {
        "F1": utility(made, real, test, seed),
        "columns": float(np.mean([apart(ours[name], theirs[name]) for name in real.columns])),
        "pairs": float(np.mean(pairs)),
        "copies": sum(row in known for row in made.rows()) / len(made),
    }


def by_vae(name: str, real: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, float]:
    """Return as many rows from a model trained with one of `OURS`, and the seconds of processor time it took.

    In a process of its own that has no compiled step yet, and whose compilers' time is counted.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, get_context("spawn"), settle, (folder,)) as one,
    ):
        return one.submit(trained, name, real, seed).result()


def settle(folder: str) -> None:
    """Make this process compile by itself, into this folder."""
    os.environ |= {"TORCHINDUCTOR_CACHE_DIR": folder, "TORCHINDUCTOR_COMPILE_THREADS": "1"}


def trained(name: str, real: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, float]:
    """Return rows and seconds, as `by_vae` does."""
    began = spent()
    run = vaelab.train(real, seed=seed, threads=1, progress="off", **OURS[name])
    seconds = spent() - began
    made = run.frame(run.generate(len(real), seed=seed))
    return made.select(pl.col(name).cast(kind) for name, kind in real.schema.items()), seconds


def by_peer(name: str, python: str, real: pl.DataFrame, seed: int) -> tuple[pl.DataFrame, float]:
    """Return as many rows from TVAE or CTGAN, run by another Python, and the seconds of processor time it took."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = f"{folder}/train.csv", f"{folder}/made.csv"
        real.write_csv(source)
        done = subprocess.run(
            [python, str(PEER), name, source, target, str(seed)], check=True, capture_output=True, text=True
        )
        made = pl.read_csv(target, schema_overrides=real.schema)
    return made, float(done.stdout.split()[-1])


def synthetic(seeds: int, only: str, results: Results, peers: str | None = None, rows: int | None = None) -> None:
    """Print the figures of real rows, of a VAE's, and of the peers' where their Python is given."""
    real, test = adult("train").head(rows or 10**9), adult("test")
    methods = ["other real rows", *OURS, *(["TVAE", "CTGAN"] if peers else [])]
    names = ("F1", "columns", "pairs", "copies", "seconds")
    print(f"| rows | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for method in methods:
        if only not in method:
            continue
        found = []
        for seed in range(seeds):

            def judge(method: str = method, seed: int = seed) -> Figures:
                if method == "other real rows":
                    return judged(real, real, test, seed) | {"seconds": 0.0, "copies": copies_among(test, real)}
                made, seconds = (
                    by_vae(method, real, seed) if method in OURS else by_peer(method, str(peers), real, seed)
                )
                return judged(made, real, test, seed) | {"seconds": seconds}

            found.append(results.once(["synthetic", len(real), method, seed], judge))
        print(f"| {method} | {' | '.join(results.cell(found, name) for name in names)} |", flush=True)


def copies_among(rows: pl.DataFrame, real: pl.DataFrame) -> float:
    """Return the share of rows that occur among the real ones."""
    known = set(real.rows())
    return sum(row in known for row in rows.rows()) / len(rows)


if __name__ == "__main__":
    sys.exit("run benchmarks/tables.py synthetic")

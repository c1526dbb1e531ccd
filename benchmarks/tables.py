"""Real tables: what a VAE finds in them, beside the usual methods, in one run. Prints Markdown tables.

    python benchmarks/tables.py anomalies|imputation|synthetic [--seeds 5] [--only wine] [--work FOLDER]

anomalies   ROC AUC of `OutlierVAE` as it comes, IsolationForest and LocalOutlierFactor on labelled sets that come with
            scikit-learn. No method sees a label, and none was tuned. "novelty": fitted on 70 % of the normal rows,
            judged on the others and all outliers; "contaminated": fitted and judged on all normal rows with outliers
            among them, one for ten. LOF gets standardised columns (pixels as they are). Standard errors over seeds.
imputation  half of all cells taken away at random, or by their own values; `--recipe miwae-missing` as it comes, and
            mean, nearest neighbours, IterativeImputer and forests as they come. No method sees what was taken away, and
            none was tuned on it. Needs VAELAB_DATA. HyperImpute by a Python that has it, `--peers`:
            python -m venv V && V/bin/pip install hyperimpute==0.1.17 'pandas<3' 'scikit-learn<1.7', with a torch there.

synthetic   as many rows as Adult has for training, drawn from a model of them: F1 on the real test rows of classifiers
            trained on the drawn ones, total variation of columns and of pairs of them (numbers in tenths) from the test
            rows, exact copies of training rows, seconds of processor time. TVAE and CTGAN by a Python that has them,
            `--peers`: python -m venv V && V/bin/pip install ctgan==0.12.*. `--rows` takes the first rows alone.

With --work what was found is kept in FOLDER, and a run that is stopped goes on; --limit ends it after so many seconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits, load_wine
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from vaelab.estimator import OutlierVAE

sys.path.insert(0, str(Path(__file__).parent))
from results import Figures, Results

Array = np.ndarray
Detector = Callable[[int, bool], Any]  # seed, whether all columns share one unit -> an estimator

METHODS: dict[str, Detector] = {
    "OutlierVAE": lambda seed, shared: OutlierVAE(random_state=seed),
    "OutlierVAE, trim=False": lambda seed, shared: OutlierVAE(trim=False, random_state=seed),
    "IsolationForest": lambda seed, shared: IsolationForest(random_state=seed),
    "LOF": lambda seed, shared: make_pipeline(
        FunctionTransformer() if shared else StandardScaler(), LocalOutlierFactor(novelty=True)
    ),
}


def labelled_sets() -> Iterator[tuple[str, list[tuple[Array, Array]], bool]]:
    """Yield name, (normal rows, outliers) of each problem in it, and whether all columns share one unit."""
    x, y = load_breast_cancer(return_X_y=True)
    yield "breast cancer: malignant", [(x[y == 1], x[y == 0])], False
    x, y = load_wine(return_X_y=True)
    yield "wine: one cultivar among two", [(x[y != c], x[y == c]) for c in range(3)], False
    yield "wine: two cultivars around one", [(x[y == c], x[y != c]) for c in range(3)], False
    x, y = load_digits(return_X_y=True)
    yield "digits: nine around one", [(x[y == c], x[y != c]) for c in range(10)], True


def novelty(normal: Array, outliers: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return rows to fit, rows to judge, and which of those are outliers."""
    order = rng.permutation(len(normal))
    cut = round(0.7 * len(normal))
    judged = np.concatenate([normal[order[cut:]], outliers])
    return normal[order[:cut]], judged, np.arange(len(judged)) >= len(normal) - cut


def contaminated(normal: Array, outliers: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Return all normal rows with a tenth as many outliers, to fit and to judge."""
    some = outliers[rng.permutation(len(outliers))[: max(1, len(normal) // 10)]]
    x = np.concatenate([normal, some])
    order = rng.permutation(len(x))
    return x[order], x[order], order >= len(normal)


def area(method: Detector, seed: int, shared: bool, fitted: Array, judged: Array, outlier: Array) -> float:
    """Return the ROC AUC of one detector."""
    scores = method(seed, shared).fit(fitted).score_samples(judged)
    return float(roc_auc_score(outlier, -scores))


def anomalies(seeds: int, only: str, results: Results) -> None:
    """Print the table of areas."""
    print(f"| data | rows | {' | '.join(METHODS)} |\n|---|---|{'---|' * len(METHODS)}")
    for name, problems, shared in labelled_sets():
        if only not in name:
            continue
        for how in (novelty, contaminated):
            cells = []
            for method, make in METHODS.items():

                def judge(seed: int, how: Any = how, make: Detector = make, problems: Any = problems) -> Figures:
                    began = time.process_time()
                    areas = [area(make, seed, shared, *how(*p, np.random.default_rng(seed))) for p in problems]  # noqa: B023
                    return {"area": float(np.mean(areas)), "seconds": time.process_time() - began}

                key = ["anomalies", name, how.__name__, method]
                found = [results.once([*key, seed], partial(judge, seed)) for seed in range(seeds)]
                cells.append(results.cell(found, "area"))
            print(f"| {name} | {how.__name__} | {' | '.join(cells)} |", flush=True)
    print(f"\nSeconds of processor time: {results.spent('anomalies', METHODS)}.")


def imputation(seeds: int, only: str, results: Results, methods: str = "", peers: str | None = None) -> None:
    """Print the table of errors of filled gaps."""
    from imputation import imputation

    imputation(seeds, only, results, methods, peers)


def synthetic(seeds: int, only: str, results: Results, peers: str | None = None, rows: int | None = None) -> None:
    """Print the table of synthetic rows."""
    from synthetic import synthetic

    synthetic(seeds, only, results, peers, rows)


PARTS = {"anomalies": anomalies, "imputation": imputation, "synthetic": synthetic}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("part", choices=PARTS)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--only", default="", help="part of a name")
    options.add_argument("--work", default=None, help="where results are kept")
    options.add_argument("--limit", type=float, default=float("inf"), help="seconds of processor time")
    options.add_argument("--methods", default="", help="imputation: these alone, 'kNN;forests'")
    options.add_argument("--peers", default=None, help="a Python that has ctgan, or hyperimpute")
    options.add_argument("--rows", type=int, default=None, help="synthetic: so many training rows")
    asked = options.parse_args()
    more = {
        "anomalies": {},
        "imputation": {"methods": asked.methods, "peers": asked.peers},
        "synthetic": {"peers": asked.peers, "rows": asked.rows},
    }
    PARTS[asked.part](asked.seeds, asked.only, Results(asked.work, asked.limit), **more[asked.part])
    return 0


if __name__ == "__main__":
    sys.exit(main())

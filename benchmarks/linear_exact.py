"""The recipe `linear` against its exact optimum (probabilistic PCA), from random initial values, by the common loop.

    VAELAB_DATA=... python benchmarks/linear_exact.py [--seeds 10] [--only wine_red:2] [--json]

One line per data set, latent dimension and seed: the exact maximum of the mean log-likelihood, the trained model's
bound and evidence in nats per row of standardised units (images / 255), and the gaps. Exit 7 if a gap exceeds its bar:
1e-3 for tables, 0.5 for images.
"""

import argparse
import json
import math
import os
import sys

import numpy as np
import torch

import vaelab

TABLES = {
    "wine_red": ("1-11", (1, 2, 5)),
    "wine_white": ("1-11", (1, 2, 5)),
    "breast_cancer_wdbc": ("1-30", (1, 2, 5, 10)),
    "banknote": ("1-4", (1, 2)),
}
IMAGES = {"frey-faces": (2, 5, 10, 20), "mnist": (2, 10, 20)}


def exact(x: torch.Tensor, q: int) -> float:
    """-1/2 (d log 2 pi + sum log lambda[:q] + (d - q) log sigma² + d), sigma² the mean of the other eigenvalues."""
    x = x.double().flatten(1).numpy()
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    d, sigma2 = x.shape[1], eigenvalues[q:].mean()
    return -0.5 * (d * math.log(2 * math.pi) + np.log(eigenvalues[:q]).sum() + (d - q) * math.log(sigma2) + d)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--only", help="NAME or NAME:Q")
    options.add_argument("--threads", type=int, default=1)
    asked = options.parse_args()
    wanted = [(n, q) for n, qs in {**{k: v[1] for k, v in TABLES.items()}, **IMAGES}.items() for q in qs]
    if asked.only:
        wanted = [(n, q) for n, q in wanted if asked.only in (n, f"{n}:{q}")]
    missed = 0
    for name, q in wanted:
        table = name in TABLES
        source = f"{os.environ['VAELAB_DATA']}/tables/{name}.csv.gz" if table else name
        for seed in range(asked.seeds):
            columns = {"columns": TABLES[name][0]} if table else {}
            run = vaelab.train(
                source,
                recipe="linear",
                latent_dim=q,
                validation=0,
                seed=seed,
                threads=asked.threads,
                **columns,
            )
            data = run.splits["train"]
            truth = exact(run.schema.encode(data.x), q)
            judged = run.evaluate(data, samples=100, units="standardised")
            gaps = {"elbo": truth - judged.elbo.value, "evidence": truth - judged.log_evidence.value}
            good = bool(abs(gaps["elbo"]) < (1e-3 if table else 0.5))
            missed += not good
            line = {
                "data": name,
                "q": q,
                "seed": seed,
                "exact": round(truth, 6),
                "elbo": round(judged.elbo.value, 6),
            }
            gaps = {f"{key}_gap": round(value, 6) for key, value in gaps.items()}
            print(
                json.dumps({**line, **gaps, "seconds": round(run.history.seconds, 1), "holds": good}),
                flush=True,
            )
    return 7 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

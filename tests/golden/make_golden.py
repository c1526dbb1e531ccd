"""Make the golden files of this release: a small trained model, and what it said of some rows when it was made.

    python tests/golden/make_golden.py

Run once per release, before it; never again for a release that is out. The files must load for ever.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import vaelab
from vaelab.noise import SharedNoise, stream

HERE = Path(__file__).parent
CASES = {
    "digits": {"source": "digits", "latent_dim": 2, "hidden": "8"},
    "linear": {"source": "digits", "latent_dim": 3, "recipe": "linear"},
    "full": {"source": "digits", "latent_dim": 2, "hidden": "4", "posterior": "full-gaussian", "binarize": "threshold"},
}


def says(run: vaelab.Run) -> dict[str, np.ndarray]:
    """Return what a model says of the rows it reads: posterior means, log w, a decode, draws; in float64."""
    rows = torch.arange(5 * 64, dtype=torch.float64).reshape(5, 8, 8) % 17
    x = run.schema.encode(rows, dtype=torch.float64)
    model = run.model.double()
    terms = model.terms(x, samples=3, noise=SharedNoise(stream(0, "golden")))
    return {
        "mean": terms.q.mean.detach().numpy(),
        "log_w": terms.log_w.detach().numpy(),
        "decode": terms.px.mean.detach().numpy(),
        "log_det": run.schema.log_det().numpy(),
    }


if __name__ == "__main__":
    for name, options in CASES.items():
        run = vaelab.train(**options, epochs=2, seed=0, threads=1, progress="off")
        path = HERE / f"{vaelab.__version__}-{name}.safetensors"
        run.save(path)
        np.savez_compressed(path.with_suffix(".npz"), **says(run))
        print(path.name, path.stat().st_size, "bytes")

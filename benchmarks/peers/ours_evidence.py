"""Ours beside pythae's `get_nll`: `python ours_evidence.py KIND THREADS SAMPLES ROWS [FOLDER]`.

KIND: evidence (serves), or value: writes what pythae needs to estimate the same rows with the same weights and draws in
float64 into FOLDER, and prints our values as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch.distributions import Independent, Normal
from worker import WIDTHS, pixels, serve

from vaelab import likelihoods, networks, posteriors, priors, recipes
from vaelab.data import Dataset, Schema
from vaelab.evaluation import evidence_rows
from vaelab.models import VAE
from vaelab.noise import RowNoise
from vaelab.training import Rows

kind, threads, samples, count = sys.argv[1], *map(int, sys.argv[2:5])
torch.set_num_threads(threads)
torch.manual_seed(0)
x_dim, hidden, latent = WIDTHS
schema = Schema(name="pixels", layout="array", shape=(x_dim,), values="binary", low=0, high=1)
data = Dataset(torch.from_numpy(pixels(count)).to(torch.uint8), schema)


class LogVariance(posteriors.Gaussian):
    """q(z | x) = N(m, exp(v)), v not bounded: as pythae has it."""

    def forward(self, given=None, condition=None):
        mean, log_variance = self.parameters_at(given, condition).chunk(2, -1)
        return Independent(Normal(mean, (log_variance / 2).exp(), validate_args=False), 1, validate_args=False)


if kind == "evidence":
    model, rows = recipes.vae((x_dim,), latent, hidden=(hidden,))[0], Rows(data)
    serve(lambda: evidence_rows(model, rows, samples=samples), threads, warm=1)
else:
    encoder, decoder = networks.MLP(x_dim, 2 * latent, (hidden,)), networks.MLP(latent, x_dim, (hidden,))
    parts = {"prior": priors.Gaussian(latent), "posterior": LogVariance(encoder, latent)}
    model = VAE(**parts, likelihood=likelihoods.Bernoulli(decoder, (x_dim,))).double()
    rows = Rows(data, dtype=torch.float64)
    like = torch.zeros((), dtype=torch.float64)
    blocks = [RowNoise(0, range(count), block).normal((100, count, latent), like) for block in range(samples // 100)]
    weights = {}
    for network, side in ((encoder, "encoder"), (decoder, "decoder")):
        for layer, place in ((network.layers[0], "first"), (network.layers[2], "last")):
            for name, value in layer.named_parameters():
                weights[f"{side}.{place}.{name}"] = value.detach().numpy()
    folder = Path(sys.argv[5])
    np.savez(folder / "weights.npz", **weights)
    np.save(folder / "rows.npy", rows.data.numpy())
    np.save(folder / "draws.npy", torch.cat(blocks).numpy())
    print(json.dumps(evidence_rows(model, rows, samples=samples).evidence.tolist()))

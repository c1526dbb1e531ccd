"""Ours beside pythae 0.1.2 on MNIST with the published fixed binarisation: nats of held-out images, by one estimator.

    VAELAB_DATA=... python benchmarks/quality.py [--only vae] [--seeds 3] [--rows 2000] [--work build/quality]

Same networks (784-300-20-300-784, rectifier), batch of 100, rows and passes on both sides, one thread each, time in CPU
seconds of the training call. pythae: its Bernoulli loss, Adam at 1e-4, 3e-4 and 1e-3, the rate with the best validation
bound, its own choice of the best epoch. Ours: defaults; once for the same passes, once for as many as fit into the time
that pythae's best rate took. The evidence is `vaelab.evaluation.evidence_rows` for both, pythae's weights put into the
same parts, on the same test images with the same seed. Runs are kept in WORK/runs.jsonl, and a second call goes on from
there; pythae gets a venv of its own in WORK. The table is printed, and written to docs/results.md by hand.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.distributions import Independent, Normal

import vaelab
from vaelab import likelihoods, networks, priors, recipes
from vaelab.data import open_source
from vaelab.evaluation import evidence_rows
from vaelab.models import VAE
from vaelab.posteriors import Amortized
from vaelab.training import Rows

HERE = Path(__file__).resolve().parent
HIDDEN, LATENT, SAMPLES, COMPONENTS, SHAPE = 300, 20, 50, 500, (1, 28, 28)
PASSES = {"vae": 20, "vamp": 20, "iwae": 4}
RATES = (1e-4, 3e-4, 1e-3)
OURS: dict[str, dict[str, Any]] = {
    "vae": {"recipe": "vae"},
    "iwae": {"recipe": "iwae", "objective": f"iwae:samples={SAMPLES}"},
    "vamp": {"recipe": "vamp", "prior": f"vamp:components={COMPONENTS}"},
}


class LogVariance(Amortized):
    """q(z | x) = N(m, exp(v)), v not bounded: as pythae has it."""

    @classmethod
    def outputs(cls, latent_dim: int, **arguments: Any) -> int:
        return 2 * latent_dim

    def forward(self, given: Any = None, condition: Any = None) -> Any:
        mean, log_variance = self.parameters_at(given, condition).chunk(2, -1)
        return Independent(Normal(mean, (log_variance / 2).exp(), validate_args=False), 1, validate_args=False)


def theirs(name: str) -> nn.Module:
    """Return parts of ours in the shape of pythae's model."""
    q = LogVariance(networks.MLP(SHAPE, 2 * LATENT, (HIDDEN,)), LATENT)
    prior = priors.Vamp(q, SHAPE, COMPONENTS) if name == "vamp" else priors.Gaussian(LATENT)
    decoder = networks.MLP(LATENT, SHAPE, (HIDDEN,))
    return VAE(prior=prior, posterior=q, likelihood=likelihoods.Bernoulli(decoder, SHAPE))


def translated(name: str, weights: Mapping[str, np.ndarray]) -> nn.Module:
    """Return pythae's model as parts of ours, weight for weight."""
    model = theirs(name)
    for network, side in ((model.posterior.network, "encoder"), (model.likelihood.network, "decoder")):
        for layer, place in ((network.layers[0], "first"), (network.layers[2], "last")):
            for kind in ("weight", "bias"):
                getattr(layer, kind).data = torch.from_numpy(weights[f"{side}.{place}.{kind}"])
    if name == "vamp":
        model.prior.inputs.data = torch.from_numpy(weights["pseudo_inputs"]).reshape(-1, *SHAPE)
    return model


def ours(name: str) -> nn.Module:
    """Return our model, untrained."""
    parts = {k: v for k, v in OURS[name].items() if k != "recipe"}
    return recipes.find(OURS[name]["recipe"])(SHAPE, LATENT, hidden=(HIDDEN,), **parts)[0]


def prepared(work: Path) -> dict[str, np.ndarray]:
    """Write the rows of both sides: 54,000 to train on, 6,000 to choose by; return them and the test images."""
    packed = np.load(Path(os.environ["VAELAB_DATA"]) / "mnist" / "fixed_binarised.npz")
    images = {part: np.unpackbits(packed[f"x_{part}"], axis=1).reshape(-1, 28, 28) for part in ("train", "test")}
    order = np.random.default_rng(0).permutation(60_000)
    parts = {"train": images["train"][order[:54_000]], "validation": images["train"][order[54_000:]]}
    for name, rows in parts.items():
        np.save(work / f"{name}.npy", rows)
    (work / "sizes.json").write_text(json.dumps([HIDDEN, LATENT, SAMPLES, COMPONENTS]))
    return {**parts, "test": images["test"]}


def pythae(work: Path) -> str:
    """Return the Python of a venv that has pythae, made if it is not there."""
    python = work / "venv" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(work / "venv")], check=True)
        constraints = str(HERE.parent / "constraints.txt")
        what = ["torch==2.13.0", "numpy", "pythae==0.1.2"]
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-c", constraints, *what], check=True)
    return str(python)


def run_theirs(work: Path, name: str, rate: float, seed: int) -> tuple[nn.Module, dict[str, float]]:
    """Train pythae's model in its own process."""
    script = [pythae(work), str(HERE / "peers" / "pythae_mnist.py"), str(work), name, str(rate), str(seed)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([*script, str(PASSES[name])], capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    with np.load(work / "weights.npz") as weights:
        return translated(name, dict(weights)), json.loads(done.stdout.strip().splitlines()[-1])


def run_ours(rows: dict[str, np.ndarray], work: Path, name: str, seed: int, passes: int) -> tuple[nn.Module, dict]:
    """Train ours with its defaults."""
    options = {"latent_dim": LATENT, "hidden": str(HIDDEN), "seed": seed, "epochs": passes, "threads": 1, **OURS[name]}
    start = time.process_time()
    run = vaelab.train(rows["train"], validation=str(work / "validation.npy"), progress="off", **options)
    seconds = time.process_time() - start
    return run.model, {"validation": run.history.best["elbo"], "seconds": seconds}


class Bench:
    """The rows, and what has been run on them: kept in `work`, so that a second call goes on where the first ended."""

    def __init__(self, work: Path, images: int, samples: int) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work, self.images, self.samples, self.rows = work, images, samples, prepared(work)
        self.log = work / "runs.jsonl"
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.known: dict[str, dict[str, float]] = {r["key"]: r for r in map(json.loads, lines)}

    def train(self, name: str, side: str, seed: int, *, rate: float = 0.0, passes: int = 0) -> str:
        """Train a model, unless it is there; return its key."""
        key = f"{name} {side} {rate or passes} {seed}"
        if key not in self.known:
            if side == "pythae":
                model, figures = run_theirs(self.work, name, rate, seed)
            else:
                model, figures = run_ours(self.rows, self.work, name, seed, passes)
            np.savez(self.work / f"{key}.npz", **{k: v.numpy() for k, v in model.state_dict().items()})
            self.known[key] = {"key": key, **figures}
            with self.log.open("a") as out:
                out.write(json.dumps(self.known[key]) + "\n")
            print(key, {k: round(v, 2) for k, v in figures.items()}, flush=True)
        return key

    def evidence(self, key: str) -> np.ndarray:
        """Return the evidence of each test image."""
        path = self.work / f"{key} {self.images} {self.samples}.npy"
        if not path.exists():
            name, side = key.split()[:2]
            model = theirs(name) if side == "pythae" else ours(name)
            with np.load(self.work / f"{key}.npz") as weights:
                model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
            test = Rows(open_source(self.rows["test"][: self.images]))
            np.save(path, evidence_rows(model.eval(), test, samples=self.samples, seed=0).evidence.numpy())
        return np.load(path)

    def compare(self, name: str, seed: int) -> list[tuple[np.ndarray, float]]:
        """Return (evidence of each image, seconds) of pythae, of ours in as many passes, of ours in as much time."""
        tried = [self.train(name, "pythae", seed, rate=rate) for rate in RATES]
        best = max(tried, key=lambda key: self.known[key]["validation"])
        equal = self.train(name, "ours", seed, passes=PASSES[name])
        ratio = self.known[best]["seconds"] / self.known[equal]["seconds"]
        longer = self.train(name, "ours", seed, passes=max(1, math.floor(PASSES[name] * ratio)))
        return [(self.evidence(key), self.known[key]["seconds"]) for key in (best, equal, longer)]


def line(name: str, found: list[list[tuple[np.ndarray, float]]]) -> str:
    """Return a row of the table: means over seeds, and paired differences with their errors over images and seeds."""
    evidence = np.array([[values for values, _ in seed] for seed in found])  # (seeds, 3, images)
    seconds = np.array([[spent for _, spent in seed] for seed in found]).mean(0)
    out = f"| {name} | {PASSES[name]} | {evidence[:, 0].mean():.2f} | {seconds[0]:.0f} s |"
    for side in (1, 2):
        each = evidence[:, side] - evidence[:, 0]
        images = each.mean(0).std(ddof=1) / math.sqrt(each.shape[1])
        seeds = each.mean(1).std(ddof=1) / math.sqrt(len(each)) if len(each) > 1 else math.nan
        out += f" {evidence[:, side].mean():.2f} | {seconds[side]:.0f} s |"
        out += f" {each.mean():+.2f} ± {images:.2f}, {seeds:.2f} |"
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(PASSES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--work", type=Path, default=HERE.parent / "build" / "quality")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(asked.work, asked.rows, asked.samples)
    for name in [asked.only] if asked.only else PASSES:
        print(line(name, [bench.compare(name, seed) for seed in range(asked.seeds)]), flush=True)


if __name__ == "__main__":
    main()

"""Models composed at random from all parts: each trains, is used, saved and read again, or is refused in words.

By hand, for many: python tests/compositions.py --n 2000 --seed 1
"""

from __future__ import annotations

import argparse
import collections
import random
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

import vaelab
from vaelab.errors import DataError, UsageError, VaelabError
from vaelab.parts import known
from vaelab.recipes import RECIPES

ROWS = 24
# arguments that a user might write for a part; every part may also stand without any
ARGUMENTS = {
    "prior": {
        "codes": [],
        "flow": ["kind=nsf,transforms=1", "kind=maf,transforms=2,hidden=8"],
        "mixture": ["components=3"],
        "riemannian-normal": ["curvature=0.5,scale=0.7"],
        "vamp": ["components=7"],
        "code-sequence": ["hidden=8"],
    },
    "posterior": {
        "concrete": ["categories=3"],
        "flow": ["kind=planar,transforms=2", "kind=radial", "kind=iaf,hidden=8", "kind=spline,transforms=1,hidden=8"],
        "gaussian": ["scale=constant"],
        "nearest": ["codes=5", "codes=5,width=1"],
        "wrapped-normal": ["curvature=0.5"],
        "residual-nearest": ["codes=5,depth=3", "codes=5,ema=0"],
    },
    "likelihood": {
        "autoregressive-bernoulli": ["radius=2,width=3"],
        "gaussian": ["scale=shared", "scale=entry", "scale=optimal"],
        "laplace": ["scale=shared"],
        "logistic-mixture": ["components=3"],
    },
    "objective": {
        "elbo": ["beta=2", "free_bits=0.1", "gradient=stopped", "samples=3", "warmup=5"],
        "iwae": ["samples=3", "samples=3,gradient=dreg", "samples=3,warmup=5"],
        "multiply-iwae": ["samples=4,groups=2"],
        "partial-iwae": ["samples=4,groups=2"],
        "total-correlation": ["estimator=weighted"],
        "rae": ["penalty=gradient"],
        "learned-similarity": ["width=8", "width=8,discriminator=conv"],
        "dip": ["kind=i"],
    },
    "refine": {"hamiltonian": ["leapfrog=2"], "riemannian": ["leapfrog=1,components=3"], "gradient-steps": ["steps=2"]},
    "network": {"conv": ["width=4"], "resnet": ["width=4,blocks=1"]},
}
# what only goes with its like: often, so that it works, but not always, so that it is refused
PARTNERS = {
    "codes": {"posterior": "nearest:codes=5", "objective": "quantised"},
    "code-sequence": {"posterior": "nearest:codes=5", "objective": "quantised"},
    "nearest": {"prior": "codes", "objective": "quantised"},
    "residual-nearest": {"prior": "codes", "objective": "quantised"},
    "concrete": {"prior": "concrete", "posterior": "concrete:categories=3"},
    "riemannian-normal": {"posterior": "wrapped-normal"},
    "uniform-sphere": {"posterior": "von-mises-fisher"},
    "von-mises-fisher": {"prior": "uniform-sphere"},
    "point": {"objective": "mmd"},
    "reconstruction": {"posterior": "point"},
    "quantised": {"prior": "codes", "posterior": "nearest:codes=5"},
}


def sources(seed: int) -> dict[str, Any]:
    """Small data of every kind."""
    g = np.random.default_rng(seed)
    real = g.normal(size=(ROWS, 5))
    holes = np.where(g.random((ROWS, 5)) < 0.2, np.nan, real)
    colour = g.integers(0, 256, (ROWS, 8, 7, 3)).astype(np.uint8)
    return {
        "real": real,
        "holes": holes,
        "binary": g.integers(0, 2, (ROWS, 7)),
        "counts": g.poisson(30.0, (ROWS, 5)) * g.integers(0, 2, (ROWS, 5)),
        "grid": g.integers(0, 4, (ROWS, 5)),
        "grey": g.integers(0, 256, (ROWS, 9, 8)).astype(np.uint8),
        "black and white": g.integers(0, 2, (ROWS, 8, 8)).astype(np.uint8),
        "colour": colour,
        "frame": pl.DataFrame({**{c: real[:, i] for i, c in enumerate("abc")}, "kind": ["u", "v", "w"] * (ROWS // 3)}),
    }


@dataclass(frozen=True)
class Composition:
    """A source and the options of its training."""

    data: str
    options: dict[str, Any]
    seed: int

    def __str__(self) -> str:
        return f"{self.data}: " + " ".join(f"{name}={value}" for name, value in self.options.items())


def composition(seed: int) -> Composition:
    """Return a composition; over the seeds each part of each role comes up again and again."""
    pick = random.Random(seed)

    def one(role: str) -> str:
        name = pick.choice(sorted(known(role)))
        written = pick.choice(["", *ARGUMENTS[role].get(name, [])])
        return f"{name}:{written}" if written else name

    options: dict[str, Any] = {"recipe": pick.choice([*["vae"] * len(RECIPES), *sorted(RECIPES)])}
    for role, share in (("prior", 0.5), ("posterior", 0.5), ("likelihood", 0.3), ("objective", 0.6), ("network", 0.3)):
        if pick.random() < share:
            options[role] = one(role)
    if pick.random() < 0.15:
        options["refine"] = one("refine")
    data = pick.choice(sorted(sources(0)))
    if data == "frame":
        options[pick.choice(("condition", "labels"))] = "kind"
    options["latent_dim"] = pick.choice((1, 2, 3, 6))
    if RECIPES[options["recipe"]].layers != 1:
        options["latent_dim"] = pick.choice((4, "3,2"))
    if data not in ("grey", "colour", "black and white") and pick.random() < 0.9:
        options.pop("network", None)
    for role in ("objective", "posterior", "prior"):
        partner = PARTNERS.get(options.get(role, "").partition(":")[0])
        if partner and pick.random() < 0.7:
            options |= partner
    options["hidden"] = pick.choice(("", "8", "8,6"))
    return Composition(data, options, seed)


def with_part(role: str, name: str) -> Composition:
    """Return a composition of this part and what it needs beside it, all else by default."""
    like = {
        "bernoulli": "binary",
        "autoregressive-bernoulli": "black and white",
        "logistic-mixture": "grey",
        "similarity": "grey",
        "gaussian-mixture": "real",
    }
    data = like.get(name, "grey" if role == "network" else "grid")
    options = {"recipe": "vae", "latent_dim": 3, "hidden": "8", role: name} | PARTNERS.get(name, {})
    return Composition(data, options, 0)


def attempt(made: Composition) -> str | None:
    """Train, use, save and read the composition; return why it was refused, or None."""
    source = sources(made.seed)[made.data]
    try:
        plan = vaelab.plan_run(source, epochs=2, batch_size=7, validation=0.2, threads=1, **made.options)
    except (UsageError, DataError) as refused:
        return str(refused)
    run = plan.run()
    assert run.history.records, "no epoch was reported"
    assert all(np.isfinite(record["elbo"]) for record in run.history.records), "the validation bound is not finite"
    given = {"given": {"kind": "v"}} if run.schema.conditions else {}
    assert run.generate(3, **given).shape == (3, *run.schema.shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        run.save(path)
        again = vaelab.load(path)
        ours, theirs = run.model.state_dict(), again.model.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items()), "a tensor changed in the file"
        x = source.head(5) if made.data == "frame" else source[:5]
        assert all(torch.equal(a.encode(x).mean, b.encode(x).mean) for a, b in ((run, again),)), "another code"
    return None


def outcome(made: Composition) -> tuple[str, str]:
    """Return ("works" | "refused" | "failed", why)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            refused = attempt(made)
    except Exception as error:
        kind = "" if isinstance(error, VaelabError) else f"{type(error).__name__}: "
        return "failed", f"{kind}{error}"
    return ("works", "") if refused is None else ("refused", refused)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--debug", action="store_true", help="raise the first failure")
    asked = parser.parse_args()
    counted: collections.Counter[str] = collections.Counter()
    reasons: collections.Counter[str] = collections.Counter()
    for seed in range(asked.seed, asked.seed + asked.n):
        made = composition(seed)
        if asked.debug:
            attempt(made)
            continue
        what, why = outcome(made)
        counted[what] += 1
        reasons[why] += 1
        if what == "failed":
            print(f"{seed}  {made}\n      {why}", flush=True)
    for why, times in reasons.most_common():
        print(f"{times:6}  {why or 'works'}")
    print(dict(counted))


if __name__ == "__main__":
    main()

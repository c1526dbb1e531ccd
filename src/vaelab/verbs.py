"""Every method of `Run` that is a verb, as a function of a run, or of the folder or file of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from .evaluation import Diagnosis, Evaluation
from .opening import load
from .run import Run
from .use import Codes, Imputation, Measures


def save(run: Run, path: str | Path) -> Path:
    """Write the model file of a run.

    >>> vaelab.save(run, "digits.safetensors").name
    'digits.safetensors'
    """
    return run.save(path)


def evaluate(run: Run | str | Path, source: Any = None, **how: Any) -> Evaluation:
    """Judge a run (or the folder or file of one): see `Run.evaluate`.

    >>> vaelab.evaluate(run, samples=10).rows
    180
    """
    return opened(run).evaluate(source, **how)


def doctor(run: Run | str | Path, source: Any = None, **how: Any) -> Diagnosis:
    """Say what ails a run (or the folder or file of one): see `Run.doctor`.

    >>> vaelab.doctor(run, quick=True).split
    'validation'
    """
    return opened(run).doctor(source, **how)


def encode(run: Run | str | Path, source: Any = None, **how: Any) -> Codes:
    """Return where rows lie in the latent space of a run's model: see `Run.encode`.

    >>> torch.equal(vaelab.encode(run).mean, run.encode().mean)
    True
    """
    return opened(run).encode(source, **how)


def decode(run: Run | str | Path, z: Any, **how: Any) -> Tensor:
    """Return what lies at places of the latent space: see `Run.decode`.

    >>> vaelab.decode(run, [[0.0, 0.0]]).shape
    torch.Size([1, 8, 8])
    """
    return opened(run).decode(z, **how)


def interpolate(run: Run | str | Path, places: Any, **how: Any) -> Tensor:
    """Return what lies on a path through places of the latent space: see `Run.interpolate`.

    >>> vaelab.interpolate(run, [[0.0, 0.0], [1.0, 1.0]], steps=4).shape
    torch.Size([5, 8, 8])
    """
    return opened(run).interpolate(places, **how)


def reconstruct(run: Run | str | Path, source: Any = None, **how: Any) -> Tensor:
    """Return what a run's model makes of rows: see `Run.reconstruct`.

    >>> vaelab.reconstruct(run).shape
    torch.Size([180, 8, 8])
    """
    return opened(run).reconstruct(source, **how)


def score(run: Run | str | Path, source: Any = None, **how: Any) -> Tensor:
    """Return how probable rows are under a run's model: see `Run.score`.

    >>> vaelab.score(run, samples=10).shape
    torch.Size([180])
    """
    return opened(run).score(source, **how)


def impute(run: Run | str | Path, source: Any = None, **how: Any) -> Imputation:
    """Fill the gaps of rows from what was observed of them: see `Run.impute`.

    >>> vaelab.impute(run, samples=10).values.shape
    torch.Size([180, 8, 8])
    """
    return opened(run).impute(source, **how)


def generate(run: Run | str | Path, n: int, **how: Any) -> Tensor:
    """Draw n rows from a run's model: see `Run.generate`.

    >>> vaelab.generate(run, 4, seed=1).shape
    torch.Size([4, 8, 8])
    """
    return opened(run).generate(n, **how)


def measure(run: Run | str | Path, source: Any = None, **how: Any) -> Measures:
    """Compare generated rows of a run's model with held-out rows: see `Run.measure`.

    >>> vaelab.measure(run, samples=50).rows
    50
    """
    return opened(run).measure(source, **how)


def refit(run: Run | str | Path, source: Any = None, **how: Any) -> Run:
    """Return a run with a prior fitted to the codes of its training rows: see `Run.refit`.

    >>> vaelab.refit(run, prior="mixture:components=2,covariance=full").generate(3).shape
    torch.Size([3, 8, 8])
    """
    return opened(run).refit(source, **how)


def opened(run: Run | str | Path) -> Run:
    """Return the run itself, or the one in this folder or file."""
    return run if isinstance(run, Run) else load(run)

"""vaelab: train, judge and use variational autoencoders on your own data.

    import vaelab
    run = vaelab.train("digits", latent_dim=8, epochs=20)
    print(run.evaluate().log_evidence)

Names are imported when first used, so `import vaelab` (and `vaelab -h`) is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "ELBO": "objectives",
    "IWAE": "objectives",
    "Noise": "noise",
    "Run": "run",
    "Terms": "models",
    "VAE": "models",
    "evaluate": "run",
    "fit": "plan",
    "generate": "run",
    "load": "run",
    "plan_run": "plan",
    "reconstruct": "run",
    "save": "run",
    "train": "plan",
}
_SPACES = ("data", "distributions", "likelihoods", "networks", "objectives", "posteriors", "priors", "recipes")

__all__ = sorted(["__version__", *_HOME, *_SPACES])


def __getattr__(name: str) -> Any:
    if name in _SPACES:
        return import_module(f".{name}", __name__)
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'vaelab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)


if TYPE_CHECKING:
    from . import data, distributions, likelihoods, networks, objectives, posteriors, priors, recipes
    from .models import VAE, Terms
    from .noise import Noise
    from .objectives import ELBO, IWAE
    from .plan import fit, plan_run, train
    from .run import Run, evaluate, generate, load, reconstruct, save

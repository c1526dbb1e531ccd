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
    "Comparison": "comparison",
    "Diagnosis": "evaluation",
    "compare": "comparison",
    "doctor": "verbs",
    "decode": "verbs",
    "encode": "verbs",
    "evaluate": "verbs",
    "fit": "fitting",
    "generate": "verbs",
    "impute": "verbs",
    "interpolate": "verbs",
    "load": "opening",
    "measure": "verbs",
    "plan_run": "planning",
    "reconstruct": "verbs",
    "refit": "verbs",
    "save": "verbs",
    "score": "verbs",
    "train": "fitting",
}
_SPACES = (
    "data",
    "distributions",
    "estimator",
    "likelihoods",
    "missingness",
    "models",
    "networks",
    "objectives",
    "posteriors",
    "priors",
    "recipes",
    "refinements",
)

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
    from . import data as data
    from . import distributions as distributions
    from . import estimator as estimator
    from . import likelihoods as likelihoods
    from . import missingness as missingness
    from . import models as models
    from . import networks as networks
    from . import objectives as objectives
    from . import posteriors as posteriors
    from . import priors as priors
    from . import recipes as recipes
    from . import refinements as refinements
    from .comparison import Comparison as Comparison
    from .comparison import compare as compare
    from .evaluation import Diagnosis as Diagnosis
    from .fitting import fit as fit
    from .fitting import train as train
    from .models import VAE as VAE
    from .models import Terms as Terms
    from .noise import Noise as Noise
    from .objectives import ELBO as ELBO
    from .objectives import IWAE as IWAE
    from .opening import load as load
    from .planning import plan_run as plan_run
    from .run import Run as Run
    from .verbs import decode as decode
    from .verbs import doctor as doctor
    from .verbs import encode as encode
    from .verbs import evaluate as evaluate
    from .verbs import generate as generate
    from .verbs import impute as impute
    from .verbs import interpolate as interpolate
    from .verbs import measure as measure
    from .verbs import reconstruct as reconstruct
    from .verbs import refit as refit
    from .verbs import save as save
    from .verbs import score as score

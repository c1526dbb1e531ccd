"""p(x | z): one file per family."""

from .base import Likelihood
from .bernoulli import Bernoulli
from .categorical import Categorical
from .discretized_logistic import DiscretizedLogistic
from .gaussian import Gaussian

__all__ = ["Bernoulli", "Categorical", "DiscretizedLogistic", "Gaussian", "Likelihood"]

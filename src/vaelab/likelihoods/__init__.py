"""p(x | z): one file per family."""

from .autoregressive_bernoulli import AutoregressiveBernoulli
from .base import Likelihood
from .bernoulli import Bernoulli
from .categorical import Categorical
from .columns import Columns
from .continuous_bernoulli import ContinuousBernoulli
from .discretized_logistic import DiscretizedLogistic
from .gaussian import Gaussian
from .laplace import Laplace
from .logistic_mixture import LogisticMixture
from .negative_binomial import NegativeBinomial
from .poisson import Poisson
from .student_t import StudentT
from .zero_inflated import ZeroInflatedNegativeBinomial, ZeroInflatedPoisson

__all__ = [
    "AutoregressiveBernoulli",
    "Bernoulli",
    "Categorical",
    "Columns",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Laplace",
    "Likelihood",
    "LogisticMixture",
    "NegativeBinomial",
    "Poisson",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
]

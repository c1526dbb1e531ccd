"""p(x | z): one file per family."""

from .autoregressive_bernoulli import AutoregressiveBernoulli
from .base import Likelihood
from .bernoulli import Bernoulli
from .categorical import Categorical
from .columns import Columns
from .continuous_bernoulli import ContinuousBernoulli
from .discretized_logistic import DiscretizedLogistic
from .gaussian import Gaussian
from .gaussian_mixture import GaussianMixture
from .laplace import Laplace
from .logistic_mixture import LogisticMixture
from .low_rank_categorical import LowRankCategorical
from .negative_binomial import NegativeBinomial
from .ordinal import Ordinal
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
    "GaussianMixture",
    "Laplace",
    "Likelihood",
    "LogisticMixture",
    "LowRankCategorical",
    "NegativeBinomial",
    "Ordinal",
    "Poisson",
    "StudentT",
    "ZeroInflatedNegativeBinomial",
    "ZeroInflatedPoisson",
]

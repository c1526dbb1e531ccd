"""A learned mixture of Gaussians."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from ..conditional import Conditional, bounded, unbounded
from ..distributions import Mixture as MixtureDistribution
from ..errors import UsageError


class Mixture(Conditional):
    """p(z) = sum_c w_c N(z; mu_c, Sigma_c), with w, mu and Sigma learned.

    `covariance`: "diagonal" or "full", Sigma_c = L_c L_c'. One full component is the Gaussian of any mean and
    covariance. It trains with the rest of a model (the KL is then sampled), or is fitted after training by
    expectation-maximisation (`Run.refit`); Ghosh et al. 2020 (RAE), section 4.

    >>> p = priors.Mixture(2, components=5)()
    >>> p.components.batch_shape, p.log_prob(torch.zeros(3, 2)).shape
    (torch.Size([5]), torch.Size([3]))
    """

    def __init__(self, latent_dim: int, components: int = 10, covariance: str = "diagonal") -> None:
        super().__init__()
        if latent_dim < 1 or components < 1 or covariance not in ("diagonal", "full"):
            raise UsageError(
                "priors.Mixture: latent_dim and components are at least 1, covariance is 'diagonal' or 'full'; "
                f"got {latent_dim}, {components}, {covariance!r}."
            )
        self.latent_dim, self.components, self.covariance = latent_dim, components, covariance
        self.logits = nn.Parameter(torch.zeros(components))
        self.loc = nn.Parameter(torch.randn(components, latent_dim))
        self.log_scale = nn.Parameter(torch.zeros(components, latent_dim))
        if covariance == "full":
            self.below = nn.Parameter(torch.zeros(components, latent_dim * (latent_dim - 1) // 2))

    def forward(self, given: Tensor | None = None, condition: Tensor | None = None) -> Distribution:
        """Return p(z); a condition does not move it."""
        every = torch.arange(self.components, device=self.loc.device)
        return MixtureDistribution(self.logits.log_softmax(0), self._component(every), self._component)

    def _component(self, k: Tensor) -> Distribution:
        loc, scale = self.loc[k], bounded(self.log_scale[k]).exp()
        if self.covariance == "diagonal":
            return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)
        row, column = torch.tril_indices(self.latent_dim, self.latent_dim, offset=-1, device=loc.device)
        lower = torch.diag_embed(scale)
        lower[..., row, column] = self.below[k]
        return MultivariateNormal(loc, scale_tril=lower, validate_args=False)

    @torch.no_grad()
    def fit(self, z: Tensor, seed: int = 0) -> bool:
        """Maximise the likelihood of z (N, D) by expectation-maximisation from k-means; return True: nothing is left.

        Raises UsageError for fewer rows than components.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        if len(z) < max(2, self.components):
            raise UsageError(f"a mixture of {self.components} components needs as many codes, got {len(z)}.")
        form = {"diagonal": "diag", "full": "full"}[self.covariance]
        mixture = GaussianMixture(self.components, covariance_type=form, max_iter=300, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # near the maximum is near enough
            mixture.fit(z.detach().cpu().double().numpy())
        self.logits.copy_(torch.from_numpy(mixture.weights_).clamp(min=1e-12).log())
        self.loc.copy_(torch.from_numpy(mixture.means_))
        covariance = torch.from_numpy(mixture.covariances_)
        if self.covariance == "diagonal":
            self.log_scale.copy_(unbounded(0.5 * covariance.log()))
            return True
        lower = torch.linalg.cholesky(covariance)
        self.log_scale.copy_(unbounded(lower.diagonal(dim1=-2, dim2=-1).log()))
        row, column = torch.tril_indices(self.latent_dim, self.latent_dim, offset=-1)
        self.below.copy_(lower[..., row, column])
        return True

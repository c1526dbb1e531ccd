"""Monte Carlo EM: p learns from draws of its own posterior, which chains of Hamiltonian Monte Carlo bring."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..distributions import draw
from ..models import Model, Terms
from ..noise import Noise
from ..refinements.metropolis import field, move
from ..shapes import Float
from .wake_sleep import TwoPhases

RATE = 0.2  # of the log step, on its way to the acceptance that is asked for


class MonteCarloEM(TwoPhases):
    """E: z_n ~ p(z | x_n) by HMC; M: p maximises log p(x_n, z_n), q maximises log q(z_n | x_n) (2013, appendix E).

    Each row has a chain of its own: every `updates` visits to a row, one trajectory of `leapfrog` steps moves it, their
    length tuned so that `acceptance` of them are accepted. Chains start at draws of q, which only follows them (the
    paper has no q): it is there so that rows can be encoded and judged afterwards. Without `index`, the rows' places
    among all rows, nothing is remembered: a trajectory from a fresh draw of q each time.

    >>> model, objective = recipes.monte_carlo_em((5,), 2)
    >>> losses, terms = objective(model, torch.zeros(7, 5), noise=Noise.seeded(0), step=0)
    >>> sorted(losses), torch.equal(losses["recognition"], -terms.log_qz[0])
    (['generative', 'recognition'], True)
    """

    reads_index = True
    codes: Tensor
    visits: Tensor
    log_step: Tensor

    def __init__(self, latent_dim: int, leapfrog: int = 10, updates: int = 5, acceptance: float = 0.9) -> None:
        super().__init__(samples=1)
        self.latent_dim, self.leapfrog, self.updates, self.acceptance = latent_dim, leapfrog, updates, acceptance
        self.require(
            leapfrog=(leapfrog >= 1, "at least 1"),
            updates=(updates >= 1, "at least 1"),
            acceptance=(0 < acceptance < 1, "between 0 and 1"),
        )
        self.register_buffer("codes", torch.zeros(0, latent_dim))
        self.register_buffer("visits", torch.zeros(0, dtype=torch.long))
        self.register_buffer("log_step", torch.full((), -1.5))

    def start(self, x: Tensor, rows: int) -> None:
        """Make a place for the chain of each row."""
        self.codes = self.codes.new_zeros(rows, self.latent_dim)
        self.visits = self.visits.new_zeros(rows)

    def forward(
        self,
        model: Model,
        x: Float[Tensor, " B *X"],
        *,
        noise: Noise,
        step: int,
        observed: Tensor | None = None,
        condition: Float[Tensor, "B C"] | None = None,
        index: Tensor | None = None,
    ) -> tuple[dict[str, Tensor], Terms]:
        """Return the losses of p and of q at the chains' states, (B,) each, and the terms."""
        vae = self.model(model)
        x = x if observed is None else torch.where(observed, x, 0)
        q = vae.posterior_at(x, observed, condition)
        with torch.no_grad():
            z = draw(q, 1, noise)
            if index is None:
                z = self._moved(vae.log_joint(x, q, observed, condition), z, noise)[0]
            else:
                z = self._remembered(vae.log_joint(x, q, observed, condition), z, noise, index)
        terms = Terms(x, z, q, vae.prior_at(condition), vae.decode(z, condition), observed, gradient="score")
        _ = terms.log_w  # refuses by name a q without a density
        assert terms.log_qz is not None
        return {"generative": -(terms.log_px + terms.log_pz)[0], "recognition": -terms.log_qz[0]}, terms

    def _moved(self, log_joint: Any, z: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        z, _, chance = move(field(log_joint), z, self.log_step.to(z).exp(), self.leapfrog, noise)
        return z, chance

    def _remembered(self, log_joint: Any, fresh: Tensor, noise: Noise, index: Tensor) -> Tensor:
        """Return the chains' states at these rows, (1, B, Z), those that are due moved, and keep them."""
        seen = self.visits[index]
        z = torch.where((seen > 0).unsqueeze(-1), self.codes[index].to(fresh), fresh[0]).unsqueeze(0)
        due = seen % self.updates == 0
        if due.any():
            moved, chance = self._moved(log_joint, z, noise)
            z = torch.where(due.unsqueeze(-1), moved, z)
            self.log_step += RATE * (chance[:, due].mean().to(self.log_step) - self.acceptance)
        self.codes[index] = z[0].to(self.codes)
        self.visits[index] += 1
        return z

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take the chains of as many rows as there were."""
        if f"{prefix}visits" in state_dict:
            self.start(self.codes, len(state_dict[f"{prefix}visits"]))
        super()._load_from_state_dict(state_dict, prefix, *rest)

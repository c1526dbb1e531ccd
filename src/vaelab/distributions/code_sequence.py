"""Sequences of codes, each drawn given those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..noise import Noise, stream
from .moments import POINTS, FixedPointMoments
from .reparameterize import register_draw

ROWS = 1024  # in one pass


class CodeSequence(FixedPointMoments):
    """p(z) = prod_g p(k_g | k_1 .. k_g-1) over sequences of codes; log_prob is a log-mass, in nats.

    Shapes: codebook (C, W), or (G, C, W) with one for each place; `network` maps z
    (*lead, G W) to (*lead, G W, C), each by the dimensions before it: the logits of a place are those at its first
    dimension. `weights` replace the network's own. Batch shape as given: the same for each row; event shape (G W,).
    What is no sequence of codes has mass 0.

    >>> book, network = torch.tensor([[0.0], [1.0]]), networks.MADE(3, 2, hidden=4)
    >>> _ = [torch.nn.init.zeros_(p) for p in network.last.parameters()]
    >>> p = distributions.CodeSequence(book, network, places=3)
    >>> p.log_prob(torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.5, 0.0]])).exp().tolist()
    [0.125, 0.0]
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False  # draws come from explicit noise: distributions.draw
    measure: ClassVar[str] = "codes"

    def __init__(
        self,
        codebook: Tensor,
        network: nn.Module,
        places: int,
        batch_shape: Sequence[int] = (),
        weights: dict[str, Tensor] | None = None,
    ) -> None:
        self.codebook, self.network, self.places, self.weights = codebook, network, places, weights
        super().__init__(torch.Size(batch_shape), torch.Size([places * codebook.shape[-1]]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> CodeSequence:
        """Return the same masses for each row of a batch."""
        return CodeSequence(self.codebook, self.network, self.places, batch_shape, self.weights)

    def held(self) -> CodeSequence:
        """Return the same masses with the codebook and the weights of the network detached."""
        weights = {name: p.detach() for name, p in self.network.named_parameters()}
        return CodeSequence(self.codebook.detach(), self.network, self.places, self.batch_shape, weights)

    def logits(self, z: Tensor) -> Tensor:
        """Return the logits of the codes of each place (*lead, G, C), for z (*lead, G W)."""
        own = self.weights is None
        out: Tensor = self.network(z) if own else torch.func.functional_call(self.network, self.weights or {}, (z,))
        return out[..., :: self.codebook.shape[-1], :]

    def sequence(self, u: Tensor) -> Tensor:
        """Return the codes whose cumulative masses u (*lead, G) passes, one place after another: (*lead, G W)."""
        books = self.codebook.expand(self.places, -1, -1)
        z = books[:, 0].flatten().expand(*u.shape[:-1], -1)
        for g in range(self.places):
            cumulative = self.logits(z)[..., g, :].softmax(-1).cumsum(-1)[..., :-1]
            code = books[g, (u[..., g : g + 1] > cumulative).sum(-1)]
            here = (torch.arange(self.places, device=z.device) == g).unsqueeze(-1)
            z = torch.where(here, code.unsqueeze(-2), z.unflatten(-1, (self.places, -1))).flatten(-2)
        return z

    def fixed_draws(self) -> Tensor:
        """Return 128 fixed draws, (128, *batch, G W)."""
        u = torch.rand(POINTS, self.places, generator=stream(0, "points"), dtype=torch.float64).to(self.codebook)
        z = self.sequence(u).reshape(POINTS, *[1] * len(self.batch_shape), -1)
        return z.expand(-1, *self.batch_shape, -1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-mass of value (*lead, G W), (*lead)."""
        masses = []
        for some in value.reshape(-1, *self.event_shape).split(ROWS):
            match = (some.unflatten(-1, (self.places, 1, -1)) == self.codebook).all(-1)  # (rows, G, C)
            log_mass = self.logits(some).log_softmax(-1)
            masses.append(torch.where(match, log_mass, -torch.inf).logsumexp(-1).sum(-1))
        return torch.cat(masses).reshape(value.shape[:-1])


@register_draw(CodeSequence)
def _code_sequence(d: CodeSequence, samples: int, noise: Noise) -> Tensor:
    return d.sequence(noise.uniform((samples, *d.batch_shape, d.places), d.codebook))

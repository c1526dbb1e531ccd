"""The one typed record that every bound, objective and measure is a function of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, overload

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, OneHotCategorical

from ..distributions import closed_form_kl, comparable, entries, has_density, held
from ..errors import UsageError
from ..shapes import Bool, Float

T = TypeVar("T")
V = TypeVar("V")


class lazily(Generic[V]):
    """Compute once, when first read. (functools.cached_property would break a compiled graph.)"""

    def __init__(self, compute: Callable[[Any], V]) -> None:
        self.compute, self.name, self.__doc__ = compute, compute.__name__, compute.__doc__

    @overload
    def __get__(self, terms: None, owner: type) -> lazily[V]: ...
    @overload
    def __get__(self, terms: object, owner: type) -> V: ...
    def __get__(self, terms: object | None, owner: type) -> lazily[V] | V:
        if terms is None:
            return self
        value = self.compute(terms)
        terms.__dict__[self.name] = value  # shadows this descriptor from now on
        return value


def layers(value: T | dict[str, T]) -> dict[str, T]:
    """Return layer -> value; a single stochastic layer is called "z"."""
    return value if isinstance(value, dict) else {"z": value}


@dataclass(eq=False)
class Terms:
    """What K draws z ~ q(z | x) say about B data points. Every log-density is in nats.

    z, q and p are values, or dicts layer -> value with several stochastic layers. `observed` (B, *X) says which
    entries of x were seen; `log_weight` (K, B) are log-weights of the draws, None meaning -log K; `gradient` is
    "pathwise", "stopped" (log q with its parameters held) or "score" (z held). `sampled` names layers whose p
    depends on draws that their own draw led to: no closed form averages over those, so their KL is sampled.

    Where p(s | x) of what is missing is modelled, `filled` (K, B, *X) are the rows with x_missing ~ p(x | z) in their
    gaps and `ps` is p(s | filled): log_px then is log p(x_observed, s | z) at these draws.

    Computed when first read: log_px (K, B) = log p(x | z) over the observed entries, log_pz (K, B) = log p(z),
    log_qz (K, B) = log q(z | x), log_w (K, B) = log_px + log_pz - log_qz, and kl: layer -> (K, B, D) per dimension
    for a factorised q, else (K, B, 1).

    >>> model, _ = recipes.vae((5,), 2)
    >>> terms = model.terms(torch.zeros(7, 5), samples=3)
    >>> terms.log_w.shape, terms.kl["z"].shape
    (torch.Size([3, 7]), torch.Size([3, 7, 2]))
    """

    x: Float[Tensor, " B *X"]
    z: Float[Tensor, "K B *Z"] | dict[str, Tensor]
    q: Distribution | dict[str, Distribution]
    p: Distribution | dict[str, Distribution]
    px: Distribution
    observed: Bool[Tensor, " B *X"] | None = None
    log_weight: Float[Tensor, "K B"] | None = None
    gradient: str = "pathwise"
    sampled: tuple[str, ...] = ()
    filled: Float[Tensor, "K B *X"] | None = None
    ps: Distribution | None = None

    @property
    def samples(self) -> int:
        """K, the number of draws."""
        return next(iter(layers(self.z).values())).shape[0]

    @lazily
    def log_px(self) -> Float[Tensor, "K B"]:
        """Return log p(x | z), (K, B), summed over the observed entries of x."""
        if self.observed is None:
            log_px = self.px.log_prob(self.x)
        else:
            single = entries(self.px)
            if hasattr(single, "check_mask"):  # entries that depend on one another
                single.check_mask(self.observed)
            each = single.log_prob(self.x)
            log_px = torch.where(self.observed, each, 0).flatten(2).sum(2)
        if log_px.shape != (self.samples, self.x.shape[0]):
            raise UsageError(
                f"log p(x | z) came out with shape {tuple(log_px.shape)}, expected (draws, rows) = "
                f"{(self.samples, self.x.shape[0])}. Compare the likelihood's shape with x, {tuple(self.x.shape)}."
            )
        return log_px if self.ps is None else log_px + self.ps.log_prob(self.seen)

    @property
    def seen(self) -> Float[Tensor, " B *X"]:
        """The mask s as numbers, 1 where an entry was observed."""
        return torch.ones_like(self.x) if self.observed is None else self.observed.to(self.x.dtype)

    @lazily
    def log_pz(self) -> Float[Tensor, "K B"]:
        """Return log p(z), (K, B), summed over layers."""
        p, z = layers(self.p), layers(self.z)
        return torch.stack([p[name].log_prob(z[name]) for name in z]).sum(0)

    @lazily
    def log_qz_by_layer(self) -> dict[str, Tensor] | None:
        """Return layer -> log q(z | x), (K, B); None where q has no density, or one of another kind than p(z)."""
        q, p, z = layers(self.q), layers(self.p), layers(self.z)
        if not all(comparable(d, p[name]) for name, d in q.items()):
            return None
        return {name: (held(d) if self.gradient == "stopped" else d).log_prob(z[name]) for name, d in q.items()}

    @lazily
    def log_qz(self) -> Float[Tensor, "K B"] | None:
        """Return log q(z | x), (K, B), summed over layers; None where q has no density."""
        by_layer = self.log_qz_by_layer
        return None if by_layer is None else torch.stack(list(by_layer.values())).sum(0)

    @lazily
    def log_w(self) -> Float[Tensor, "K B"]:
        """Return log p(x, z) - log q(z | x), (K, B); the mean of its exponential over q is p(x)."""
        if self.log_qz is None:
            raise self._no_density()
        return self.log_px + self.log_pz - self.log_qz

    def _no_density(self) -> UsageError:
        names = ", ".join(type(d).__name__ for d in layers(self.q).values())
        if all(has_density(d) for d in layers(self.q).values()):
            others = ", ".join(type(d).__name__ for d in layers(self.p).values())
            return UsageError(
                f"q(z | x) is a {names} and p(z) a {others}: their densities are of different kinds, so this model "
                "gives no bound on log p(x). Use a prior and a posterior of one kind, or 'reconstruction'."
            )
        return UsageError(
            f"q(z | x) is a {names}, which has no density, so this model gives no bound on log p(x). "
            "Use the objective 'reconstruction', or a posterior with a density."
        )

    @lazily
    def kl(self) -> dict[str, Float[Tensor, "K B D"]]:
        """Return layer -> KL(q || p), (K, B, D) or (K, B, 1): closed form for a registered pair, else sampled."""
        q, p = layers(self.q), layers(self.p)
        if self.log_qz_by_layer is None:
            return {}
        kl = {}
        for name, log_q in self.log_qz_by_layer.items():
            # with the parameters of q held, only the sampled form has the gradient that is asked for
            closed = None if self.gradient == "stopped" else closed_form_kl(q[name], p[name])
            if closed is None or name in self.sampled:
                kl[name] = self._sampled_kl(name, log_q)
            else:
                kl[name] = closed.expand(self.samples, *closed.shape[-2:])
        return kl

    def _sampled_kl(self, name: str, log_q: Tensor) -> Tensor:
        """log q - log p at the draw, per dimension where a sampled layer factorises."""
        q, p, z = layers(self.q)[name], layers(self.p)[name], layers(self.z)[name]
        if name in self.sampled and isinstance(q, Independent) and isinstance(p, Independent):
            return entries(q).log_prob(z) - entries(p).log_prob(z)
        return (log_q - p.log_prob(z)).unsqueeze(-1)

    @property
    def closed_form(self) -> bool:
        """Whether every layer's KL has a closed form."""
        q, p = layers(self.q), layers(self.p)
        return not self.sampled and all(closed_form_kl(q[name], p[name]) is not None for name in q)

    @lazily
    def mean_z(self) -> Float[Tensor, "B D"]:
        """Return E_q[z], (B, D), layers side by side; of a layer drawn after others E[E[z | others]].

        A latent class is no place in the latent space, and is left out.
        """
        places = [d for d in layers(self.q).values() if not isinstance(d, OneHotCategorical)]
        return torch.cat([self._over_draws(d, d.mean).flatten(1) for d in places], -1)

    @lazily
    def variance_z(self) -> Float[Tensor, "B D"]:
        """Return the variance of z under q(z | x), (B, D): E[Var[z | others]] + Var E[z | others] for such a layer."""
        variances = []
        for d in layers(self.q).values():
            if not isinstance(d, OneHotCategorical):
                between = (d.mean - self._over_draws(d, d.mean)).square()
                variances.append(self._over_draws(d, d.variance + between).flatten(1))
        return torch.cat(variances, -1)

    def _over_draws(self, d: Distribution, value: Tensor) -> Tensor:
        return value if len(d.batch_shape) < 2 else self.mean(value)

    @lazily
    def kl_total(self) -> Float[Tensor, "K B"]:
        """Return the KL summed over layers and dimensions, (K, B)."""
        if not self.kl:
            raise self._no_density()
        return torch.stack([v.sum(-1) for v in self.kl.values()]).sum(0)

    @property
    def log_weights(self) -> Tensor:
        """The log-weights of the draws, (K, B) or broadcasting to it: -log K unless the model set them."""
        return self.log_px.new_tensor(-math.log(self.samples)) if self.log_weight is None else self.log_weight

    def mean(self, value: Tensor) -> Tensor:
        """Return the weighted average over draws, (B, ...) of a value (K, B, ...)."""
        if self.log_weight is None:
            return value.mean(0)
        weight = self.log_weight.exp()
        return (weight.reshape(*weight.shape, *[1] * (value.ndim - 2)) * value).sum(0)

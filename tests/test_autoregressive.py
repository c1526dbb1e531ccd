"""Binary images drawn pixel by pixel: against enumeration of all images, and a loop that follows the formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from oracles import F64, close, noise
from vaelab import likelihoods
from vaelab.distributions import AutoregressiveBernoulli, draw, entries
from vaelab.errors import UsageError
from vaelab.models import Terms
from vaelab.models.vae import centre
from vaelab.networks import MLP

H, V, W, Z = 2, 3, 5, 3
IMAGES = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=F64)] * (H * V)).reshape(-1, H, V)


def law(radius: int, *lead: int, size: tuple[int, int] = (H, V)) -> AutoregressiveBernoulli:
    places = radius * (2 * radius + 1) + radius
    return AutoregressiveBernoulli(
        torch.randn(*lead, W, *size, dtype=F64),
        1.5 * torch.randn(W, places, dtype=F64),
        1.5 * torch.randn(W, dtype=F64),
        torch.tensor(0.3, dtype=F64),
        radius,
    )


def slowly(d: AutoregressiveBernoulli, x: Tensor) -> Tensor:
    """log P(x) of one image (H, V) under a law without batch, by the formula."""
    r, total = d.radius, 0.0
    before = [(dy, dx) for dy in range(-r, 1) for dx in range(-r, r + 1) if dy < 0 or dx < 0]
    height, width = x.shape
    for i in range(height):
        for j in range(width):
            hidden = d.given[:, i, j].clone()
            for place, (dy, dx) in enumerate(before):
                if i + dy >= 0 and 0 <= j + dx < width:
                    hidden += d.kernel[:, place] * x[i + dy, j + dx]
            logit = (hidden * hidden.sigmoid() * d.head).sum() + d.bias
            total += (x[i, j] * logit - torch.nn.functional.softplus(logit)).item()
    return torch.tensor(total, dtype=F64)


@pytest.mark.parametrize("radius", [1, 2, 4])
def test_masses_of_all_images_sum_to_one_and_follow_the_formula(radius: int) -> None:
    d = law(radius)
    each = d.log_prob(IMAGES).sum((1, 2))
    close(each.exp().sum(), torch.ones(()), rel=1e-12)
    close(each[::7], torch.stack([slowly(d, x) for x in IMAGES[::7]]), rel=1e-12)
    large = law(radius, size=(6, 5))
    x = torch.randint(2, (6, 5)).double()
    close(large.log_prob(x).sum(), slowly(large, x), rel=1e-12)


def test_draws_come_as_often_as_their_mass() -> None:
    """Chi-square over all 64 images, at five standard errors of its normal limit."""
    d, n = law(2), 40_000
    images = draw(d, n, noise(3))
    code = (images.flatten(1) * 2 ** torch.arange(H * V - 1, -1, -1)).sum(1).long()
    counts, expected = torch.bincount(code, minlength=64).double(), n * d.log_prob(IMAGES).sum((1, 2)).exp()
    often = expected > 5
    chi = ((counts - expected).square() / expected)[often].sum()
    assert abs(chi - often.sum()) < 5 * math.sqrt(2 * often.sum())


def test_a_pixel_hears_those_before_it_alone() -> None:
    d, x = law(3, size=(5, 6)), torch.randint(2, (5, 6)).double()
    for i, j in ((0, 0), (2, 3), (4, 5)):
        other = x.clone()
        other[i, j] = 1 - other[i, j]
        changed = (d.logits(other) != d.logits(x)).flatten()
        assert not changed[: i * 6 + j + 1].any()
        assert bool(changed.any()) == ((i, j) != (4, 5))


@pytest.mark.parametrize("shape", [(H, V), (1, H, V)])
def test_the_part_draws_rows_means_and_terms(shape: tuple[int, ...]) -> None:
    outputs = likelihoods.AutoregressiveBernoulli.outputs(shape, width=W)
    part = likelihoods.AutoregressiveBernoulli(MLP(Z, outputs, (11,)), shape, radius=2, width=W).double()
    z, x = torch.randn(2, 7, Z, dtype=F64), IMAGES[:7].reshape(7, *shape)
    px = part(z)
    assert px.batch_shape == (2, 7)
    one = part(z[1, 3])
    close(px.log_prob(x)[1, 3], one.log_prob(x[3]), rel=1e-12)
    close(px.log_prob(x), entries(px).log_prob(x).flatten(2).sum(2), rel=1e-12)
    mass = one.log_prob(IMAGES.reshape(64, *shape)).exp()
    mean = (mass.reshape(-1, 1, 1) * IMAGES).sum(0)
    error = (mean * (1 - mean) / 32).sqrt()
    assert bool(((centre(one).reshape(H, V) - mean).abs() < 5 * error).all()), "the mean over 32 fixed draws"
    assert draw(px, 1, noise(3)).shape == (1, 2, 7, *shape)
    loss = -px.log_prob(x).sum()
    assert all(bool(g.abs().max() > 0) for g in torch.autograd.grad(loss, list(part.parameters())))


def test_missing_pixels_and_other_data_are_refused_by_name() -> None:
    part = likelihoods.AutoregressiveBernoulli(MLP(Z, (W, H, V)), (H, V), width=W).double()
    z, x = torch.randn(2, 7, Z, dtype=F64), IMAGES[:7]
    observed = torch.ones_like(x, dtype=torch.bool)
    whole = Terms(x, z, part(z), part(z), part(z), observed)
    close(whole.log_px, part(z).log_prob(x), rel=1e-12)
    observed[2, 1, 1] = False
    with pytest.raises(UsageError, match="a pixel is missing"):
        _ = Terms(x, z, part(z), part(z), part(z), observed).log_px
    for shape in ((5,), (3, 4, 4)):
        with pytest.raises(UsageError, match="images of one channel"):
            likelihoods.AutoregressiveBernoulli(MLP(Z, 5), shape)
    with pytest.raises(UsageError, match="radius and width are at least 1"):
        likelihoods.AutoregressiveBernoulli(MLP(Z, 5), (4, 4), radius=0)

"""MS-SSIM by brute force and by its invariances, and the objective made of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import correlate

from oracles import F64, close, noise
from vaelab import likelihoods, posteriors, priors, recipes
from vaelab.errors import UsageError
from vaelab.models import VAE
from vaelab.networks import MLP
from vaelab.objectives import Similarity, ms_ssim
from vaelab.objectives.similarity import POWERS, scales

SIZES = ((8, 8), (9, 20), (28, 28), (64, 48), (178, 190))


def by_scipy(x: np.ndarray, y: np.ndarray) -> float:
    """The published formula with filters of another library."""
    side = min(x.shape)
    size = min(11, side if side % 2 else side - 1)
    at = np.arange(size) - size // 2
    w = np.exp(-(at**2) / (2 * 1.5**2))
    w = np.outer(w, w) / w.sum() ** 2
    number = sum(side // 2**j >= size for j in range(5))
    power = np.array(POWERS[:number]) / sum(POWERS[:number])
    value, cut = 1.0, size // 2
    for j in range(number):
        if j:
            h, v = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
            x, y = (a[:h, :v].reshape(h // 2, 2, v // 2, 2).mean((1, 3)) for a in (x, y))

        def mean(a: np.ndarray) -> np.ndarray:
            return correlate(a, w)[cut : a.shape[0] - cut, cut : a.shape[1] - cut]

        a, b = mean(x), mean(y)
        cs = (2 * (mean(x * y) - a * b) + 0.03**2) / (mean(x * x) - a * a + mean(y * y) - b * b + 0.03**2)
        light = (2 * a * b + 0.01**2) / (a * a + b * b + 0.01**2)
        value *= (cs * light if j == number - 1 else cs).mean() ** power[j]
    return float(value)


@pytest.mark.parametrize("size", SIZES)
def test_it_is_the_published_formula(size: tuple[int, int]) -> None:
    x, other = torch.rand(2, 3, *size, dtype=F64)
    y = 0.7 * x + 0.3 * other
    close(ms_ssim(x, y), [by_scipy(a.numpy(), b.numpy()) for a, b in zip(x, y)], rel=1e-9)
    close(ms_ssim(x, x), np.ones(3))
    close(ms_ssim(x, y), ms_ssim(y, x))
    assert (ms_ssim(x, y) < 1).all()


def test_a_constant_shift_changes_the_light_alone() -> None:
    for size, number in zip(SIZES, (1, 1, 2, 3, 5)):
        assert scales(size) == number
        flat = torch.full((1, *size), 0.2, dtype=F64)
        light = (2 * 0.2 * 0.5 + 1e-4) / (0.2**2 + 0.5**2 + 1e-4)
        power = POWERS[number - 1] / sum(POWERS[:number])
        close(ms_ssim(flat, flat + 0.3), [light**power])


def test_unlike_images_have_a_gradient_and_no_nan() -> None:
    x = torch.rand(2, 48, 48, dtype=F64)
    y = (1 - x).requires_grad_()
    value = ms_ssim(x, y)
    (slope,) = torch.autograd.grad(value.sum(), y)
    assert torch.isfinite(slope).all()
    assert slope.abs().max() > 0
    assert ((value + 1e-2) < ms_ssim(x, (y + 0.05 * slope / slope.abs().max()).detach())).any()
    small = y.detach()[:, :9, :9].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: ms_ssim(x[:, :9, :9], y), (small,))


def model(scale: str | float = "shared") -> VAE:
    outputs = likelihoods.Gaussian.outputs((3, 9, 8), scale=scale)
    return VAE(
        prior=priors.Gaussian(2),
        posterior=posteriors.Gaussian(MLP((3, 9, 8), 4, (6,)), 2),
        likelihood=likelihoods.Gaussian(MLP(2, outputs, (6,)), (3, 9, 8), scale),
    ).double()


def test_the_objective_by_hand_masks_and_refusals() -> None:
    m, x = model(), 4 * torch.rand(5, 3, 9, 8, dtype=F64) - 1
    objective = Similarity((3, 9, 8), weight=7.0, beta=0.5, samples=2).double()
    objective.start(x, 5)
    losses, t = objective(m, x, noise=noise(), step=0)
    low, high = x.min().item(), x.max().item()
    mean = t.px.mean
    a, b = (((v - low) / (high - low)).detach().numpy() for v in (x, mean))
    alike = np.array([[np.mean([by_scipy(a[r, c], b[k, r, c]) for c in range(3)]) for r in range(5)] for k in range(2)])
    log_px, kl = t.log_px.detach().numpy(), t.kl_total.detach().numpy()
    close(losses["model"], -(7 * (alike - 1) + 1e-3 * log_px - 0.5 * kl).mean(0), rel=1e-9)
    seen = torch.rand(x.shape) < 0.7
    a, b = (objective(m, torch.where(seen, x, v), noise=noise(), step=0, observed=seen)[0]["model"] for v in (0.0, 1e6))
    assert torch.equal(a, b)
    for shape in ((5,), (9, 8), (3, 9, 1)):
        with pytest.raises(UsageError, match="that of images"):
            Similarity(shape)
    for wrong in ({"weight": 0.0}, {"pixels": -1.0}, {"beta": -1.0}, {"samples": 0}):
        with pytest.raises(UsageError, match="Similarity: "):
            Similarity((1, 8, 8), **wrong)
    categories = likelihoods.Categorical(MLP(2, (3, 9, 8, 4), (6,)), (3, 9, 8), categories=4)
    wordy = VAE(prior=m.prior, posterior=m.posterior, likelihood=categories.double())
    with pytest.raises(UsageError, match="categories have no mean"):
        objective(wordy, torch.zeros_like(x), noise=noise(), step=0)
    mixed, goal = recipes.vae_gan((2,), 2, likelihood="columns:kinds=gaussian+categorical=3", hidden=(3,))
    with pytest.raises(UsageError, match="categories have no mean"):
        goal(mixed, torch.zeros(4, 2), noise=noise(), step=0)

"""Exact checks of similarities of images, of a critic's features, and of leapfrog steps under a learned metric."""

from __future__ import annotations

import torch

from exact import check, close, design, f64, generator, linear, normal
from vaelab.noise import Given
from vaelab.objectives import LearnedSimilarity, ms_ssim


@check
def similarity_of_images_by_hand() -> None:
    """Two scales of 12 x 13 pixels, window by window; and a shift by a constant, which leaves the light alone."""
    x, y = torch.rand(2, 24, 26, generator=generator(1), dtype=torch.float64)
    y = 0.6 * x + 0.4 * y

    def means(x: torch.Tensor, y: torch.Tensor) -> tuple[float, float]:
        at = torch.arange(11, dtype=torch.float64) - 5
        w = torch.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.5**2))
        w = w / w.sum()
        whole, contrast = [], []
        for i in range(x.shape[0] - 10):
            for j in range(x.shape[1] - 10):
                a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
                m, n = (w * a).sum(), (w * b).sum()
                cs = (2 * (w * (a - m) * (b - n)).sum() + 9e-4) / ((w * ((a - m) ** 2 + (b - n) ** 2)).sum() + 9e-4)
                contrast.append(cs)
                whole.append(cs * (2 * m * n + 1e-4) / (m * m + n * n + 1e-4))
        return torch.stack(whole).mean().item(), torch.stack(contrast).mean().item()

    fine = means(x, y)[1]
    coarse = means(*(v.reshape(12, 2, 13, 2).mean((1, 3)) for v in (x, y)))[0]
    power = 0.0448 / (0.0448 + 0.2856)
    close(ms_ssim(x[None], y[None])[0], fine**power * coarse ** (1 - power), what="MS-SSIM of two scales")
    flat = torch.full((1, 9, 9), 0.3, dtype=torch.float64)
    shifted = (2 * 0.3 * 0.5 + 1e-4) / (0.3**2 + 0.5**2 + 1e-4)
    close(ms_ssim(flat, flat + 0.2), f64([shifted]), what="a constant shift of a constant")


@check
def losses_of_a_discriminator_by_hand() -> None:
    """The linear model, whose means are known, before a discriminator of one hidden layer."""
    o, x, e = linear(), normal(3, 5, seed=5), normal(4, 3, 2, seed=6)
    torch.manual_seed(4)
    goal = LearnedSimilarity((5,), gamma=0.3, pixels=0.1, width=6, layers=1, samples=4).double()
    losses, _ = goal(o.model, x, noise=Given([design(2, 3), e]), step=0)
    weight, bias = goal.body.layers[0].weight, goal.body.layers[0].bias
    out = goal.head

    def h(x: torch.Tensor) -> torch.Tensor:
        a = x @ weight.T + bias
        return a / (1 + (-a).exp())

    def d(x: torch.Tensor) -> torch.Tensor:
        return 1 / (1 + (-(h(x) @ out.weight[0] + out.bias)).exp())

    log_px, log_pz, log_qz = o.by_hand(x, design(2, 3))
    z = x @ o.a.T + o.b + o.l.diagonal() * design(2, 3)
    seen, dreamt = (v @ o.w.T + o.m for v in (z, o.loc + o.tau * e))
    unlike = 0.5 * ((h(x) - h(seen)) ** 2).sum(-1).mean(0)
    kl = (log_qz - log_pz).mean(0)  # this design integrates quadratics without error
    close(losses["encoder"], kl + unlike, what="loss of the encoder")
    fooled = -(d(seen).log() + d(dreamt).log()).mean(0)
    decoder = 0.3 * unlike + fooled + kl - 0.1 * log_px.sum(-1).mean(0)
    close(losses["decoder"], decoder, what="loss of the decoder")
    caught = -d(x).log() - ((1 - d(seen)).log() + (1 - d(dreamt)).log()).mean(0)
    close(losses["discriminator"], caught, what="loss of the discriminator")

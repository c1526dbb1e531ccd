"""Exact checks of similarities of images, of a critic's features, and of leapfrog steps under a learned metric."""

from __future__ import annotations

import math

import torch

from exact import bounded, check, close, design, f64, generator, linear, normal
from vaelab.models import VAE
from vaelab.noise import Given
from vaelab.objectives import LearnedSimilarity, ms_ssim
from vaelab.refinements import Riemannian


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


@check
def steps_under_a_metric_by_hand() -> None:
    """Two steps whose Hamiltonian is differentiated by torch, and whose equations are solved to the last digit."""
    o, x = linear(wrong=True), normal(3, 5, seed=5)
    e, g = normal(2, 3, 2, seed=6), normal(2, 3, 2, seed=7)
    torch.manual_seed(4)
    refine = Riemannian(2, leapfrog=2, step=0.08, tempering=0.4, components=3, floor=0.2, iterations=40).double()
    refine.below.data.normal_()
    model = VAE(prior=o.model.prior, posterior=o.model.posterior, likelihood=o.model.likelihood, refine=refine)
    t = model.terms(x, samples=2, noise=Given([e, g]))
    step, root = 0.2 * refine.raw_step.sigmoid().item(), refine.raw_beta.sigmoid().item() ** -0.5
    lower = refine.below.detach().tril(-1) + torch.diag_embed(bounded(refine.raw_scale.detach()).exp())

    def inverse(z: torch.Tensor) -> torch.Tensor:
        near = torch.exp(-((z[..., None, :] - refine.centres.detach()) ** 2).sum(-1) / 4)  # T² = 2 D
        return torch.einsum("...c,cde->...de", near, lower @ lower.mT) + 0.2 * torch.eye(2).double()

    def kinetic(z: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        k = inverse(z)
        return 0.5 * torch.einsum("...d,...de,...e->...", r, k, r) - 0.5 * torch.logdet(k)

    def energy(z: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        log_px = -0.5 * (((x - z @ o.w.T - o.m) / o.s) ** 2).sum(-1)
        return kinetic(z, r) - log_px + 0.5 * (((z - o.loc) / o.tau) ** 2).sum(-1)

    def by(which: int, z: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        both = [z.detach().requires_grad_(), r.detach().requires_grad_()]
        return torch.autograd.grad(energy(*both).sum(), both[which])[0]

    deviation = o.l.diagonal()
    z = z0 = x @ o.a.T + o.b + deviation * e
    r = torch.linalg.cholesky(inverse(z)).mT.inverse() @ (root * g)[..., None]
    r = r[..., 0]
    log_q = -0.5 * (e**2).sum(-1) - math.log(2 * math.pi) - deviation.log().sum() - kinetic(z0, r / root)
    heat = root
    for k in (1, 2):
        start, from_, at = r, z, r
        for _ in range(80):
            at = start - 0.5 * step * by(0, z, at)
        for _ in range(80):
            z = from_ + 0.5 * step * (by(1, from_, at) + by(1, z, at))
        r = at - 0.5 * step * by(0, z, at)
        cooler = root + (1 - root) * (k / 2) ** 2
        r, heat = r * cooler / heat, cooler
    close(t.z, z, 1e-9, what="z after the steps")
    close(t.log_qz, log_q + kinetic(z, r), 1e-9, what="log q with the momentum")

"""Hamiltonian Monte Carlo: moves that leave a density as it is."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..noise import Noise
from .base import LogJoint, gradients

JITTER = 0.5  # a step of fixed length could go round a Gaussian in a circle
Field = Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]  # z -> log f (K, B), what comes with z, slope (K, B, Z)


def move(at: Field, z: Tensor, step: Tensor, leapfrog: int, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
    """Return z (K, B, Z) after a Hamiltonian trajectory that leaves f as it is, what comes with it, and its chance.

    step (B,) or (). Leapfrog steps keep volume and can be run backwards, so accepting by the change of energy is exact
    (Neal 2011, section 3.2). The chance of being accepted is (K, B).
    """
    log_f, extra, slope = at(z)
    r = noise.normal(z.shape, z)
    u, v = noise.uniform((*z.shape[:2], 2), z).unbind(-1)
    h = (step * (1 - JITTER + 2 * JITTER * u)).unsqueeze(-1)
    energy = log_f - 0.5 * r.square().sum(-1)
    y, log_f_y, extra_y = z, log_f, extra
    for _ in range(leapfrog):
        r = r + 0.5 * h * slope
        y = y + h * r
        log_f_y, extra_y, slope = at(y)
        r = r + 0.5 * h * slope
    gain = (log_f_y - 0.5 * r.square().sum(-1) - energy).nan_to_num(nan=-math.inf)
    accept = v.log() < gain
    z = torch.where(accept.unsqueeze(-1), y, z)
    return z, torch.where(accept, extra_y, extra), gain.clamp(max=0).exp()


def field(log_joint: LogJoint) -> Field:
    """Return the field of one density, with which comes its own value."""

    def at(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with gradients():
            z = z.detach().requires_grad_()
            log_f = log_joint(z)
            (slope,) = torch.autograd.grad(log_f.sum(), z)
        return log_f.detach(), log_f.detach(), slope

    return at

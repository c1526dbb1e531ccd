"""The weights that a run is judged by, and ends with: a mean of those that it went through."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

POWER = 15  # the mean age of what is averaged is 1 / (POWER + 2) of the run: 6 %
EVERY = 10  # steps: weights of neighbouring steps are nearly the same, and each addition reads all of them


class Average:
    """The power-function mean of the weights, the later the heavier.

    After t steps  a_t = sum_i theta_i w_i,  w_i = (t_i^(n + 1) - t_(i-1)^(n + 1)) / t^(n + 1),  n = POWER: the integral
    of s^n over the steps for which theta_i stands. Its window grows with the run, so that it is as good at any time as
    a run whose rate falls to 0 there (Karras et al. 2024, "Analyzing and improving the training dynamics of diffusion
    models", section 3.1). Running statistics and codebooks are averaged with the weights; what is no real number is
    taken as it stands.
    """

    def __init__(self, weights: dict[str, Tensor] | None = None, step: int = 0) -> None:
        self.weights, self.step = weights or {}, step

    @torch.no_grad()
    def add(self, model: nn.Module, step: int) -> None:
        """Let the weights of the model stand for the steps since the last addition."""
        if step == self.step:
            return
        now = model.state_dict()
        real = [name for name, value in now.items() if value.is_floating_point()]
        if self.step:
            new = 1 - (self.step / step) ** (POWER + 1)
            torch._foreach_lerp_([self.weights[name] for name in real], [now[name] for name in real], new)
        for name in now if not self.step else now.keys() - set(real):
            self.weights[name] = now[name].clone()
        self.step = step

    @contextmanager
    def within(self, model: nn.Module) -> Iterator[None]:
        """Let the model hold the mean for a while, if there is one."""
        if not self.weights:
            yield
            return
        own = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield
        finally:
            model.load_state_dict(own)

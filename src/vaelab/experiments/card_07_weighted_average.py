"""Card 7: beta moves along the rate-distortion curve; where codes overlap the best decode is a weighted average."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..distributions import draw, entries
from ..evaluation import Estimate, evidence_rows
from ..models import VAE
from ..part import inference
from ..training import Rows
from . import lab
from .base import Trial, experiment
from .picture import BLUE, PURPLE, VERMILION, tidy
from .pixels import Digits, decodes, model_of, sharpness, show, squared_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BETAS = (0.03, 0.3, 3.0, 12.0)
FEW = 300  # training rows: few enough to be learned by heart


@dataclass
class Seen:
    """What one beta gives: values per held-out row, except for the gap."""

    rate: Tensor
    distortion: Tensor
    error: Tensor  # |decode - average|² at a code of each row
    size: Tensor  # |average|²
    energy: Tensor
    gap: Estimate  # squared error of held-out rows over that of training rows
    decoded: Tensor
    average: Tensor

    @property
    def relative(self) -> Estimate:
        """The root of mean |decode - average|² over mean |average|²."""
        share = lab.ratio(Estimate.of(self.error.double()), Estimate.of(self.size.double()))
        return Estimate(share.value**0.5, share.se / (2 * share.value**0.5))


def average(model: VAE, z: Tensor, rows: Tensor, x: Tensor) -> Tensor:
    """Return sum_i q(z | x_i) x_i / sum_i q(z | x_i) at places z (M, Z), over training rows."""
    with inference(model):
        q = entries(model.posterior(rows))
        log_q = torch.cat([q.log_prob(some.unsqueeze(1)).sum(-1) for some in z.split(100)])  # (M, N)
        return log_q.softmax(1) @ x


def look(model: VAE, digits: Digits, trial: Trial) -> Seen:
    """Measure a trained model."""
    held = digits.held_out
    judged = evidence_rows(model, Rows(lab.data_of(held)), samples=10, seed=trial.seed)
    own = evidence_rows(model, Rows(digits.train), samples=10, seed=trial.seed)
    assert judged.kl is not None
    with inference(model):
        z = draw(model.posterior(held), 1, trial.noise("z"))[0].clone()
    x = digits.rows
    if trial.control:
        x = x[torch.randperm(len(x), generator=trial.generator("shuffle"))]
    decoded, weighted = decodes(model, z), average(model, z, digits.rows, x)
    gap = lab.ratio(*(Estimate.of(squared_error(values.reconstruction)) for values in (judged, own)))
    error, size = (decoded - weighted).square().sum(1), weighted.square().sum(1)
    return Seen(judged.kl.sum(1), -judged.reconstruction, error, size, sharpness(decoded), gap, decoded, weighted)


def rises(values: list[Tensor]) -> bool:
    """Whether values per row rise from one beta to the next, within 3 standard errors of the paired difference."""
    steps = [Estimate.of((b - a).double()) for a, b in pairwise(values)]
    return all(step.value > -3 * step.se for step in steps) and bool(values[-1].mean() > values[0].mean())


@experiment(
    7,
    "Why overfit or smooth?",
    statement="reconstruction and KL pull apart; under a strong KL the best decode is a weighted average of inputs",
    control="shuffled codes: each training row stands at another one's code",
)
def measure(trial: Trial) -> None:
    """A sweep of beta: rate, distortion, decodes against weighted averages, their sharpness, the gap to training."""
    digits = Digits.split(trial, rows=FEW)
    seen = [look(model_of(digits, trial, beta=beta), digits, trial) for beta in BETAS]
    trial.claim(
        "the rate falls as beta rises (held-out rows, within 3 standard errors)",
        rises([-s.rate for s in seen]),
        beta=list(BETAS),
        rate=[Estimate.of(s.rate) for s in seen],
    )
    trial.claim(
        "the distortion rises",
        rises([s.distortion for s in seen]),
        distortion=[Estimate.of(s.distortion) for s in seen],
    )
    relative = [s.relative for s in seen]
    falls = all(b.value < a.value + 3 * (a.se**2 + b.se**2) ** 0.5 for a, b in pairwise(relative))
    trial.claim(
        "decodes approach the average of training rows weighted by q(z | x_i): the relative error falls as beta rises, "
        f"to below 0.25 at beta = {BETAS[-1]:g}",
        falls and relative[-1].value < 0.25,
        relative_error=relative,
    )
    trial.claim(
        "decodes lose their edges: the energy of neighbouring pixels' differences falls",
        rises([-s.energy for s in seen]),
        energy=[Estimate.of(s.energy.double()) for s in seen],
    )
    first, last = seen[0].gap, seen[-1].gap
    apart = Estimate(first.value - last.value, (first.se**2 + last.se**2) ** 0.5)
    trial.claim(
        "at the other end it over-fits: the squared error of held-out rows over that of training rows is larger at "
        f"beta = {BETAS[0]:g} than at {BETAS[-1]:g}, by more than 3 standard errors",
        apart.value > 3 * apart.se,
        held_out_over_training=[s.gap for s in seen],
        difference=apart,
    )
    lines = torch.cat([digits.held_out[:8], *[t for s in (seen[0], seen[-1]) for t in (s.decoded[:8], s.average[:8])]])

    def paint(figure: Figure) -> None:
        curve, images = figure.subplots(1, 2, width_ratios=(3, 4))
        rate, distortion = ([getattr(s, n).mean().item() for s in seen] for n in ("rate", "distortion"))
        curve.plot(rate, distortion, "o-", color=BLUE)
        for beta, x, y in zip(BETAS, rate, distortion):
            curve.annotate(f"beta = {beta:g}", (x, y), xytext=(8, 6), textcoords="offset points", fontsize=11)
        curve.margins(x=0.25, y=0.12)
        tidy(curve, "rate, nats per row", "distortion, nats per row")
        names = ["held-out rows"]
        for s, beta in ((seen[0], BETAS[0]), (seen[-1], BETAS[-1])):
            names += [f"decodes, beta = {beta:g}", f"weighted averages\n(error {s.relative.value:.2f})"]
        show(images, lines, 8, names)
        for label, colour in zip(images.get_yticklabels(), ("black", VERMILION, VERMILION, PURPLE, PURPLE)):
            label.set_color(colour)

    trial.draw(paint, width=12, height=4.5)

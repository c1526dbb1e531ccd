"""What is measured of a trained model before anything is said of it: figures only, no judgement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from ..distributions import comparable_anywhere, draw
from ..models import Model, Terms
from ..models.terms import layers
from ..noise import Noise, stream
from ..part import inference
from ..training import History, Rows
from .baseline import constant_decoder, constant_log_px
from .collapse import active_units, aggregate_log_prob, mutual_information
from .curve import fallen, setback, still_rising, travelled
from .evidence import RowValues, evidence_rows

ROWS, DRAWS = 2000, 20  # enough for every threshold; all of a large data set would only take longer
TAIL = 0.05  # the least plausible share of codes (or of prior draws), against which the others are held


@dataclass(frozen=True)
class Symptoms:
    """Figures of a model and of its training; None where one was not measured, or means nothing for this model.

    All in nats per row of the model's units, except shares and counts. `held` are rows that were not trained on.
    """

    latents: int
    active_units: int
    unused: int | None = None  # dimensions whose KL is below 0.01
    kl: float | None = None
    information: float | None = None  # I_q(x; z), at most the log of the number of rows
    own_code: float | None = None  # E[log p(x | z) - log p(x | another row's z)]: what z tells the decoder
    spread: float | None = None  # variance over rows of E[x | z], as a share of that of x
    misses: float | None = None  # share of prior draws where fewer codes lie than at all but 5 % of codes
    strays: float | None = None  # share of codes where the prior is lower than at all but 5 % of its draws
    mismatch: float | None = None  # KL(q(z) || p(z)) of Gaussians with their first two moments
    scale_over_step: float | None = None  # smallest sigma of p(x | z), over its entry's step between values
    scale_entry: str | None = None
    scale_extreme: float | None = None  # the largest |log sigma| of p(x | z), in the model's units
    code_extreme: float | None = None  # the largest |log sigma| of q(z | x)
    train_gain: float | None = None  # the bound on training rows, less that of the best decoder that ignores z
    held_gain: float | None = None
    gain_error: float | None = None  # standard error of train_gain - held_gain
    entries: int | None = None  # of a row
    rising: float | None = None  # share of the whole rise that came in the last quarter
    setback: float | None = None  # largest rise of the training loss, as a share of its whole fall
    fallen: float | None = None  # how far below its best the validation bound ended
    best_epoch: int | None = None
    last_epoch: int | None = None
    travelled: float | None = None  # the sum of the learning rates of all steps
    skipped: int = 0
    first_bad: str | None = None
    steps: int | None = None
    no_best: bool = False

    def json(self) -> dict[str, Any]:
        """Return the figures by name; what was not measured is null, and so is what is not finite."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def measure(
    model: nn.Module,
    train: Rows | None,
    held: Rows | None,
    history: History | None,
    setup: Mapping[str, Any],
    *,
    quick: bool = False,
) -> Symptoms:
    """Return the symptoms of a model; `setup` holds decay, lr, beta and warmup (in steps) of its training, as known.

    `quick` leaves out what needs the training rows or another fit.
    """
    judged = held if held is not None else train
    assert judged is not None
    judged = judged.first(ROWS).drawn(0)
    values = evidence_rows(model, judged, samples=DRAWS)
    latents = values.mean.shape[1]
    found: dict[str, Any] = {"latents": latents, "active_units": active_units(values.mean)}
    found["entries"] = judged.schema.dims
    if values.kl is not None:
        per_dimension = values.kl.mean(0)
        # a posterior that does not factorise has one KL for all dimensions, which says nothing of each
        found["unused"] = int((per_dimension < 0.01).sum()) if len(per_dimension) == latents else None
        found["kl"] = per_dimension.sum().item()
    found |= _decoder(model, judged) | _course(history, setup)
    if not quick:
        information = mutual_information(model, judged)
        found["information"] = None if information is None else information[0]
        found |= _prior(model, (train if train is not None else judged).drawn(0))
        found |= _gains(model, train, held, judged, values, setup.get("beta", 1.0))
    return Symptoms(**found)


def _first(value: Any) -> Any:
    """Return the first stochastic layer's."""
    return next(iter(layers(value).values()))


def _terms(model: nn.Module, rows: Rows, noise: Noise, index: Tensor | None = None) -> Terms:
    assert isinstance(model, Model)
    batch = rows.at(slice(0, len(rows)) if index is None else index)
    return model.terms(batch.x, observed=batch.observed, condition=batch.condition, noise=noise)


def _decoder(model: nn.Module, rows: Rows) -> dict[str, Any]:
    """What z tells the decoder, and where the scales of p(x | z) and q(z | x) stand."""
    with inference(model):
        terms = _terms(model, rows, Noise(stream(0, "decoder", rows.device)))
        found: dict[str, Any] = {}
        spread_code = _deviation(_first(terms.q))
        if spread_code is not None:
            found["code_extreme"] = spread_code.log().median(0).values.abs().max().item()
        likelihood = getattr(model, "likelihood", None)
        if isinstance(likelihood, nn.Module) and isinstance(terms.z, Tensor):
            z = terms.z.roll(1, 1)  # every row gets its neighbour's code
            batch = rows.at(slice(0, len(rows)))
            px = likelihood(z) if batch.condition is None else likelihood(z, batch.condition)
            swapped = Terms(terms.x, z, terms.q, terms.p, px, terms.observed, filled=terms.filled, ps=terms.ps)
            found["own_code"] = (terms.log_px - swapped.log_px).double().mean().item()
        mean = terms.px.mean[0].double()
        if bool(torch.isfinite(mean).all()):
            x = terms.x.double() if terms.observed is None else torch.where(terms.observed, terms.x.double(), mean)
            total = x.var(0, correction=0).sum().item()
            found["spread"] = mean.var(0, correction=0).sum().item() / total if total > 0 else None
        sigma = None if getattr(likelihood, "discrete", True) else _deviation(terms.px)
        return found | ({} if sigma is None else _scale(sigma[0], rows))


def _deviation(d: Distribution) -> Tensor | None:
    try:
        deviation = d.stddev.double()
    except NotImplementedError:
        return None
    return deviation if bool((deviation > 0).all()) else None


def _scale(sigma: Tensor, rows: Rows) -> dict[str, Any]:
    """How far the deviations of a density are from their bound, and from the step in which the data were written down.

    A density may grow without end on values that repeat: below the step it measures the rounding, not the data.
    """
    typical = sigma.median(0).values.flatten()
    x = rows.data.double().flatten(1)
    gaps = x.sort(0).values.diff(dim=0)
    # float32 keeps about 7 digits: a smaller gap is no step but its rounding
    step = torch.where(gaps > 1e-5, gaps, math.inf).min(0).values if len(x) > 1 else torch.full_like(typical, math.inf)
    ratio = torch.where(step.isfinite(), typical / step, math.inf)
    worst = int(ratio.argmin())
    found: dict[str, Any] = {"scale_extreme": typical.log().abs().max().item()}
    if math.isfinite(ratio[worst].item()):
        found |= {"scale_over_step": ratio[worst].item(), "scale_entry": _entry(rows, worst)}
    return found


def _entry(rows: Rows, index: int) -> str:
    columns = rows.schema.columns
    return rows.schema.entry((index,)) if columns is not None else f"entry {index} of {rows.schema.dims}"


def _prior(model: nn.Module, rows: Rows) -> dict[str, Any]:
    """Whether the prior and the codes of the rows, q(z) = 1/N sum q(z | x_n), lie in the same places.

    q(z) is made of one half of the rows. If it is p(z), then codes of the other half and draws of the prior are alike
    whatever N and the number of latents, so each share is TAIL: no estimate of KL(q(z) || p(z)) has that, since
    one from N rows cannot tell more than log N nats.
    """
    pick = torch.randperm(len(rows), generator=stream(0, "rows"))[:ROWS].to(rows.device)
    if len(pick) < 20:
        return {}
    noise = Noise(stream(0, "prior", rows.device))
    with inference(model):
        terms = _terms(model, rows, noise, pick)
        q, p, codes = _first(terms.q), _first(terms.p), _first(terms.z)[0]
        if not comparable_anywhere(q, p) or codes.ndim != 2:
            return {}
        prior = draw(p if p.batch_shape else p.expand(torch.Size([len(codes)])), 1, noise)[0]
        half = len(codes) // 2
        at_codes = aggregate_log_prob(q, codes[half:], half)
        at_prior = aggregate_log_prob(q, prior[half:], half)
        log_p_codes, log_p_prior = p.log_prob(codes).double(), p.log_prob(prior).double()
        return {
            "misses": (at_prior < at_codes.quantile(TAIL)).double().mean().item(),
            "strays": (log_p_codes < log_p_prior.quantile(TAIL)).double().mean().item(),
            "mismatch": _moments_kl(codes.double(), prior.double()),
        }


def _moments_kl(codes: Tensor, prior: Tensor) -> float:
    """KL(N(m_q, S_q) || N(m_p, S_p)) of the samples' moments: for a Gaussian prior at most KL(q(z) || p(z))."""
    d = codes.shape[1]
    S_q, S_p = (z.T.cov().reshape(d, d) for z in (codes, prior))
    shift = prior.mean(0) - codes.mean(0)
    inverse = torch.linalg.pinv(S_p)
    log_det = torch.linalg.slogdet(S_p).logabsdet - torch.linalg.slogdet(S_q).logabsdet
    return 0.5 * ((inverse @ S_q).trace() + shift @ inverse @ shift - d + log_det).item()


def _gains(
    model: nn.Module, train: Rows | None, held: Rows | None, judged: Rows, values: RowValues, beta: float
) -> dict[str, Any]:
    """What was learned over a decoder that ignores z, on rows of training and on others; the difference's error.

    The KL counts with at most its weight in training: a model that was told to ignore it is not blamed for it.
    """
    decoder = None if train is None else constant_decoder(model, train)
    if train is None or decoder is None:
        return {}
    own = train.first(ROWS).drawn(0)
    gains = {"train": _gain(model, decoder, own, evidence_rows(model, own, samples=DRAWS), beta)}
    if held is not None:
        gains["held"] = _gain(model, decoder, judged, values, beta)
    found: dict[str, Any] = {f"{part}_gain": gain.mean().item() for part, gain in gains.items()}
    if held is not None and min(map(len, gains.values())) > 1:
        found["gain_error"] = math.sqrt(sum(gain.var().item() / len(gain) for gain in gains.values()))
    return found


def _gain(model: nn.Module, decoder: nn.Module, rows: Rows, values: RowValues, beta: float) -> Tensor:
    kl = 0.0 if values.kl is None else values.kl.sum(1)
    return values.reconstruction - min(1.0, beta) * kl - constant_log_px(model, decoder, rows)


def _course(history: History | None, setup: Mapping[str, Any]) -> dict[str, Any]:
    if history is None or not history.records:
        return {}
    fall, best, last = fallen(history) or (None, None, None)
    return {
        "rising": still_rising(history, setup),
        "setback": setback(history, setup),
        "fallen": fall,
        "best_epoch": best,
        "last_epoch": last,
        "travelled": travelled(history, setup),
        "skipped": history.skipped,
        "first_bad": history.first_bad,
        "steps": history.records[-1].get("step"),
        "no_best": history.best is None,
    }

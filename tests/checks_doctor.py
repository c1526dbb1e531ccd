"""Exact checks of what a diagnosis and a comparison rest on."""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from exact import check, close, f64, generator, linear, log_normal, normal, real_rows
from vaelab import likelihoods, networks, posteriors, priors
from vaelab.comparison import compare
from vaelab.data import Dataset, Schema
from vaelab.evaluation.baseline import constant_decoder, constant_log_px
from vaelab.evaluation.curve import fallen, setback, still_rising, travelled
from vaelab.evaluation.diagnose import HALFWAY
from vaelab.evaluation.symptoms import measure
from vaelab.models import VAE
from vaelab.run import Run
from vaelab.training import History, Rows
from vaelab.training.schedules import learning_rate


def course(bounds: list[float], decay: str = "none") -> tuple[History, dict[str, object]]:
    """Return the history of a training with these validation bounds, equal times apart, and its setup."""
    n = len(bounds)
    records = [
        {"epoch": i + 1, "step": 10 * (i + 1), "progress": (i + 1) / n, "loss": -b, "elbo": b, "bound": b}
        for i, b in enumerate(bounds)
    ]
    best = max(records, key=lambda record: record["elbo"])
    return History(records, best), {"lr": 0.003, "decay": decay, "lr_warmup": 0}


@check
def decoder_that_ignores_z() -> None:
    """Gaussian: N(mean, mean square deviation); Bernoulli: the frequencies. The best of 200 rows, to 0.005 nats."""
    o = linear("network", "shared")
    x = 1.5 + normal(200, 5, seed=4) * f64([0.5, 1.0, 1.5, 2.0, 0.2])
    rows = real_rows(x)
    before = {name: value.clone() for name, value in o.model.state_dict().items()}
    decoder = constant_decoder(o.model, rows)
    assert decoder is not None
    found = constant_log_px(o.model, decoder, rows)
    sigma = (x - x.mean(0)).square().mean().sqrt()
    truth = log_normal(x, x.mean(0), sigma).sum(1)
    assert abs(found.mean() - truth.mean()) < 0.005, f"{found.mean():.4f}, {truth.mean():.4f} at the optimum"
    assert found.shape == (200,)
    assert all(torch.equal(value, before[name]) for name, value in o.model.state_dict().items())
    p = torch.linspace(0.1, 0.9, 5).double()
    binary = (torch.rand(200, 5, generator=generator(1)) < p).double()
    likelihood = likelihoods.Bernoulli(networks.Linear(2, (5,)), (5,)).double()
    model = VAE(prior=o.model.prior, posterior=o.model.posterior, likelihood=likelihood)
    schema = Schema(name="check", layout="array", shape=(5,), values="binary", low=0, high=1)
    rows = Rows(Dataset(binary, schema), dtype=torch.float64)
    decoder = constant_decoder(model, rows)
    assert decoder is not None
    frequency = binary.mean(0)
    entropy = -(frequency * frequency.log() + (1 - frequency) * (1 - frequency).log()).sum()
    assert abs(constant_log_px(model, decoder, rows).mean() + entropy) < 0.005


@check
def courses_by_hand() -> None:
    """A straight line makes 1/4 of its rise in the last quarter, and one that is half way 2^(1/4) - 1."""
    n = 2000
    share = [i / (n - 1) for i in range(n)]
    # the figure is a median over an interval about each end of the quarter: 0.75 and 0.975
    rise = lambda f: (f(0.975) - f(0.75)) / (f(0.975) - f(0))  # noqa: E731
    for shape in (lambda t: t, lambda t: -(0.5**t), lambda t: -math.exp(-8 * t)):
        history, setup = course([shape(t) for t in share])
        value = still_rising(history, setup)
        assert value is not None
        assert abs(value - rise(shape)) < 2e-3, (value, rise(shape))
    assert rise(lambda t: -(0.5**t)) < HALFWAY < rise(lambda t: t)
    # by the rate that was spent: a straight line in it looks flat at the end by the clock
    spent = [t + math.sin(math.pi * t) / math.pi for t in share]
    history, setup = course(spent, "cosine")
    value = still_rising(history, setup)
    assert value is not None
    assert abs(value - rise(lambda t: t)) < 0.015, value  # reports are not equally far apart in it
    stopped, setup = course([0.0] * 40)
    for record in stopped.records:
        record["progress"] /= 2
    assert still_rising(stopped, setup) is None
    history, setup = course([-100.0, -50.0, -90.0, -60.0])
    close(setback(history, setup) or 0.0, 40 / 50, what="setback")
    assert fallen(history) == (10.0, 2, 4)
    history, setup = course([0.0] * 50, "cosine")
    rates = [learning_rate(0.003, step / 500, step, warmup=0, decay="cosine") for step in range(500)]
    close(travelled(history, setup) or 0.0, sum(rates), 5e-3, what="sum of the rates")


@check
def symptoms_of_an_exact_model() -> None:
    """Where q(z | x) is the posterior and the rows are the model's, q(z) is p(z): each share is 5 %, the mismatch 0."""
    o = linear()
    x = normal(2000, 5, seed=9) @ torch.linalg.cholesky(o.marginal.covariance_matrix).T + o.marginal.mean
    found = measure(o.model, None, real_rows(x), None, {})
    assert found.misses is not None and found.strays is not None and found.mismatch is not None  # noqa: PT018
    error = math.sqrt(0.05 * 0.95 * (1 / 1000 + 1 / 1000))  # of a share of 1,000 beyond a quantile of 1,000
    assert abs(found.misses - 0.05) < 5 * error, found.misses
    assert abs(found.strays - 0.05) < 5 * error, found.strays
    assert found.mismatch < 5 * 5 / (2 * 2000), found.mismatch  # its mean is D (D + 3) / 4 over N / 2 rows
    # E over z, z' of log p(x | z) - log p(x | z') = E[|x - W z'|² - |x - W z|²] / 2 s²: W shifts by an unrelated code
    posterior = o.posterior(x)
    spread = torch.diag(o.w @ (o.tau**2 * torch.eye(2).double()) @ o.w.T).sum() / o.s[0] ** 2
    close(found.own_code or 0.0, spread, 0.15, what="what a row's own code adds")
    assert found.kl is not None
    kl = torch.distributions.kl_divergence(
        posterior, torch.distributions.MultivariateNormal(f64([o.loc] * 2), o.tau**2 * torch.eye(2).double())
    )
    close(found.kl, kl.mean(), 1e-6, what="KL")
    moved = replace(o, model=linear().model)
    moved.model.posterior.network.map.bias.data[:2] += 9.0
    away = measure(moved.model, None, real_rows(x), None, {})
    assert away.strays is not None and away.strays > 0.99  # noqa: PT018
    close(away.mismatch or 0.0, 0.5 * 2 * 9**2 / o.tau**2, 0.1, what="mismatch of codes that lie 9 away")


@check
def narrow_codes_of_the_prior() -> None:
    """Codes N(x, 0.01²) of rows from p(z): each alone in its pocket, and yet q(z) is p(z), so each share is 5 %."""
    x = normal(1000, 6, seed=2)
    encode, decode = networks.Linear(6, 6), networks.Linear(6, (6,))
    encode.map.weight.data, encode.map.bias.data = torch.eye(6), torch.zeros(6)
    model = VAE(
        prior=priors.Gaussian(6),
        posterior=posteriors.Gaussian(encode, 6, scale="constant"),
        likelihood=likelihoods.Gaussian(decode, (6,)),
    ).double()
    model.posterior.log_scale.data.fill_(math.log(0.01))
    found = measure(model, None, real_rows(x), None, {})
    assert found.misses is not None and found.strays is not None  # noqa: PT018
    error = math.sqrt(0.05 * 0.95 * (1 / 500 + 1 / 500))
    assert abs(found.misses - 0.05) < 5 * error, found.misses
    assert abs(found.strays - 0.05) < 5 * error, found.strays


@check
def differences_between_runs() -> None:
    """Two exact models: their difference and its error are those of the exact rows; with itself a run differs by 0."""
    x = normal(60, 5, seed=8) * 1.3
    rows = real_rows(x, scale=f64(2.0))
    one, other = linear(), linear()
    step = torch.linspace(-0.5, 0.9, 5).double()  # p(x) moves by it, and so do the codes
    other.model.likelihood.network.map.bias.data += step
    other.model.posterior.network.map.bias.data[:2] -= other.a @ step
    other.m += step
    runs = [Run(o.model, rows.schema) for o in (other, one, one)]
    found = compare(runs, rows, samples=3)
    exact = [o.marginal.log_prob(rows.data) - 5 * math.log(2) for o in (other, one)]  # the Jacobian of a scale of 2
    best = int(exact[1].mean() > exact[0].mean())
    assert (found.best, found.rows) == (f"run {best + 1}", 60)
    for number, run in enumerate(found.runs):
        truth, difference = exact[min(number, 1)], exact[min(number, 1)] - exact[best]
        for total, gap in ((run.elbo, run.elbo_difference), (run.log_evidence, run.evidence_difference)):
            assert total is not None and gap is not None  # noqa: PT018
            close(total.value, truth.mean(), 1e-8, what="evidence")
            close(gap.value, difference.mean(), 1e-8, what="difference")
            close(gap.se, difference.std() / math.sqrt(60), 1e-8, what="error of the difference")
    same = found.runs[1 if best else 0]
    assert same.elbo_difference is not None
    assert (same.elbo_difference.value, same.elbo_difference.se) == (0.0, 0.0)

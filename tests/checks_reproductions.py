"""Exact checks of what the reproductions rest on: two estimators, the staged rate, the papers' settings."""

from __future__ import annotations

import torch
from torch.distributions import MultivariateNormal

from exact import check, close, f64, linear, normal, real_rows
from vaelab.evaluation import evidence_rows
from vaelab.reproductions import burda, kingma_welling, paper
from vaelab.reproductions.marginal import reciprocal
from vaelab.reproductions.unit import Found
from vaelab.training.schedules import learning_rate, spent


@check
def the_reciprocal_estimator_is_exact_where_the_density_fits() -> None:
    """With q the exact posterior each term is 1 / p(x); fitted to draws of it, 1 / p^ has the mean 1 / p(x)."""
    o = linear()
    x = o.m + normal(7, 5, seed=3)
    q = o.model.posterior(x)
    noise = normal(400, 7, 2, seed=4)
    # draws with exactly the posterior's moments: the fitted Gaussian is the posterior
    noise = noise - noise.mean(0)
    for n in range(7):
        noise[:, n] = noise[:, n] @ torch.linalg.inv(torch.linalg.cholesky(noise[:, n].T @ noise[:, n] / 399).T)
    first = q.mean + q.stddev * noise
    others = q.mean + q.stddev * normal(11, 7, 2, seed=5)
    truth = o.marginal.log_prob(x)
    close(reciprocal(o.model, x, first, others).detach(), truth, 1e-6, "log p(x)")
    wide = q.mean + 0.7 * q.stddev * noise
    many = q.mean + q.stddev * normal(20_000, 7, 2, seed=6)
    term = (MultivariateNormal(q.mean, torch.diag_embed(0.49 * q.variance)).log_prob(many) - q.log_prob(many)).exp()
    off = (truth - reciprocal(o.model, x, wide, many).detach()).exp() - 1
    assert (off.abs() < 5 * term.std(0).detach() / 20_000**0.5).all(), f"1 / p^ times p(x), less 1: {off}"


@check
def nats_of_all_rows_from_all_draws_of_some() -> None:
    """With all draws of all rows the plain mean; of some rows, that within five of its standard errors."""
    o = linear(wrong=True)
    rows = real_rows(o.m + normal(3000, 5, seed=7) @ o.marginal.scale_tril.T)
    plain = evidence_rows(o.model, rows, samples=1000).evidence
    assert plain is not None
    whole = burda.finish_with(3000, 1000)(o.model, rows, rows, 0)
    close(whole["nll"], -plain.mean(), 1e-12, "nats, all rows")
    assert whole["error"] == 0
    for some in (100, 500):
        found = burda.finish_with(some, 1000)(o.model, rows, rows, 0)
        off = found["nll"] - whole["nll"]
        assert 0 < found["error"] < 0.05, f"error {found['error']}"
        assert abs(off) < 5 * found["error"], f"{some} rows: {off} off, standard error {found['error']}"


@check
def the_staged_rate() -> None:
    """3^i of 3,280 passes at 10^(-i / 7); its integral."""
    total, used = 0.0, 0.0
    for i in range(8):
        middle = (total + 0.5 * 3**i) / 3280
        close(f64(learning_rate(1.0, middle, 9, warmup=0, decay="staged")), f64(10 ** (-i / 7)), 1e-12, f"stage {i}")
        total, used = total + 3**i, used + 3**i / 3280 * 10 ** (-i / 7)
        close(f64(spent(total / 3280, "staged")), f64(used), 1e-9, f"spent after stage {i}")
    assert burda.SCHEDULE == total == 3280


@check
def the_settings_of_the_papers() -> None:
    """The prior on the weights counts once a pass; weights of variance 0.01; a check compares at equal samples."""

    class Data:
        data = torch.zeros(50, 1, 3, 3)

        def __len__(self) -> int:
            return 50

    model, _, settings = paper.as_published(paper.METHODS["aevb"], 2, 30, binary=True)(Data())  # type: ignore[arg-type]
    assert settings.weight_decay == 1 / 50
    weights = torch.cat([p.detach().flatten() for p in model.parameters()]).double()
    assert abs(weights.std() / 0.1 - 1) < 5 / (2 * len(weights)) ** 0.5, "initial weights"
    squashed = paper.SigmoidMean(torch.nn.Unflatten(-1, (2, 3)))(normal(4, 6, seed=1))
    close(squashed[:, 0], torch.sigmoid(normal(4, 6, seed=1)[:, :3]), what="means")
    close(squashed[:, 1], normal(4, 6, seed=1)[:, 3:], what="log deviations")

    def found(*values: float) -> Found:
        looks = [{"samples": s, "test": v} for s, v in zip((100_000, 300_000, 1_000_000), values)]
        return Found("", 0, samples=1_000_000, looks=looks)

    names = [kingma_welling.named(True, 10, method) for method in ("aevb", "wake-sleep")]
    early = dict(zip(names, (found(-200, -150, -120), found(-190, -160, -130))))
    late = dict(zip(names, (found(-200, -150, -131), found(-210, -160, -130))))
    assert [kingma_welling.checks(some, 10**6)[0].holds for some in (early, late)] == [True, False]
    two = {kingma_welling.named(True, size, "aevb"): found(-200, -150, end) for size, end in ((20, -100), (200, -104))}
    assert [kingma_welling.checks(two, most)[1].holds for most in (10**6, 10**7)] == [False, None]

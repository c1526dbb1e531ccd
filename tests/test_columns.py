"""Tables whose columns are of different families: the sum of their parts, column by column."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor, nn

import vaelab
from likelihood_table import Constant
from oracles import F64, close, noise, within
from vaelab import likelihoods, networks, posteriors, priors
from vaelab.data import Dataset, Schema
from vaelab.distributions import draw, entries, held
from vaelab.errors import UsageError
from vaelab.likelihoods import Columns
from vaelab.models import VAE, Terms
from vaelab.models.vae import centre
from vaelab.networks import Linear, Typed

K, B, Z = 2, 7, 3
KINDS = ("poisson", "gaussian", "categorical=3", "bernoulli", "gaussian", "student-t", "negative-binomial",
         "categorical=3", "discretized-logistic=5", "categorical=2", "zero-inflated-poisson")  # fmt: skip
D = len(KINDS)


def build(kinds: Any = KINDS, network: nn.Module | None = None) -> Columns:
    made = network or Linear(Z, Columns.outputs((len(kinds),), kinds=kinds))
    return Columns(made, (len(kinds),), kinds=kinds).double()


def some_x(*lead: int) -> Tensor:
    columns = {
        "poisson": lambda: torch.randint(0, 9, lead),
        "bernoulli": lambda: torch.randint(0, 2, lead),
        "categorical=3": lambda: torch.randint(0, 3, lead),
        "categorical=2": lambda: torch.randint(0, 2, lead),
        "discretized-logistic=5": lambda: torch.randint(0, 5, lead) / 4,
    }
    columns |= {"negative-binomial": columns["poisson"], "zero-inflated-poisson": columns["poisson"]}
    return torch.stack([columns.get(kind, lambda: torch.randn(lead))().double() for kind in KINDS], -1)


def test_each_column_against_scipy() -> None:
    """The network's numbers are those of the kinds in the order in which they first appear, whatever stands between."""
    part = build()
    out = torch.randn(part.outputs((D,), kinds=KINDS)[0], dtype=F64)
    part.network = Constant(out)
    x = some_x(B)
    each = entries(part(torch.zeros(1, Z, dtype=F64))).log_prob(x)
    assert each.shape == (B, D)
    o = out.numpy()
    bounded = 20 / np.pi * np.arctan(np.pi / 20 * o)
    truth = np.zeros((B, D))
    v = x.numpy()
    truth[:, 0] = stats.poisson(np.exp(bounded[0])).logpmf(v[:, 0])
    truth[:, 1], truth[:, 4] = stats.norm(o[1]).logpdf(v[:, 1]), stats.norm(o[2]).logpdf(v[:, 4])
    truth[:, 2] = special.log_softmax(o[3:6])[v[:, 2].astype(int)]
    truth[:, 7] = special.log_softmax(o[6:9])[v[:, 7].astype(int)]
    truth[:, 3] = stats.bernoulli(special.expit(o[9])).logpmf(v[:, 3])
    truth[:, 5] = stats.t(5, o[10]).logpdf(v[:, 5])
    truth[:, 6] = stats.nbinom(1, 1 / (1 + np.exp(bounded[11]))).logpmf(v[:, 6])
    edges = np.concatenate([[-np.inf], np.arange(4) / 4 + 1 / 8, [np.inf]])
    truth[:, 8] = np.log(np.diff(stats.logistic(0.5 + o[12], 0.1).cdf(edges)))[(4 * v[:, 8]).astype(int)]
    truth[:, 9] = special.log_softmax(o[13:15])[v[:, 9].astype(int)]
    share = special.expit(o[16])
    truth[:, 10] = np.log(share * (v[:, 10] == 0) + (1 - share) * stats.poisson(np.exp(bounded[15])).pmf(v[:, 10]))
    close(each, truth, rel=1e-8)


def test_masks_leave_out_columns_exactly() -> None:
    part, z, x = build(), torch.randn(K, B, Z, dtype=F64), some_x(B)
    unread = torch.distributions.Normal(0.0, 1.0)
    observed = torch.rand(B, D) < 0.6
    each = entries(part(z)).log_prob(x)
    seen = Terms(torch.where(observed, x, 0), z, unread, unread, part(z), observed).log_px
    close(seen, (each * observed).sum(-1))
    close(part(z).log_prob(x), each.sum(-1))


def test_draws_and_means_of_each_column() -> None:
    part = build()
    d = part(torch.randn(1, Z, dtype=F64))
    x = draw(d, 20_011, noise(2))[:, 0].detach()
    expected, codes = centre(d)[0].detach(), [i for i, kind in enumerate(KINDS) if kind.startswith("categorical")]
    numbers = [i for i in range(D) if i not in codes]
    within(x[:, numbers], expected[numbers])
    for i in codes:  # the most probable category stands for them
        seen = torch.bincount(x[:, i].long())
        assert expected[i] == seen.argmax()
        each = torch.zeros(len(seen), D, dtype=F64)
        each[:, i] = torch.arange(len(seen))
        mass = entries(d).log_prob(each)[:, i]
        within((x[:, i, None] == torch.arange(len(seen))).double(), mass.exp().detach())


def test_columns_of_small_supports_sum_to_one() -> None:
    kinds = "bernoulli+categorical=3+discretized-logistic=4"
    part = Columns(Linear(Z, Columns.outputs((3,), kinds=kinds)), (3,), kinds=kinds).double()
    every = torch.tensor(list(itertools.product((0, 1), (0, 1, 2), (0, 1 / 3, 2 / 3, 1))), dtype=F64)
    assert part(torch.randn(1, Z, dtype=F64)).log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert part.discrete
    assert not build().discrete


def test_an_encoder_reads_each_column_by_its_kind() -> None:
    assert Columns.seen((D,), kinds=KINDS) == (2 * (D - 3) + 3 + 3 + 2,)  # a number, and whether it is there
    kinds = ("gaussian", "poisson", "categorical=3", "bernoulli", "ordinal=5", "spike=2", "spike=2")
    reader = Columns.reader(nn.Identity(), kinds=kinds)
    assert isinstance(reader, Typed)
    seen = reader(torch.tensor([[-0.5, 99.0, 2.0, 1.0, 0.25, -32.0, 0.5]], dtype=F64))
    whole = [-0.5, 1, np.log(100), 1, 0, 0, 1, 1, 1, -1, 1, 0, 1, 1, 0.5, 0, 1]
    close(seen, torch.tensor([whole], dtype=F64))
    assert (reader(torch.full((1, 7), torch.nan, dtype=F64)) == 0).all()


def test_one_of_many_categories_is_read_as_a_vector() -> None:
    reader = Columns.reader(nn.Identity(), kinds=("low-rank-categorical=1000", "gaussian")).double()
    assert Columns.seen((2,), kinds=("low-rank-categorical=1000", "gaussian")) == (34,)
    seen = reader(torch.tensor([[999.0, 0.5], [torch.nan, 0.5]], dtype=F64))
    close(seen[0, :32], reader.vectors["0"].weight[999])
    assert (seen[1, :32] == 0).all()


def test_counts_among_the_columns_start_from_their_own() -> None:
    part = build(("gaussian", "poisson", "negative-binomial", "poisson"))
    x = torch.tensor([[9.0, 2, 70, 4], [9, 4, 90, 0]], dtype=F64)
    for module in part.modules():
        if isinstance(module, likelihoods.Likelihood):
            module.start(x, 2)
    torch.nn.init.zeros_(part.network.map.weight)
    torch.nn.init.zeros_(part.network.map.bias)
    close(part(torch.zeros(1, Z, dtype=F64)).mean[0], torch.tensor([0.0, 3, 80, 2]))


def test_held_columns_pass_no_gradient_to_their_parameters() -> None:
    d = build(("gaussian", "gaussian"))(torch.zeros(1, Z, dtype=F64))
    assert d.log_prob(torch.zeros(1, 2)).requires_grad
    assert not held(d).log_prob(torch.zeros(1, 2)).requires_grad


def test_a_mixed_table_from_training_to_file(tmp_path: Path) -> None:
    """A number, a count and a category that hang together, a third of the entries unseen."""
    rng = np.random.default_rng(2)
    kind = rng.integers(0, 3, 400)
    x = torch.tensor(np.stack([rng.normal(kind - 1, 0.3), rng.poisson(np.array([1, 10, 100])[kind]), kind], 1))
    x[torch.as_tensor(rng.random(x.shape) < 0.3)] = torch.nan
    kinds = ("gaussian", "poisson", "categorical=3")
    encoder = Columns.reader(networks.MLP(Columns.seen((3,), kinds=kinds), 4, (32,)), kinds=kinds)
    likelihood = Columns(networks.MLP(2, Columns.outputs((3,), kinds=kinds), (32,)), (3,), kinds=kinds)
    model = VAE(prior=priors.Gaussian(2), posterior=posteriors.Gaussian(encoder, 2), likelihood=likelihood)
    data = Dataset(x, Schema(name="mixed", layout="array", shape=(3,), values="real"))
    with pytest.raises(UsageError, match="Columns likelihood is for mixed values"):
        vaelab.fit(model, data, epochs=1, progress="off")
    loop = vaelab.training
    rows = loop.Rows(data)
    loop.optimise(model, vaelab.ELBO(), rows, rows, loop.Settings(epochs=40, lr=0.01))
    whole = torch.tensor([[-1.0, 1, 0], [0, 10, 1], [1, 100, 2]])
    terms = model.terms(whole, samples=50, noise=vaelab.Noise.seeded(0))
    told = entries(terms.px).log_prob(whole)[..., 2].exp().mean(0)
    assert (told > 0.4).all()  # a third by chance: z knows the kind
    assert told.mean() > 0.6
    # and from number and count alone
    observed = torch.tensor([[True, True, False]]).expand(3, 3)
    alone = model.terms(whole, samples=50, observed=observed, noise=vaelab.Noise.seeded(0))
    assert entries(alone.px).log_prob(whole)[..., 2].exp().mean(0).mean() > 0.5
    run = vaelab.Run(model, data.schema, {"seed": 0})
    run.save(tmp_path / "mixed.safetensors")
    again = vaelab.load(tmp_path / "mixed.safetensors").model
    close(again.terms(whole, noise=vaelab.Noise.seeded(0)).log_px.detach(),
          model.terms(whole, noise=vaelab.Noise.seeded(0)).log_px.detach())  # fmt: skip


@pytest.mark.parametrize(
    ("kinds", "word"),
    [
        (("gaussian", "gausian"), "gaussian"),
        (("gaussian", "categorical"), "categorical=3"),
        (("gaussian", "poisson=3"), "is written poisson"),
        (("gaussian",), "1 kinds for rows"),
    ],
)
def test_what_cannot_be_is_refused(kinds: tuple[str, ...], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        Columns(Linear(Z, 5), (2,), kinds=kinds)

"""Laws and kinds of the columns of a mixed table, against scipy and by the rules that are stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats

import vaelab
from oracles import F64, close, noise, within
from vaelab.data import Dataset, Number, open_source
from vaelab.data.columns import Column
from vaelab.data.fields import SPIKE
from vaelab.data.kinds import infer
from vaelab.data.transforms import choose
from vaelab.distributions import GaussianMixture, LowRankCategorical, Ordinal, draw
from vaelab.errors import DataError, UsageError
from vaelab.evaluation import privacy
from vaelab.likelihoods import Columns
from vaelab.models.vae import centre
from vaelab.networks import Linear, Masked
from vaelab.recipes import miwae_missing

B, C = 7, 3


def mixture(spike: bool) -> GaussianMixture:
    odds = torch.randn(B, dtype=F64) if spike else None
    return GaussianMixture(*torch.randn(2, B, C, dtype=F64), torch.rand(B, C, dtype=F64) + 0.2, odds, at=SPIKE)


def test_a_gaussian_mixture_against_scipy() -> None:
    d, x = mixture(False), torch.randn(B, dtype=F64)
    weight = d.logits.softmax(-1).numpy()
    truth = (weight * stats.norm(d.loc, d.scale).pdf(x.numpy()[:, None])).sum(1)
    close(d.log_prob(x), np.log(truth))
    drawn = draw(d, 20_011, noise(3))
    within(drawn, d.mean)
    for i in range(B):
        share = (weight[i] * stats.norm(d.loc[i], d.scale[i]).cdf(np.sort(drawn[:, i])[:, None])).sum(1)
        assert np.abs(share - (np.arange(20_011) + 0.5) / 20_011).max() < np.sqrt(np.log(2e6) / (2 * 20_011))


def test_a_spike_is_drawn_as_often_as_its_mass() -> None:
    d = mixture(True)
    at = draw(d, 20_011, noise(3)) == SPIKE
    within(at.double(), torch.sigmoid(d.spike))
    close(d.log_prob(torch.full((B,), SPIKE, dtype=F64)).exp(), torch.sigmoid(d.spike))
    assert ((centre(d) == SPIKE) == (d.spike > 0)).all()


def test_the_thresholds_of_an_ordinal_start_as_the_column_is() -> None:
    kinds = ("ordinal=4", "ordinal=4", "spike=2", "low-rank-categorical=300")
    part = Columns(Linear(2, Columns.outputs((4,), kinds=kinds)), (4,), kinds).double()
    shares = torch.tensor([[0.7, 0.02, 0.08, 0.2], [0.1, 0.2, 0.3, 0.4]])
    levels = torch.stack([torch.multinomial(share, 3000, True) for share in shares], 1)
    spiked = torch.where(torch.rand(3000) < 0.3, SPIKE, torch.randn(3000))
    with torch.no_grad():
        part.start(torch.stack([*(levels / 3).T, spiked, torch.randint(0, 9, (3000,))], 1).double(), 3000)
    for p in (part.network.map.weight, part.network.map.bias):
        torch.nn.init.zeros_(p)
    laws = part(torch.zeros(1, 2, dtype=F64)).base_dist.groups
    for k in range(4):
        mass = laws[0].base_dist.log_prob(torch.full((1, 2), k / 3, dtype=F64)).exp()[0]
        seen = (levels == k).double().mean(0)
        assert (mass - seen).abs().max() < 2e-3
    assert abs(laws[1].base_dist.spike.sigmoid().item() - (spiked == SPIKE).double().mean()) < 1e-3
    few = laws[2].log_prob(torch.tensor([[3.0]], dtype=F64)).exp().item()
    assert 0.08 < few < 0.12


def test_many_categories_are_those_of_the_softmax_whole_and_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    d = LowRankCategorical(torch.randn(4, B, 5, dtype=F64), torch.randn(900, 5, dtype=F64), torch.randn(900, dtype=F64))
    value = torch.randint(0, 900, (4, B)).double()
    logits = d.features @ d.vectors.T + d.bias
    truth = logits.log_softmax(-1).gather(-1, value.long().unsqueeze(-1)).squeeze(-1)
    close(d.log_prob(value), truth)
    monkeypatch.setattr("vaelab.distributions.low_rank_categorical.NUMBERS", 2000)
    close(d.log_prob(value), truth)
    close(d.mode, logits.argmax(-1))
    one = LowRankCategorical(d.features[0, :1], d.vectors[:6], d.bias[:6])
    seen = draw(one, 20_011, noise(4))[:, 0]
    within((seen[:, None] == torch.arange(6)).double(), (logits[0, 0, :6]).softmax(-1))


def test_an_ordinal_of_two_levels_is_a_coin() -> None:
    d = Ordinal(torch.tensor(0.3, dtype=F64), torch.tensor(1.0, dtype=F64), torch.tensor([0.0], dtype=F64))
    close(d.log_prob(torch.tensor(1.0, dtype=F64)), torch.nn.functional.logsigmoid(torch.tensor(0.3, dtype=F64)))


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda r: r.normal(size=400), "identity"),
        (lambda r: np.expm1(r.normal(size=400)), "yeo-johnson"),
        (lambda r: np.where(r.random(2000) < 0.5, r.normal(-9, 1, 2000), r.normal(9, 1, 2000)), "spline"),
        (lambda r: r.beta(0.4, 0.4, 2000), "spline"),
        (lambda r: r.standard_cauchy(4000), "spline"),
    ],
)
def test_the_map_that_makes_a_column_gaussian_is_chosen(make, kind: str) -> None:
    raw = torch.tensor(make(np.random.default_rng(1)))
    assert choose(raw)[0] == kind
    field = Number("real", low=0, high=1).fit(raw)
    x = field.encode(raw)
    assert abs(x.mean()) < 1e-9
    assert abs(x.std(correction=0) - 1) < 1e-9
    close(field.decode(x), raw, rel=1e-7)
    # held-out rows are more likely under the chosen map than under none
    new = torch.tensor(make(np.random.default_rng(2)))
    plain = stats.norm(raw.mean(), raw.std()).logpdf(new).mean()
    ours = (stats.norm.logpdf(field.encode(new)) + field.log_det(new).numpy()).mean()
    assert ours > plain - 0.02
    assert kind == "identity" or ours > plain + 0.1


def column(values: list, words: bool = False) -> Column:
    if words:
        return Column("a", np.full(len(values), np.nan), "String", words=np.array(values))
    return Column("a", np.array(values, dtype=float), "Float64")


def test_kinds_by_the_stated_rules() -> None:
    assert infer(column([0, 1, 0, 1])) == "boolean"
    assert infer(column([k % 5 + 3 for k in range(50)])) == "ordinal"
    assert infer(column([k % 5 + 3 for k in range(49)])) == "count" or infer(column([3, 5, 9])) == "real"
    assert infer(column([k * k % 90 for k in range(60)])) == "count"
    assert infer(column([0.5, 1, 2])) == "real"
    assert infer(column([f"w{k}" for k in range(30)], words=True)) == "identifier"
    assert infer(column([f"w{k % 3}" for k in range(30)], words=True)) == "category"
    assert infer(column([f"w{min(k, 200)}" for k in range(300)], words=True)) == "text"


def test_kinds_that_are_asked_for(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(
        "a,size,share,zip\n" + "".join(f"{k % 7},{'SML'[k % 3]},{(k % 9 + 1) / 10},00{k % 4}\n" for k in range(90))
    )
    kinds = tmp_path / "kinds.toml"
    kinds.write_text('[size]\nlevels = ["S", "M", "L"]\n[share]\nlow = 0\nhigh = 1\n')
    data = open_source(table, column=("zip:category", "a:count"), columns_file=str(kinds)).fit_scaling()
    assert [field.kind for field in data.schema.kinds] == ["count", "ordinal", "real", "category"]
    assert data.schema.kinds[1].levels == ("S", "M", "L")
    assert data.schema.kinds[2].transform == "logit"
    assert data.schema.kinds[3].levels == ("000", "001", "002", "003")
    assert open_source(table).schema.kinds[3].kind == "ordinal"  # by itself it is a number
    with pytest.raises(DataError, match='column "size" holds words: write their order'):
        open_source(table, column=("size:ordinal",))
    with pytest.raises(UsageError, match="expected NAME:KIND"):
        open_source(table, column=("size",))
    plain = tmp_path / "p.csv"
    plain.write_text("a,b\n" + "".join(f"{k % 7},{k / 9}\n" for k in range(90)))
    assert open_source(plain).schema.values == "real"  # numbers alone stay as they were
    assert [f.kind for f in open_source(plain, column=("*:auto",)).schema.kinds] == ["ordinal", "real"]


def test_words_and_frames_go_round(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"town": rng.choice(["a", "b"], 80), "n": rng.integers(0, 5, 80), "x": rng.normal(size=80)})
    run = vaelab.train(frame, epochs=2, hidden="8", latent_dim=2, progress="off")
    run.save(tmp_path / "m.safetensors")
    again = vaelab.load(tmp_path / "m.safetensors")
    for like in (frame, frame.to_pandas(), frame.to_arrow()):
        made = again.frame(again.generate(50), like=like)
        assert type(made) is type(like)
        assert pl.DataFrame(made).schema == frame.schema
    assert torch.equal(again.generate(9), run.generate(9))
    given = again.frame(again.generate(30, given={"town": "b"}))
    assert set(given["town"]) == {"b"}
    with pytest.raises(UsageError, match="--given town=c: not one of a, b"):
        again.generate(3, given="town=c")


def test_the_encoder_of_missing_entries_tells_a_gap_from_zero() -> None:
    model, objective = miwae_missing((5,), 2, hidden=(7,), likelihood="gaussian")
    assert isinstance(model.posterior.network, Masked)
    x, seen = torch.zeros(2, 5), torch.ones(2, 5, dtype=torch.bool)
    seen[1, 3] = False
    mean = model.terms(x, observed=seen).q.mean
    assert (mean[0] != mean[1]).any()
    assert objective.samples == 20


def test_copies_and_ties_are_counted() -> None:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"town": rng.choice(["a", "b"], 300), "x": rng.normal(size=300)})
    data = open_source(table)
    train, held_out = data.split(0.5, 0)
    assert held_out is not None
    copied = privacy(train.x[:100], train, held_out)
    assert copied.copies == 100
    assert copied.closer > 0.99
    fresh = torch.tensor(np.stack([rng.integers(0, 2, 400), rng.normal(size=400)], 1))
    fair = privacy(fresh, train, held_out)
    assert fair.copies == 0
    assert abs(fair.closer - 0.5) < 5 * fair.closer_se + 0.05  # which half is closer varies with the split
    same = Dataset(train.x, train.schema)
    tied = privacy(fresh, same, same)
    assert tied.compared == 150
    assert tied.closer == pytest.approx(0.5)  # all are ties


def test_recipes_for_gaps_train_on_every_row() -> None:
    x = np.random.default_rng(0).normal(size=(60, 12))
    x[::2, 3] = np.nan
    for recipe in ("miwae-missing", "not-miwae"):
        plan = vaelab.plan_run(x, recipe=recipe)
        assert plan.splits.validation is None
        assert (plan.latent_dim, plan.settings.epochs) == (10, 3000)
        assert len(vaelab.plan_run(x, recipe=recipe, validation=0.2, latent_dim=3).splits.validation) == 12
    assert len(vaelab.plan_run(x).splits.validation) == 6


def test_values_that_hide_themselves_are_filled_where_they_lie(tmp_path: Path) -> None:
    """Column a is gone above its mean: filled too low as if at random, and higher by a model of what is gone."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, 1))
    truth = z @ [[1.0, -0.8, 0.9, 0.7]] + 0.4 * rng.normal(size=(400, 4))
    gone = np.zeros_like(truth, dtype=bool)
    gone[:, 0] = truth[:, 0] > 0
    x = np.where(gone, np.nan, truth)
    how = {"hidden": "", "latent_dim": 2, "epochs": 600, "lr": 0.01, "progress": "off", "threads": 1}
    off = {}
    for name, options in {
        "at random": {"recipe": "miwae-missing"},
        "self-masking": {"recipe": "not-miwae", "missingness": "self-masking:direction=high"},
    }.items():
        run = vaelab.train(x, **how, **options)
        filled = run.impute(x, samples=200).values.numpy()
        off[name] = float((filled - truth)[gone].mean())
        assert (filled[~gone] == x[~gone]).all()
    assert run.model.missingness.slope[0] > 0
    assert off["at random"] < -0.15, "the case does not tell"
    # it has not come all the way yet
    assert off["self-masking"] > off["at random"] + 0.5, off
    assert abs(off["self-masking"]) < abs(off["at random"]), off
    run.save(tmp_path / "hidden.safetensors")
    again = vaelab.load(tmp_path / "hidden.safetensors").impute(x, samples=200).values.numpy()
    np.testing.assert_allclose(again, filled)


def test_missingness_is_of_real_numbers_alone() -> None:
    frame = pl.DataFrame({"town": ["a", "b"] * 20, "x": np.arange(40.0)})
    with pytest.raises(UsageError, match="no column of this table is a real number"):
        vaelab.plan_run(frame, recipe="not-miwae")
    real = frame.with_columns(x=pl.col("x").sin())
    assert vaelab.plan_run(real, recipe="not-miwae").model.missingness.columns == (1,)
    with pytest.raises(UsageError, match="direction is one of either, high, low"):
        vaelab.plan_run(np.eye(12), missingness="self-masking:direction=up")

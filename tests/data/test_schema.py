"""The map between rows and x: it inverts, its Jacobian is that of the density, draws have the right rates."""

import math

import pytest
import torch

from vaelab.data import Schema, as_real, choose_likelihood, open_source
from vaelab.data.dataset import Dataset
from vaelab.errors import DataError, UsageError
from vaelab.noise import Noise


def table(x: torch.Tensor) -> Dataset:
    names = tuple(f"c{i}" for i in range(x.shape[1]))
    return Dataset(x, Schema(name="t", layout="table", shape=(x.shape[1],), values="real", columns=names))


@pytest.fixture
def rows() -> torch.Tensor:
    spread = torch.tensor([1e-3, 1.0, 5e4], dtype=torch.float64)
    draws = torch.randn(200, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return draws * spread + torch.tensor([7.0, -2.0, 1e6], dtype=torch.float64)


def test_standardised_columns_have_mean_0_and_variance_1_with_divisor_n(rows: torch.Tensor) -> None:
    train = table(rows).fit_scaling()
    x = train.schema.encode(train.x, dtype=torch.float64)
    assert x.mean(0).abs().max() < 1e-12
    torch.testing.assert_close(x.var(0, correction=0), torch.ones(3, dtype=torch.float64), atol=1e-12, rtol=0)
    assert (x.var(0, correction=1) - 1).abs().min() > 1e-3  # the other divisor would not pass


def test_scaling_uses_observed_entries_of_the_training_rows_only(rows: torch.Tensor) -> None:
    holes = rows.clone()
    holes[::3, 1] = math.nan
    train, other = table(holes[:150]).fit_scaling(), table(holes[150:] + 100)
    seen = holes[:150, 1][~holes[:150, 1].isnan()]
    torch.testing.assert_close(train.schema.loc[1], seen.mean(), atol=1e-12, rtol=0)
    torch.testing.assert_close(train.schema.scale[1], seen.std(correction=0), atol=1e-12, rtol=0)
    assert other.with_schema(train.schema).schema is train.schema
    assert (train.schema.encode(train.x)[::3, 1] == 0).all()  # unobserved entries are 0, the mask says where


@pytest.mark.parametrize("masked", [False, True])
def test_log_det_is_the_change_of_units_of_a_density(rows: torch.Tensor, masked: bool) -> None:
    schema = table(rows).fit_scaling().schema
    observed = torch.rand(rows.shape, generator=torch.Generator().manual_seed(2)) < 0.5 if masked else None
    mask = torch.ones_like(rows) if observed is None else observed
    mean, deviation = torch.tensor([0.3, -0.1, 1.0]).double(), torch.tensor([0.5, 2.0, 1.1]).double()
    standardised = torch.distributions.Normal(mean, deviation)
    raw = torch.distributions.Normal(schema.loc + schema.scale * mean, schema.scale * deviation)
    log_px = (standardised.log_prob(schema.encode(rows, dtype=torch.float64)) * mask).sum(1)
    log_raw = (raw.log_prob(rows) * mask).sum(1)
    gap = (log_px + schema.log_det(observed) - log_raw).abs().max()
    assert gap < 1e-10
    planted = (log_px - schema.log_det(observed) - log_raw).abs().max()
    assert planted > 1  # a Jacobian of the wrong sign does not pass


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3)])
def test_images_are_channel_first_for_the_model_and_come_back(shape: tuple[int, ...]) -> None:
    schema = Schema(name="i", layout="image", shape=shape, values="integer", low=0, high=255)
    raw = torch.randint(0, 256, (6, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    x = schema.encode(raw)
    assert x.shape[1:] == schema.model_shape == ((1, 5, 4) if len(shape) == 2 else (3, 5, 4))
    if len(shape) == 3:
        torch.testing.assert_close(x[2, 1, 4, 3], raw[2, 4, 3, 1] / 255)
    assert torch.equal(schema.decode(x, round=True).to(torch.uint8), raw)
    assert schema.log_det() == 0


def test_decode_inverts_encode_for_real_rows(rows: torch.Tensor) -> None:
    schema = table(rows).fit_scaling().schema
    torch.testing.assert_close(schema.decode(schema.encode(rows, dtype=torch.float64)), rows, rtol=1e-12, atol=0)


def test_integers_are_clamped_to_the_grid_only_when_rounded() -> None:
    schema = Schema(name="g", layout="array", shape=(3,), values="integer", low=2, high=6)
    x = torch.tensor([[-0.1, 0.4, 1.2]])
    assert schema.decode(x, round=True).tolist() == [[2.0, 4.0, 6.0]]
    torch.testing.assert_close(schema.decode(x), torch.tensor([[1.6, 3.6, 6.8]]).double())


def test_stochastic_binarisation_has_the_rate_of_the_pixel() -> None:
    schema = Schema(name="m", layout="image", shape=(16, 16), values="binary", low=0, high=255, binarize="stochastic")
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
    draws = 4000
    x = schema.encode(pixels.expand(draws, 16, 16), Noise.seeded(0))
    rate = pixels.flatten().double() / 255
    error = (rate * (1 - rate) / draws).sqrt()
    mean = x.double().mean(0).flatten()
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert mean[0] == 0
    assert mean[255] == 1
    assert ((mean - rate).abs() <= 5 * error).all()
    assert not ((mean - (1 - rate)).abs() <= 5 * error).all()  # a reversed inequality does not pass
    assert schema.stochastic
    half = schema.encode(pixels.expand(draws, 16, 16), Noise.seeded(0), dtype=torch.bfloat16)
    assert torch.equal(half.float(), x)  # drawn in float32: bfloat16 has too few steps
    with pytest.raises(UsageError, match="needs noise"):
        schema.encode(pixels)


def test_threshold_cuts_between_127_and_128() -> None:
    schema = Schema(name="m", layout="image", shape=(1, 2), values="binary", low=0, high=255, binarize="threshold")
    assert schema.encode(torch.tensor([[[127, 128]]], dtype=torch.uint8)).flatten().tolist() == [0, 1]
    assert not schema.stochastic


def test_a_schema_is_rebuilt_from_its_arguments(rows: torch.Tensor) -> None:
    schema = table(rows).fit_scaling().schema
    again = Schema(**schema.arguments())
    assert torch.equal(again.encode(rows), schema.encode(rows))
    assert again.loc.dtype == torch.float64
    assert [name for name, _ in schema.named_buffers()] == ["loc", "scale"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"values": "integer"}, "low < high"),
        ({"binarize": "stochastic"}, "does not fit real values"),
        ({"columns": ("a",)}, "1 columns do not make rows"),
        ({"scale": torch.tensor([1.0, 0.0])}, "positive"),
        ({"layout": "image", "shape": (2,)}, r"\(H, W\)"),
        ({"dtypes": ("Int64",)}, "1 dtypes for 0 columns"),
    ],
)
def test_contradicting_arguments_are_refused(change: dict[str, object], words: str) -> None:
    plain = Schema(name="t", layout="array", shape=(2,), values="real")
    with pytest.raises(UsageError, match=words):
        plain.replace(**change)


def test_rows_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match=r"rows have shape \(3,\), expected \(2,\)"):
        Schema(name="t", layout="array", shape=(2,), values="real").encode(torch.zeros(4, 3))


def test_likelihood_follows_the_values_and_real_is_a_choice() -> None:
    digits = open_source("digits")
    assert choose_likelihood(digits.schema) == (
        "discretized-logistic:bins=17",
        "values are integers from 0 to 16",
    )
    real = as_real(digits)
    assert choose_likelihood(real.schema)[0] == "gaussian:scale=shared"
    assert real.x is digits.x  # never blown up in memory
    torch.testing.assert_close(real.schema.encode(real.x), digits.schema.encode(digits.x))
    assert real.schema.log_det() == pytest.approx(-64 * math.log(16))
    assert choose_likelihood(table(torch.zeros(3, 2)).schema)[0] == "gaussian:scale=entry"
    binary = open_source("digits", binarize="stochastic")
    assert choose_likelihood(binary.schema)[0] == "bernoulli"

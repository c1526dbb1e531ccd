"""Convolutional networks between images of any size and vectors, by themselves and in models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vaelab
from oracles import F64, close
from vaelab import recipes
from vaelab.errors import UsageError
from vaelab.networks import Conv, ResNet
from vaelab.networks.convolution import sizes
from vaelab.networks.resnet import Residual

K, B, Z, C = 2, 7, 3, 5
KINDS: dict[str, Any] = {
    "conv": lambda i, o, **more: Conv(i, o, (11,), width=4, **more).double(),
    "conv, group": lambda i, o, **more: Conv(i, o, width=4, norm="group", **more).double(),
    "resnet": lambda i, o, **more: ResNet(i, o, (11,), width=4, blocks=2, **more).double(),
    "resnet, no blocks": lambda i, o, **more: ResNet(i, o, width=4, blocks=0, **more).double(),
}
LIKELIHOODS = ["categorical:categories=17", "gaussian:scale=network", "logistic-mixture:bins=17"]
IMAGES = [(1, 28, 28), (3, 13, 1), (2, 5, 7), (1, 1, 1), (1, 4, 3), (3, 33, 17)]


def stirred(network: nn.Module) -> nn.Module:
    """Residual blocks begin as the identity: what is tested should hold for them at work."""
    for module in network.modules():
        if isinstance(module, Residual):
            nn.init.normal_(module.path[-1].weight, std=0.3)
    return network


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("image", IMAGES, ids=str)
def test_every_pixel_counts_and_rows_are_by_themselves(kind: str, image: tuple[int, ...]) -> None:
    encoder, decoder = stirred(KINDS[kind](image, (2, Z))), stirred(KINDS[kind](Z, (2, *image)))
    x = torch.randn(B, *image, dtype=F64, requires_grad=True)
    out = encoder(x)
    assert out.shape == (B, 2, Z)
    close(torch.cat([encoder(row[None]) for row in x]), out, rel=1e-9)
    (slope,) = torch.autograd.grad(out[3].square().sum(), x)
    assert (slope[3] != 0).all()
    assert (slope[[0, 1, 2, 4, 5, 6]] == 0).all()
    z = torch.randn(K, B, Z, dtype=F64)
    made = decoder(z)
    assert made.shape == (K, B, 2, *image)
    close(torch.stack([torch.stack([decoder(row) for row in rows]) for rows in z]), made, rel=1e-9)
    assert (made.flatten(0, 1).std(0) > 1e-6).all()  # every pixel of every channel depends on z


@pytest.mark.parametrize("kind", KINDS)
def test_a_condition_reaches_both_ends(kind: str) -> None:
    image = (1, 5, 7)
    condition = torch.randn(B, C, dtype=F64)
    encoder, decoder = KINDS[kind](image, Z, condition=C), KINDS[kind](Z, image, condition=C)
    x, z = torch.randn(B, *image, dtype=F64), torch.randn(K, B, Z, dtype=F64)
    for network, given in ((encoder, x), (decoder, z)):
        moved = condition.clone()
        moved[2, 4] += 1
        change = (network(given, moved) - network(given, condition)).reshape(-1, B, network(given, condition).shape[-1])
        if given is z:
            change = (network(z, moved) - network(z, condition)).flatten(2)
        assert (change[:, 2] != 0).all()
        assert (change[:, [0, 1, 3, 4, 5, 6]] == 0).all()


def test_sides_are_halved_down_to_four() -> None:
    assert sizes(28, 28) == [(28, 28), (14, 14), (7, 7), (4, 4)]
    assert sizes(1, 9) == [(1, 9), (1, 5), (1, 3)]
    assert sizes(4, 3) == [(4, 3)]


@pytest.mark.parametrize("norm", ["none", "group"])
def test_the_layers_written_out(norm: str) -> None:
    """One stage down and one up on 5x5 pixels, with torch's own functions; the way up is cut at the far side."""
    f = nn.functional

    def normed(h: torch.Tensor, stage: Any, place: int) -> torch.Tensor:
        if norm == "none":
            return h
        nn.init.normal_(stage[place].weight)
        groups = h.unflatten(1, (stage[place].num_groups, -1))
        mean, variance = groups.mean((2, 3, 4), keepdim=True), groups.var((2, 3, 4), correction=0, keepdim=True)
        h = ((groups - mean) / (variance + 1e-5).sqrt()).flatten(1, 2)
        return h * stage[place].weight[:, None, None] + stage[place].bias[:, None, None]

    down = Conv((2, 5, 5), Z, width=16, norm=norm).double()
    x = torch.randn(B, 2, 5, 5, dtype=F64)
    made = f.conv2d(x, down.stages[0][0].weight, down.stages[0][0].bias, stride=2, padding=1)
    stage = f.silu(normed(made, down.stages[0], 1))
    assert stage.shape == (B, 16, 3, 3)
    close(down(x), f.linear(stage.flatten(1), down.dense[0].weight, down.dense[0].bias))
    up = Conv(Z, (2, 5, 5), width=16, norm=norm).double()
    z = torch.randn(B, Z, dtype=F64)
    small = normed(f.linear(z, up.dense[0].weight, up.dense[0].bias).reshape(B, 16, 3, 3), up.stages[0], 0)
    last = up.stages[0][-1]
    large = f.conv_transpose2d(f.silu(small), last.weight, last.bias, stride=2, padding=1)
    close(up(z), large[:, :, :5, :5])


def test_dimensions_behind_the_pixels() -> None:
    """With trailing=1 channel (c, k) of the last convolution is [c, :, :, k] of the image."""
    up = Conv(Z, (2, 5, 5, 3), width=4, trailing=1).double()
    flat = Conv(Z, (6, 5, 5), width=4).double()
    flat.load_state_dict(up.state_dict())
    z = torch.randn(B, Z, dtype=F64)
    close(up(z), flat(z).reshape(B, 2, 3, 5, 5).permute(0, 1, 3, 4, 2))
    down, plain = Conv((2, 5, 5, 3), Z, width=4, trailing=1).double(), Conv((6, 5, 5), Z, width=4).double()
    plain.load_state_dict(down.state_dict())
    x = torch.randn(B, 2, 5, 5, 3, dtype=F64)
    close(down(x), plain(x.permute(0, 1, 4, 2, 3).reshape(B, 6, 5, 5)))


def test_a_residual_block_begins_as_the_identity() -> None:
    x = torch.randn(B, 8, 4, 4)
    block = Residual(8, "silu")
    assert torch.equal(block(x), x)
    assert stirred(block)(x).sub(x).abs().min() > 0


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Conv(5, 3), "needs an image"),
        (lambda: Conv((1, 5, 5), 3, norm="batch"), "norm"),
        (lambda: Conv((1, 5, 5), 3, activation="sigmoidal"), "activation"),
        (lambda: Conv((1, 5, 5), 3, width=0), "width"),
        (lambda: ResNet((1, 5, 5), 3, blocks=-1), "blocks"),
        (lambda: recipes.vae((11,), 2, network="conv"), "--network mlp"),
        (lambda: recipes.vae((1, 5, 5), 2, network="one-hot"), "unknown network"),
        (lambda: recipes.vae((1, 5, 5), 2, network="conv:hidden=3"), "no argument 'hidden'"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        make()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_parameters_of_a_pixel_come_from_its_place(likelihood: str) -> None:
    """The decoder is built so that the parameters of a likelihood stand where it looks for them."""
    for network in ("conv:width=4", "resnet:width=4"):
        model, _ = recipes.vae((1, 8, 8), 2, network=network, likelihood=likelihood, hidden=(9,))
        x = torch.randint(0, 17, (B, 1, 8, 8)) / (1 if "categor" in likelihood else 16)
        terms = model.terms(x, samples=K)
        assert torch.isfinite(terms.log_w).all()
        assert model.generate(3).shape == (3, 1, 8, 8)


@pytest.mark.parametrize("network", ["conv:width=8", "resnet:width=8"])
def test_digits_from_training_to_file(network: str, tmp_path: Path) -> None:
    run = vaelab.train("digits", network=network, hidden="32", epochs=4, progress="off", threads=1)
    assert run.meta["parts"]["network"] == network
    assert next(m for m in run.model.modules() if isinstance(m, (Conv, ResNet))).activation == "silu"
    assert run.history.records[-1]["elbo"] > run.history.records[0]["elbo"] + 5
    run.save(tmp_path / "digits.safetensors")
    same = vaelab.load(tmp_path / "digits.safetensors")
    data = vaelab.data.open_source("digits").take(range(5))
    np.testing.assert_array_equal(run.score(data, samples=5), same.score(data, samples=5))


def test_a_folder_of_odd_sized_colour_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(24):
        picture = np.clip(rng.normal(128, 20, (5, 7, 3)) + 60 * rng.normal(size=3), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{i}.png")
    run = vaelab.train(
        tmp_path, network="conv:width=4", likelihood="logistic-mixture:components=2", hidden="8", epochs=2,
        progress="off", threads=1,
    )  # fmt: skip
    new = run.generate(3)
    assert new.shape == (3, 5, 7, 3)
    assert torch.equal(new, new.round().clamp(0, 255))
    assert run.evaluate(samples=3).bits_per_dimension > 0

"""Exact checks of what the explorer shows: a linear model's errors, decodes, orders and directions are known."""

from __future__ import annotations

import zlib
from base64 import b64decode
from collections.abc import Callable

import numpy as np
import torch

from exact import check, close, f64, linear, normal
from vaelab.data import Dataset, Schema
from vaelab.experiments.live import LIVE
from vaelab.run import Run
from vaelab.web.explored import Explored
from vaelab.web.fields import place, read
from vaelab.web.guard import Guard, Refused
from vaelab.web.program import packed


@check
def explored_exactly() -> None:
    """-E[log p(x | z)] in the user's units; E[x | z] at places and on ways; PCA and order of the codes."""
    o, x = linear(scale="entry"), normal(60, 5, seed=5)
    loc, scale = normal(5, seed=8), normal(5, seed=9).exp()
    schema = Schema(name="check", layout="array", shape=(5,), values="real", loc=loc, scale=scale)
    run = Run(o.model.float(), schema, splits={"validation": Dataset(x * scale + loc, schema)})
    explored = Explored(run)
    seen = explored.seen
    assert seen is not None
    codes = o.posterior(x).mean
    close(f64(seen.codes), codes, 1e-4, what="codes")
    prior = torch.distributions.MultivariateNormal(o.loc * torch.ones(2).double(), o.tau**2 * torch.eye(2).double())
    # where q is the exact posterior, log p(x | z) + log p(z) - log q(z | x) = log p(x) at every z
    evidence = o.marginal.log_prob(x) - scale.log().sum()
    kl = torch.distributions.kl_divergence(o.posterior(x), prior)
    close(f64(seen.error), -(evidence + kl), 1e-4, what="errors")
    places = normal(2, 2, seed=4)
    truth = (places @ o.w.T + o.m) * scale + loc
    close(f64(explored.decode(places)), truth, 1e-4, what="decodes")
    way = explored.path(*places.tolist(), steps=4, way="straight")
    close(f64(way)[2], truth.mean(0), 1e-4, what="the middle of the way")
    both, centred = np.array(explored.principal()), (codes - codes.mean(0)).numpy()
    largest = np.linalg.eigvalsh(np.cov(codes.numpy(), rowvar=False))[::-1]
    close(f64((centred @ both.T).var(0, ddof=1)), f64(largest.copy()), 1e-4, what="variance along the directions")


@check
def requests_of_strangers() -> None:
    """Another host, origin or token is refused; so are places beyond the bounds, and fields beside the known."""
    guard = Guard(lambda *_: None, port=8000, token="secret")  # type: ignore[arg-type, return-value]

    def status(path: str = "/api/run", **headers: str) -> int:
        given = {"host": "127.0.0.1:8000", "x-vaelab-token": "secret"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return refused(
            lambda: guard._check({"path": path, "headers": [(k.encode(), v.encode()) for k, v in given.items()]})
        )

    assert status() == status(origin="http://127.0.0.1:8000", sec_fetch_site="same-origin") == 200
    assert status(host="evil.example:8000") == status("/", host="evil.example", origin="http://evil.example") == 403
    assert (
        status(origin="http://evil.example") == status("/", origin="null") == status(sec_fetch_site="cross-site") == 403
    )
    assert status(x_vaelab_token="secre") == status(x_vaelab_token="") == 401
    for body, expected in ((b'{"z":[0,101]}', 422), (b'{"z":[0,1],"y":1}', 422), (b'{"z":[0,1],"z":[0,2]}', 400)):
        got = refused(lambda body=body: read(body, {"z": place(2)}))  # type: ignore[misc]
        assert got == expected, f"{body!r} was answered {got}"


def refused(work: Callable[[], object]) -> int:
    """Return the status with which a request is refused, or 200."""
    try:
        work()
    except Refused as error:
        return error.status
    return 200


@check
def weights_of_an_exported_page() -> None:
    """Every packed number is within half of a 2,047th of the largest of its row; small tensors are as they are."""
    large, small, same = 3 * normal(20, 30, seed=6).exp(), normal(7, seed=7), torch.full((40, 40), 2.5)
    kept, block = packed([large, small, same])
    assert [one.get("form", "all") for one in kept] == ["steps", "double", "all"]
    data = zlib.decompress(b64decode(block), -15)
    scale, n = np.frombuffer(data, "<f4", 20), large.numel()
    low, high = (np.frombuffer(data, np.uint8, n, 80 + i * n).astype(int) for i in (0, 1))
    found = scale[:, None] * (low + 256 * high - 2048).reshape(20, 30)
    half = large.abs().amax(1, keepdim=True).numpy() / 2047 / 2
    assert (np.abs(found - large.numpy()) <= 1.001 * half).all()
    close(f64(np.frombuffer(data, "<f8", 7, 80 + 2 * n).copy()), small, 1e-12, what="small tensors")


@check
def live_experiments_exactly() -> None:
    """The KL in closed form; the least KL of a diagonal Gaussian; a linear model that is fitted loses nothing."""
    mu, sigma = 1.0, 0.5
    truth = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, sigma), torch.distributions.Normal(0.0, 1.0)
    )
    close(f64([LIVE[14](mu=mu, sigma=sigma).figures["closed form"]]), f64([truth.item()]), 1e-6, what="closed form")
    least = LIVE[12](rho=0.8).charts[0]["series"][1]["y"][0]
    close(f64([least]), f64([-0.5 * np.log(1 - 0.64)]), 1e-4, what="least KL")
    lost = LIVE[18](rows=5000.0, latents=2.0).figures["lost, nats per row"]
    assert 0 <= lost < 0.01, f"a model of the right size loses {lost} nats"

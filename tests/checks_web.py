"""Exact checks of what the explorer shows: a linear model's errors, decodes, orders and directions are known."""

from __future__ import annotations

import zlib
from base64 import b85decode
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
from vaelab.web.packing import coarse_steps, packed, rounded


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
    """Steps are as coarse as the answers allow, and as Lagrange has them; what is packed is read back by its layout."""
    places, first, second = normal(50, 30, seed=6), normal(20, 30, seed=7), normal(20, 30, seed=8)
    range_ = (places @ first.T + 10 * places @ second.T).amax(0) - (places @ first.T + 10 * places @ second.T).amin(0)

    def answers(w: dict[str, torch.Tensor]) -> torch.Tensor:
        return places @ w["first"].T + 10 * places @ w["second"].T

    weights = {"first": first, "second": second}
    steps = coarse_steps(weights, answers, alike=False, moved=1e-3)
    coarse = {name: rounded(w, steps[name]) for name, w in weights.items()}
    for name, w in weights.items():
        worst = (coarse[name] - w).abs().max() / steps[name]
        assert 0.49 < worst <= 0.5 + 1e-9, f"{name}: moved by {worst} steps"
    moved = ((answers(coarse) - answers(weights)).abs() / range_).max()
    assert 3e-4 < moved <= 1e-3, f"the answers moved by {moved} of their range"
    assert 8 < steps["first"] / steps["second"] < 12, "ten times the weight, a tenth of the step"

    small, same = normal(7, seed=9), torch.full((40, 40), 2.5)
    kept, block = packed([coarse["first"], small, same, coarse["second"]], list(steps.values()))
    assert [one.get("form", "all") for one in kept] == ["steps", "double", "all", "steps"]
    whole = b85decode(block[1:].translate(str.maketrans(",.", "<`")))
    data = zlib.decompress(whole[: len(whole) - int(block[0])], -15)
    n, at = first.numel(), 0
    for one, name in ((kept[0], "first"), (kept[3], "second")):
        low, high = (np.frombuffer(data, np.uint8, n, at + i * n).astype(int) for i in (0, 1))
        found = one["step"] * (low + 256 * high + one["least"]).reshape(20, 30)
        close(f64(found), coarse[name], 1e-12, what=name)
        at += 2 * n + 56 * (name == "first")
    close(f64(np.frombuffer(data, "<f8", 7, 2 * n).copy()), small, 1e-12, what="small tensors")


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

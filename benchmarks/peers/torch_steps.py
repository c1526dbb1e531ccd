"""The same steps in plain PyTorch, and by this project: `python torch_steps.py KIND THREADS BATCH STEPS`.

KIND: floor, adam, fused (hand-written loops on rows in memory), loader (as in PyTorch's examples), eager, compiled.
"""

import sys
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from worker import WIDTHS, pixels, serve

kind, threads, batch, steps = sys.argv[1], *map(int, sys.argv[2:5])
torch.set_num_threads(threads)
torch.manual_seed(0)
data = torch.from_numpy(pixels(batch * steps))
x_dim, hidden, latent = WIDTHS


def networks():
    """Return encoder and decoder."""
    encoder = nn.Sequential(nn.Linear(x_dim, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
    return encoder, nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, x_dim))


def floor():
    """The matrix products of a step by the faster of torch's two libraries, Adam's traffic, the random numbers."""
    from vaelab.memory import keep_freed_memory
    from vaelab.networks.affine import affine

    keep_freed_memory()

    sizes = list(pairwise((x_dim, hidden, 2 * latent))) + list(pairwise((latent, hidden, x_dim)))
    weights = [torch.randn(o, i) for i, o in sizes]
    inputs, outputs = ([torch.randn(batch, size[side]) for size in sizes] for side in (0, 1))
    parameters = [nn.Parameter(torch.randn_like(t)) for w in weights for t in (w, w[:, 0])]
    for p in parameters:
        p.grad = torch.randn_like(p)
    optimiser = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    @torch.no_grad()
    def step(_):
        torch.randn(batch, latent)
        for layer, (w, x, y) in enumerate(zip(weights, inputs, outputs)):
            affine(x, w)
            affine(y.t(), x.t())
            if layer:  # nobody asks for the slope of x
                affine(y, w.t())
        optimiser.step()

    return step


def by_hand(fused):
    """The loop that a careful person writes."""
    encoder, decoder = networks()
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=fused or None)

    def step(x):
        mu, logvar = encoder(x).chunk(2, 1)
        z = mu + (logvar / 2).exp() * torch.randn_like(mu)
        kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()
        loss = (F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") + kl) / len(x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def example():
    """The step of pytorch/examples/vae: a sigmoid, default Adam, the loss read at each step; its `DataLoader`."""
    encoder, decoder = networks()
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data), batch_size=batch, shuffle=True)

    def epoch():
        total = 0.0
        for (x,) in loader:
            optimiser.zero_grad()
            mu, logvar = encoder(x).chunk(2, 1)
            z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
            bce = F.binary_cross_entropy(torch.sigmoid(decoder(z)), x, reduction="sum")
            loss = bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
            loss.backward()
            total += loss.item()
            optimiser.step()

    return epoch


def ours(compiled, precision="full"):
    """An epoch of our loop, without validation."""
    from vaelab import recipes
    from vaelab.data import Dataset, Schema
    from vaelab.training import Rows, Settings
    from vaelab.training.fit import _Run
    from vaelab.training.stepper import Stepper

    shape = {"name": "pixels", "layout": "array", "shape": (x_dim,), "values": "binary", "low": 0, "high": 1}
    rows = Rows(Dataset(data.to(torch.uint8), Schema(**shape)))
    model, objective = recipes.vae((x_dim,), latent, hidden=(hidden,))
    compile = "on" if compiled else "off"
    settings = Settings(epochs=10**6, batch_size=batch, compile=compile, decay="none", precision=precision)
    run = _Run(Stepper(model, objective, rows, settings), None, lambda record, history: None, None, None)
    run.history.compiled = compiled
    model.train()

    def epoch():
        run._epoch()
        run.state.row = 0

    return epoch


def over_rows(step):
    """Return an epoch of steps over shuffled rows in memory."""

    def epoch():
        for index in torch.randperm(len(data)).split(batch):
            step(data[index])

    return epoch


epochs = {
    "floor": lambda: (lambda step: lambda: [step(None) for _ in range(steps)])(floor()),
    "adam": lambda: over_rows(by_hand(False)),
    "fused": lambda: over_rows(by_hand(True)),
    "loader": example,
    "eager": lambda: ours(False),
    "compiled": lambda: ours(True),
    "eager16": lambda: ours(False, "bfloat16"),
    "compiled16": lambda: ours(True, "bfloat16"),
}
serve(epochs[kind](), threads)

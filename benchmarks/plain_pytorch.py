"""The yardstick: a VAE as a careful person writes it in plain PyTorch, 784-500-20-500-784, on binarised MNIST.

    VAELAB_DATA=... python benchmarks/plain_pytorch.py --lr 1e-3 --epochs 50

Prints one line of JSON: test bound and 5,000-sample evidence in nats per image, and the seconds of training.
"""

import argparse, gzip, json, math, os, time  # noqa: E401, I001

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def images(name):
    with gzip.open(f"{os.environ['VAELAB_DATA']}/mnist/{name}-images-idx3-ubyte.gz") as f:
        return torch.from_numpy(np.frombuffer(f.read(), np.uint8, offset=16).reshape(-1, 784).copy())


arguments = argparse.ArgumentParser(description=__doc__)
for option, value in {"lr": 1e-3, "epochs": 50, "batch": 100, "samples": 5000, "seed": 0}.items():
    arguments.add_argument(f"--{option}", type=type(value), default=value)
a = arguments.parse_args()
torch.manual_seed(a.seed)
train, test = (
    images("train"),
    torch.bernoulli(images("t10k") / 255, generator=torch.Generator().manual_seed(0)),
)
encoder = nn.Sequential(nn.Linear(784, 500), nn.ReLU(), nn.Linear(500, 40))
decoder = nn.Sequential(nn.Linear(20, 500), nn.ReLU(), nn.Linear(500, 784))
optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=a.lr, fused=True)
start = time.perf_counter()
for _ in range(a.epochs):
    for rows in torch.randperm(60000).split(a.batch):
        x = torch.bernoulli(train[rows] / 255)
        mu, logvar = encoder(x).chunk(2, 1)
        z = mu + (logvar / 2).exp() * torch.randn_like(mu)
        kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum()
        loss = (F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") + kl) / len(x)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
seconds = time.perf_counter() - start
with torch.no_grad():
    elbo, evidence = [], []
    for x in test.split(20):
        mu, logvar = encoder(x).chunk(2, 1)
        log_w = []
        for _ in range(0, a.samples, 100):
            eps = torch.randn(100, *mu.shape)
            z = mu + (logvar / 2).exp() * eps
            log_px = -F.binary_cross_entropy_with_logits(decoder(z), x.expand(100, -1, -1), reduction="none").sum(2)
            log_w.append(log_px + 0.5 * (eps**2 - z**2 + logvar).sum(2))
        log_w = torch.cat(log_w).double()
        elbo.append(log_w.mean(0))
        evidence.append(log_w.logsumexp(0) - math.log(len(log_w)))
figures = {"elbo": torch.cat(elbo).mean().item(), "log_evidence": torch.cat(evidence).mean().item()}
print(json.dumps({"lr": a.lr, "epochs": a.epochs, "seed": a.seed, **figures, "seconds": round(seconds)}))

"""Colour images in bits per dimension, beside PNG and WebP of the same images.

    VAELAB_DATA=... python benchmarks/colour.py [--minutes 30] [--samples 100] [-o docs/pictures]

The CIFAR-10 subset (4,000 images to train on, 400 of them held out; 1,000 of the official test part): a small very deep
VAE with a mixture of discretised logistics. Bits are -log2 p per number (32 x 32 x 3), from below by the bound and by
the importance bound; PNG and WebP (lossless, one file an image, optimised) are counted whole, headers included.
Writes OUT/colour.png: test images, their reconstructions, samples.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import vaelab
from vaelab.pictures import strips

OPTIONS = {
    "recipe": "very-deep",
    "hidden": "24",
    "latent_dim": "16,12,8,8",
    "likelihood": "logistic-mixture:components=5",
    "augment": "flip",
    "batch_size": 8,
    "lr": 3e-3,
    "clip": 1000.0,
    "validation": 400,
}


def file_bits(images: np.ndarray, **how: object) -> float:
    """Return bits per number of one file an image."""
    total = 0
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image).save(file, **how)
        total += len(file.getvalue())
    return 8 * total / images.size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/pictures"))
    asked = parser.parse_args()
    packed = np.load(Path(os.environ["VAELAB_DATA"]) / "cifar10" / "cifar10_subset.npz")
    train, test = (packed[f"x_{part}"].transpose(0, 2, 3, 1) for part in ("train", "test"))
    test = np.ascontiguousarray(test[: asked.rows])
    torch.set_num_threads(asked.threads)
    start = time.process_time()
    run = vaelab.train(
        np.ascontiguousarray(train), minutes=asked.minutes, seed=asked.seed, threads=asked.threads, **OPTIONS
    )
    seconds = time.process_time() - start
    print(f"trained {seconds:.0f} s, {run.history.records[-1]['epoch']} passes", flush=True)
    few = torch.from_numpy(test[:12].copy())
    rows = {"test images": few, "their reconstructions": run.reconstruct(test[:12]), "samples": run.generate(36)}
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "colour.png").write_bytes(strips("CIFAR-10 subset", rows, run.schema, columns=12))
    found = run.evaluate(test, samples=asked.samples)
    nats = test[0].size * math.log(2)
    figures = {
        "elbo_bits": -found.elbo.value / nats,
        "evidence_bits": -found.log_evidence.value / nats,
        "se_bits": found.log_evidence.se / nats,
        "png_bits": file_bits(test, format="png", optimize=True),
        "webp_bits": file_bits(test, format="webp", lossless=True, quality=100, method=6),
        "train_seconds": round(seconds),
        "passes": run.history.records[-1]["epoch"],
        "parameters": sum(p.numel() for p in run.model.parameters()),
    }
    print(json.dumps({**figures, "options": OPTIONS, "torch": torch.__version__}))


if __name__ == "__main__":
    main()

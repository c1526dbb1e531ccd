"""Recipes with a posterior of their own: trained on the command line, judged, used, saved and loaded."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

import vaelab
from vaelab.cli import main

QUICK = ["--epochs", "3", "--hidden", "32", "--latent-dim", "4", "--validation", "60", "--no-report", "--device", "cpu"]


def run(words: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(words)
    return int(end.value.code or 0)


QUANTISED, GEOMETRIC = ("vq-vae", "hrq-vae"), ("svae", "pvae")
REFINED = ("hamiltonian", "rhvae", "semi-amortised")


@pytest.mark.parametrize("name", ["vae-linnf", "vae-iaf", "gumbel", *QUANTISED, *GEOMETRIC, *REFINED])
def test_a_recipe_from_data_to_figures(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert run(["train", "digits", "--recipe", name, *QUICK, "--out", out, "-q"]) == 0
    capsys.readouterr()
    assert run(["evaluate", out, "--samples", "20", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert math.isfinite(figures["elbo"]["value"])
    assert figures["elbo"]["value"] <= figures["log_evidence"]["value"] + 1e-9
    assert figures["elbo"]["value"] == pytest.approx(figures["reconstruction"]["value"] - figures["kl"]["value"])
    assert run(["doctor", out]) == 0
    assert run(["generate", out, "-n", "4", "-o", str(tmp_path / "new.npy")]) == 0
    assert run(["encode", out, "digits", "-o", str(tmp_path / "codes.csv")]) == 0
    assert run(["reconstruct", out, "-o", str(tmp_path / "seen.npy")]) == 0
    first = vaelab.load(f"{out}/model.safetensors")
    x = torch.rand(7, *first.schema.model_shape)
    again = vaelab.load(first.save(tmp_path / "again.safetensors") or tmp_path / "again.safetensors")
    one, other = (m.model.terms(x, samples=3, noise=vaelab.Noise.seeded(1)) for m in (first, again))
    assert torch.equal(one.z, other.z)
    assert torch.equal(one.log_px, other.log_px)

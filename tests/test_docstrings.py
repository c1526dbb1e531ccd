"""Every public name has an example in its docstring, and every example does what it says."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import vaelab

SPACES = {name: getattr(vaelab, name) for name in vaelab.__all__ if inspect.ismodule(getattr(vaelab, name))}


def public() -> Iterator[tuple[str, Any]]:
    """Yield every public function and class, the methods of Run, and the recipes."""
    for name in vaelab.__all__:
        if name not in SPACES and name != "__version__":
            yield name, getattr(vaelab, name)
    for space, module in SPACES.items():
        for name in getattr(module, "__all__", []):
            yield f"{space}.{name}", getattr(module, name)
    for name, recipe in vaelab.recipes.RECIPES.items():
        yield f"recipes.{name}", recipe
    for name, method in vars(vaelab.Run).items():
        if not name.startswith("_") and inspect.isfunction(method) and name != "write":
            yield f"Run.{name}", method


@pytest.fixture(scope="module")
def run() -> vaelab.Run:
    return vaelab.train("digits", latent_dim=2, hidden="32", epochs=2, progress="off")


@pytest.mark.parametrize(("name", "thing"), list(public()), ids=lambda value: value if isinstance(value, str) else "")
def test_example(
    name: str, thing: Any, run: vaelab.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    names = {"vaelab": vaelab, "torch": torch, "run": run, **SPACES}
    names |= {n: getattr(vaelab, n) for n in ("ELBO", "IWAE", "Noise", "VAE")}
    text = inspect.cleandoc(thing.__doc__ or "")
    example = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    assert example.examples, f"{name} has no example in its docstring"
    failed = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed
    assert not failed, capsys.readouterr().out

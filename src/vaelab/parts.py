"""Parts by name: "gaussian:scale=shared" on a command line is likelihoods.Gaussian(..., scale="shared")."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import nn

from . import likelihoods, missingness, models, networks, objectives, posteriors, priors, refinements
from .data import Count, Grid, Levels, Number, Schema
from .errors import UsageError, suggest
from .part import Part, fits

NAMESPACES: dict[str, ModuleType] = {
    "prior": priors,
    "posterior": posteriors,
    "likelihood": likelihoods,
    "objective": objectives,
    "refine": refinements,
    "missingness": missingness,
    "network": networks,
}


@dataclass(frozen=True)
class Spec:
    """A class and some of its constructor arguments; the rest is for the builder to give."""

    role: str
    name: str
    part: type[Any]
    arguments: dict[str, Any]

    def make(self, **offered: Any) -> Any:
        """Return the part, built from its own arguments and those of the offered ones that its constructor names."""
        named = {name: value for name, value in offered.items() if takes(self.part, name)}
        return self.part(**named, **self.arguments)

    def __str__(self) -> str:
        arguments = ",".join(f"{k}={v}" for k, v in self.arguments.items())
        return f"{self.name}:{arguments}" if arguments else self.name


def takes(part: type[Any], argument: str) -> bool:
    """Return whether the constructor of a part names this argument."""
    return argument in inspect.signature(part.__init__).parameters


def known(role: str) -> dict[str, type[Any]]:
    """Return the parts of a role by their names on the command line: DiscretizedLogistic is "discretized-logistic"."""
    space = NAMESPACES[role]
    classes = {name: getattr(space, name) for name in space.__all__ if inspect.isclass(getattr(space, name))}
    parts = {name: part for name, part in classes.items() if _buildable(part)}
    if role == "network":  # those that go from any shape to any other by hidden layers; the rest are pieces of others
        parts = {name: part for name, part in parts.items() if takes(part, "inputs") and takes(part, "hidden")}
    return {kebab(name): part for name, part in parts.items()}


def _buildable(part: type[Any]) -> bool:
    patterns = ("Likelihood", "Amortized", "Refinement")
    return issubclass(part, Part) and not inspect.isabstract(part) and part.__name__ not in patterns


def kebab(name: str) -> str:
    """Return "discretized-logistic" for "DiscretizedLogistic", "iwae" for "IWAE", "resnet" for "ResNet"."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name.replace("ResNet", "Resnet")).lower()


# what a builder offers to a part of each role, beside the arguments that a user may write
OFFERED = {
    "prior": ("latent_dim", "shape", "posterior", "condition"),
    "posterior": ("network", "latent_dim"),
    "likelihood": ("network", "shape"),
    "objective": ("latent_dim", "shape", "labelled"),
    "network": ("inputs", "outputs", "hidden", "activation", "condition", "trailing"),
    "refine": ("latent_dim",),
    "missingness": ("shape", "columns"),
}


def parse(role: str, text: str) -> Spec:
    """Read "name:argument=value,...". What the builder offers to this role (OFFERED) may not be written."""
    name, _, rest = text.partition(":")
    parts = known(role)
    if name not in parts:
        raise UsageError(f"unknown {role} {name!r}.{suggest(name, tuple(parts))}")
    allowed = [a for a in inspect.signature(parts[name].__init__).parameters if a not in ("self", *OFFERED[role])]
    arguments: dict[str, Any] = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        key = key.replace("-", "_")
        if not equals:
            raise UsageError(f"{role} {text!r}: {item!r} is not argument=value.")
        if key not in allowed:
            raise UsageError(
                f"{role} {name} has no argument {key!r}.{suggest(key, allowed) if allowed else ' It takes none.'}"
            )
        arguments[key] = _value(value)
        expected = inspect.get_annotations(parts[name].__init__).get(key)
        if not fits(arguments[key], expected):
            raise UsageError(f"{role} {name}: {key} is {value}, expected {expected}.")
    for key in allowed:
        needed = inspect.signature(parts[name].__init__).parameters[key].default is inspect.Parameter.empty
        if needed and key not in arguments and key != getattr(parts[name], "levels", None):  # levels: by the data
            raise UsageError(f"{role} {name} needs {key}: write {name}:{key}=...")
    return Spec(role, name, parts[name], arguments)


def prior_for(model: nn.Module, shape: Sequence[int], text: str, seed: int = 0) -> Any:
    """Return the prior "name:argument=value,..." for a model of x of this shape, its weights by the seed."""
    spec = parse("prior", text)
    posterior = getattr(model, "posterior", None)
    with torch.random.fork_rng(devices=[]):  # initial weights come from the global generator: put back
        torch.manual_seed(seed)
        return spec.make(latent_dim=getattr(posterior, "latent_dim", None), shape=shape, posterior=posterior)


def _value(text: str) -> Any:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)


def registry() -> dict[str, type[Any]]:
    """Return every part that a model file may name: "likelihoods.Gaussian" -> class. Nothing else is ever built."""
    out: dict[str, type[Any]] = {f"data.{part.__name__}": part for part in (Schema, Count, Grid, Levels, Number)}
    for space in (models, priors, posteriors, likelihoods, networks, refinements, missingness):
        short = space.__name__.rpartition(".")[2]
        out |= {f"{short}.{n}": getattr(space, n) for n in space.__all__ if _buildable(getattr(space, n))}
    return out

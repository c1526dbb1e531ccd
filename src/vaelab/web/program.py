"""A decoder as a list of small steps, each one operation on numbers with a shape: a page without Python can run it."""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from ..data.fields import Levels
from ..errors import UsageError
from ..models.vae import Decodes
from ..noise import stream
from ..part import inference
from ..run import Run
from ..use.encode import given as at_rows
from .packing import FEW, MOVED, coarse_steps, rounded

DRAWS = 32  # places at which rounded weights are judged
GROWTH = 16  # how much larger than its inputs a constant may be before it is computed in the page
PLAIN = ("default", "Tensor", "Scalar", "self", "int", "Tensor_Scalar", "Scalar_Tensor")  # told apart by what they get
REMEDY = "`vaelab explore` shows it, with Python behind the page."


@dataclass
class Program:
    """Steps [operation, arguments]; {"$": i} is the result of step i, {"c": i} constant i. The last is the answer."""

    steps: list[list[Any]] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    coarse: list[float] = field(default_factory=list)  # the steps of which constants are multiples


@cache
def operations() -> frozenset[str]:
    """Return the names of the operations that the page computes: those of the table in program.js."""
    source = resources.files(__package__).joinpath("offline", "program.js").read_text(encoding="utf-8")
    table = source.partition("const operations = {")[2]
    return frozenset(re.findall(r"^  (\w+)[:(,]", table, re.MULTILINE))


def program_of(run: Run, condition: Tensor | None = None) -> Program:
    """Return z (1, Z) -> E[x | z] in the user's units, (1, *shape), as steps: what `vaelab.use.decode` computes.

    Raises UsageError for a decoder with an operation that the page does not know, or one that draws.
    """
    model, schema = run.model, run.schema
    if not isinstance(model, Decodes):
        raise UsageError(f"export: a {type(model).__name__} has no latent space to decode from.")
    z = torch.zeros(1, run.latent_dim)

    with inference(model):
        mean = model.decode(z, at_rows(condition, z)).mean
        categories = bool(mean.isnan().any())  # which have no mean: as `centre` has it, but decided once

        def decode(z: Tensor) -> Tensor:
            px = model.decode(z, at_rows(condition, z))
            x = torch.where(px.mean.isnan(), px.mode.to(z.dtype), px.mean) if categories else px.mean
            return schema.decode(x)

        jumps = categories or any(isinstance(kind, Levels) for kind in schema.kinds)
        return traced(decode, z, alike=schema.layout == "image", moved=0.0 if jumps else MOVED)


def decoder_parameters(model: Any) -> list[Tensor]:
    """Return the parameters on the way from z to p(x | z)."""
    parts = [getattr(model, name, None) for name in ("likelihood", "levels", "links", "top")]
    return [p for part in parts if isinstance(part, torch.nn.Module) for p in part.parameters()]


def traced(function: Callable[[Tensor], Tensor], z: Tensor, **how: Any) -> Program:
    """Return a function of one tensor as a program, its weights in steps as coarse as its answers allow.

    What does not depend on z is computed here, once. `how` is for `coarse_steps`.
    """
    from torch.func import functionalize
    from torch.fx.experimental.proxy_tensor import make_fx

    try:
        graph: Any = make_fx(functionalize(function))(z)
    except RuntimeError as error:
        if "tracing tensor" not in str(error):
            raise
        raise UsageError(
            f"export: this decoder chooses its steps by the numbers on the way, which a page cannot follow. {REMEDY}"
        ) from None
    graph.graph.eliminate_dead_code()
    made, known = Program(coarse=_coarsened(graph, z, how)), {}
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            known[node] = {"$": -1}
        elif node.op == "get_attr":
            known[node] = operator.attrgetter(node.target)(graph)
        elif node.op == "call_function":
            known[node] = _step(made, node, known)
        elif node.op == "output":
            answer = known[node.args[0]]
            made.steps.append(["clone", [_written(made, answer), None]])
    return made


def _coarsened(graph: Any, z: Tensor, how: dict[str, Any]) -> list[float]:
    """Round the large weights of a graph; return the steps of which they are multiples now."""
    named = {node.target for node in graph.graph.nodes if node.op == "get_attr"}
    held = {name: operator.attrgetter(name)(graph) for name in sorted(named)}
    large = {name: w.detach() for name, w in held.items() if isinstance(w, Tensor) and _many(w)}
    places = torch.randn(DRAWS, *z.shape, generator=stream(0, "export")).to(z)

    def answers(weights: dict[str, Tensor]) -> Tensor:
        for name, value in weights.items():
            delattr(graph, name)
            graph.register_buffer(name, value)
        return torch.stack([graph(place) for place in places]).double()

    steps = coarse_steps(large, answers, **how)
    answers({name: rounded(large[name], step) for name, step in steps.items()})
    return list(steps.values())


def _many(w: Tensor) -> bool:
    """Whether these are weights that are worth rounding."""
    return w.is_floating_point() and w.ndim >= 2 and w.numel() >= FEW and bool(w.isfinite().all() and w.std() > 0)


def _step(made: Program, node: Any, known: dict[Any, Any]) -> Any:
    """Add a step for a node of the graph, or return the constant that it is."""
    if node.target is operator.getitem:
        whole, place = node.args
        found = known[whole]
        if isinstance(found, (list, tuple)):
            return found[place]
        made.steps.append(["item", [found, place]])
        return {"$": len(made.steps) - 1}
    given = [_looked_up(value, known) for value in _all_arguments(node)]
    if any(isinstance(value, torch.Generator) for value in given):
        raise UsageError(f"export: the expectation of x given z of this model is drawn, not computed. {REMEDY}")
    if not any(_depends(value) for value in given):
        found = node.target(*node.args and _looked_up(node.args, known), **_looked_up(node.kwargs, known))
        inputs = sum(v.numel() for v in _tensors(given))
        small = not isinstance(found, Tensor) or found.numel() <= max(FEW, GROWTH * inputs)
        if small or bool((found == found.flatten()[0]).all()):
            return found
    overload = node.target._overloadname
    packet = node.target.overloadpacket.__name__
    name = packet if overload in PLAIN else f"{packet}_{overload}"
    unusual = (name == "convolution" and (given[8] != 1 or any(step != 1 for step in given[5]))) or (
        name == "index_put" and node.args[1][0].meta["val"].dtype != torch.bool
    )
    if name not in operations() or unusual:
        raise UsageError(f"export: the page cannot compute {node.target}, which this decoder needs. {REMEDY}")
    made.steps.append([name, [_written(made, value) for value in given]])
    return {"$": len(made.steps) - 1}


def _all_arguments(node: Any) -> list[Any]:
    """Return the arguments of a node in the order of the operation's own list, defaults filled in."""
    listed = node.target._schema.arguments
    given = dict(zip((argument.name for argument in listed), node.args)) | node.kwargs
    return [given.get(argument.name, argument.default_value) for argument in listed]


def _looked_up(value: Any, known: dict[Any, Any]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_looked_up(item, known) for item in value)
    if isinstance(value, dict):
        return {name: _looked_up(item, known) for name, item in value.items()}
    return known.get(value, value) if isinstance(value, torch.fx.Node) else value


def _depends(value: Any) -> bool:
    return any(map(_depends, value)) if isinstance(value, (list, tuple)) else isinstance(value, dict)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, (list, tuple)):
        return [tensor for item in value for tensor in _tensors(item)]
    return [value] if isinstance(value, Tensor) else []


def _written(made: Program, value: Any) -> Any:
    """Return an argument as JSON has it: tensors by number, types by letter, what JSON cannot say as text."""
    if isinstance(value, Tensor):
        for i, other in enumerate(made.constants):
            if other is value:
                return {"c": i}
        made.constants.append(value)
        return {"c": len(made.constants) - 1}
    if isinstance(value, (list, tuple)):
        return [_written(made, item) for item in value]
    if isinstance(value, torch.dtype):
        return "real" if value.is_floating_point else "truth" if value == torch.bool else "whole"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (int, float, str, bool, dict)) else None


def as_json(value: Any) -> str:
    """Return JSON that may stand inside a script element of a page: no "<" in it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False).replace("<", "\\u003c")

"""Burda, Grosse & Salakhutdinov 2016, tables 1 and 3: IWAE and VAE on MNIST, one and two stochastic layers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import recipes
from ..data import open_source
from ..evaluation import Estimate, active_units, evidence_rows
from ..objectives import Objective
from ..training import Rows, Settings
from ..training.schedules import STAGES
from .base import Check, Item, Pictures, Reproduction, Results, Seeds, register
from .burda_picture import picture
from .text import seconds_of
from .unit import Build, Figures, Unit, judged

SCHEDULE = (3**STAGES - 1) // 2  # passes of the paper's eight stages: 3,280
PASSES = 100  # of the default
ROWS = {"dynamic": 60_000, "fixed": 50_000}
SIZES = {1: (50,), 2: (100, 50)}  # layers -> latent dimensions
DRAWS, LOOK_DRAWS, LOOK_ROWS = 5000, 50, 1000
JUDGED = 1000  # test rows of the last figure; all of them where the whole schedule is run

# (data, layers, objective, k) -> nats and active units of the paper's tables; then the best open reproduction
PAPER: dict[tuple[str, int, str, int], tuple[float, str]] = {
    ("dynamic", 1, "iwae", 1): (86.76, "19"), ("dynamic", 1, "iwae", 5): (85.54, "22"),
    ("dynamic", 1, "iwae", 50): (84.78, "25"), ("dynamic", 2, "iwae", 1): (85.33, "16+5"),
    ("dynamic", 2, "iwae", 5): (83.89, "21+5"), ("dynamic", 2, "iwae", 50): (82.90, "26+7"),
    ("dynamic", 1, "vae", 5): (86.47, "20"), ("dynamic", 1, "vae", 50): (86.35, "20"),
    ("dynamic", 2, "vae", 5): (85.01, "17+5"), ("dynamic", 2, "vae", 50): (84.78, "17+5"),
    ("fixed", 1, "iwae", 1): (88.71, "19"), ("fixed", 1, "iwae", 5): (87.63, "22"),
    ("fixed", 1, "iwae", 50): (87.10, "24"), ("fixed", 2, "iwae", 1): (88.08, "16+5"),
    ("fixed", 2, "iwae", 5): (86.17, "21+5"), ("fixed", 2, "iwae", 50): (85.32, "24+7"),
    ("fixed", 1, "vae", 5): (88.83, "19"), ("fixed", 1, "vae", 50): (89.05, "20"),
    ("fixed", 2, "vae", 5): (87.63, "17+5"), ("fixed", 2, "vae", 50): (87.86, "17+6"),
}  # fmt: skip
OPEN: dict[tuple[str, int, str, int], float] = {  # lower is better; see the page
    ("dynamic", 1, "iwae", 1): 86.35, ("dynamic", 1, "iwae", 5): 85.18, ("dynamic", 1, "iwae", 50): 84.59,
    ("dynamic", 2, "iwae", 1): 84.83, ("dynamic", 2, "iwae", 5): 83.48, ("dynamic", 2, "iwae", 50): 82.82,
    ("dynamic", 1, "vae", 5): 86.10, ("dynamic", 1, "vae", 50): 86.06, ("dynamic", 2, "vae", 5): 84.08,
    ("dynamic", 2, "vae", 50): 83.89, ("fixed", 1, "iwae", 1): 89.93, ("fixed", 1, "iwae", 5): 87.65,
    ("fixed", 1, "iwae", 50): 86.71,
}  # fmt: skip
START = "bernoulli:centred=False"  # the bias is set below, as the paper has it
NEAR = 2.5  # nats of the published value, after 100 of 3,280 passes


def plan(scale: float) -> list[Item]:
    """Return the cells: table 1 by IWAE in order of their cost, then by the VAE's objective, then table 3."""
    items = []
    order = sorted(PAPER, key=lambda cell: (cell[0] == "fixed", cell[2] == "vae", cell[3] * cell[1], cell[1]))
    for kind, layers, objective, k in order:
        passes = PASSES * scale
        cap = max(200, min(ROWS[kind], round(ROWS[kind] * passes)))  # less than one pass is one pass over fewer rows
        samples = max(200, round(ROWS[kind] * passes))
        unit = Unit(
            named(kind, layers, objective, k),
            rows_of(kind, cap),
            cell(layers, objective, k),
            goes_on=False,
            looks=5,
            measure=look,
            finish=finish_with(JUDGED if passes < SCHEDULE else 10_000, DRAWS if scale >= 1 else 100),
        )
        items.append(Item("table-1" if kind == "dynamic" else "table-3", unit, samples))
    return items


def named(kind: str, layers: int, objective: str, k: int) -> str:
    """Return the name of a cell."""
    return f"{kind}-{layers}-{objective}-{k}"


@cache
def mnist(kind: str, train: int) -> tuple[Rows, Rows]:
    """Return training and test rows, binarised afresh at each use ("dynamic"; test rows once) or as published."""
    data = open_source("mnist", binarize="stochastic" if kind == "dynamic" else "fixed")
    assert data.test is not None
    return Rows(data).first(train), Rows(data.test).drawn(0)


def rows_of(kind: str, train: int) -> Callable[[], tuple[Rows, Rows]]:
    """Return what gives the rows of a cell."""
    return lambda: mnist(kind, train)


def cell(layers: int, objective: str, k: int) -> Build:
    """Return build(rows) with the paper's settings: tanh, Glorot, Adam, batches of 20, eight stages."""
    goal = f"{'iwae' if objective == 'iwae' else 'elbo'}:samples={k}"

    def build(train: Rows) -> tuple[nn.Module, Objective, Settings]:
        x = train.drawn(0).data
        shape = tuple(x.shape[1:])
        make = recipes.iwae if layers == 1 else recipes.hierarchical
        sizes: Any = SIZES[layers][0] if layers == 1 else SIZES[layers]
        model, made = make(shape, sizes, hidden=(200, 200), activation="tanh", objective=goal, likelihood=START)
        for layer in model.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)
        last = [layer for layer in model.likelihood.modules() if isinstance(layer, nn.Linear)][-1]
        with torch.no_grad():
            share = x.double().flatten(1).mean(0).clamp(0.001, 0.999)
            last.bias.copy_(torch.logit(share))
        how = Settings(batch_size=20, lr=1e-3, epsilon=1e-4, decay="staged", lr_warmup=0, average=False, compile="auto")
        return model, made, how

    return build


def look(model: nn.Module, train: Rows, test: Rows, seed: int) -> Figures:
    """Return minus L_50 of the first 1,000 test rows, nats: the curve against passes."""
    values = evidence_rows(model, judged(test, train, LOOK_ROWS), samples=LOOK_DRAWS, seed=seed)
    assert values.evidence is not None
    return {"nll_50": -values.evidence.mean().item()}


def finish_with(rows: int, draws: int) -> Callable[[nn.Module, Rows, Rows, int], Figures]:
    """Return what is measured at the end: minus L_5000 of so many test rows, and active units by layer."""

    def finish(model: nn.Module, train: Rows, test: Rows, seed: int) -> Figures:
        values = evidence_rows(model, judged(test, train, rows), samples=draws, seed=seed)
        assert values.evidence is not None
        sizes = getattr(model, "sizes", [values.mean.shape[1]])
        units = [active_units(part) for part in values.mean.split(sizes, 1)]
        figure = Estimate.of(-values.evidence)
        return {"nll": figure.json(), "draws": draws, "rows": len(values.mean), "active": "+".join(map(str, units))}

    return finish


def checks(results: Results) -> list[Check]:
    """Return what table 1 must show: the order in k, that in layers, and how near the values are."""
    ours = {key: found.finish["nll"]["value"] for key in PAPER if (found := results.get(named(*key))) and found.finish}
    mine = {(layers, k): v for (kind, layers, goal, k), v in ours.items() if (kind, goal) == ("dynamic", "iwae")}
    by_k = [mine[a, k] > mine[a, m] for a in (1, 2) for k, m in ((1, 5), (5, 50)) if (a, k) in mine and (a, m) in mine]
    by_layer = [mine[1, k] > mine[2, k] for k in (5, 50) if (1, k) in mine and (2, k) in mine]
    off = {named(*key): ours[key] - PAPER[key][0] for key in ours if key[0] == "dynamic"}
    return [
        Check("table 1: more draws, fewer nats", all(by_k) if by_k else None, {"pairs": len(by_k)}),
        Check("table 1: two layers, fewer nats, k = 5 and 50", all(by_layer) if by_layer else None,
              {"pairs": len(by_layer)}),
        Check(f"table 1: no more than {NEAR} nats above the published values", max(off.values()) <= NEAR if off
              else None, {"above": off}),
    ]  # fmt: skip


def page(items: list[Item], seeds: Seeds, work: Path) -> tuple[str, Pictures, list[Check]]:
    """Return the text, the picture and the checks, of seed 0, and the nats of other seeds."""
    results = seeds[0]
    first = items[0]
    passes = first.samples / ROWS["dynamic"]
    lines = [SETTINGS, "", f"Passes over the data: {passes:g} of the paper's {SCHEDULE:,}.", ""]
    for number, kind, what in ((1, "dynamic", "binarised afresh at each use"), (3, "fixed", "binarised once")):
        lines += [f"## Table {number}: MNIST, {what}", "", *table(kind, seeds), ""]
    pictures: Pictures = {}
    if results:
        pictures["passes.png"] = picture(results)
        lines += ["![nats against passes](%passes.png%)", "", CAPTION, ""]
    missing = [item.unit.name for item in items if item.unit.name not in results or not results[item.unit.name].finish]
    lines += [f"Processor time so far: {seconds_of(results)}."]
    if missing:
        lines += ["", f"Not run yet, or not to the end: {', '.join(missing)}."]
    return "\n".join(lines), pictures, checks(results)


def table(kind: str, seeds: Seeds) -> list[str]:
    """Return a table in the paper's order: nats of test rows, ours beside theirs."""
    results, others = seeds[0], {seed: found for seed, found in sorted(seeds.items()) if seed}
    lines = [
        "| layers | k | objective | ours | other seeds | rows, draws | active | paper | active | best open | minutes |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in sorted(key for key in PAPER if key[0] == kind):
        _, layers, objective, k = key
        found, (value, active) = results.get(named(*key)), PAPER[key]
        if found is not None and found.finish:
            end = found.finish
            ends = [other[named(*key)].finish for other in others.values() if named(*key) in other]
            more = ", ".join(f"{one['nll']['value']:.2f}" for one in ends if one)
            mine = f"{end['nll']['value']:.2f} ± {end['nll']['se']:.2f} | {more} | {end['rows']:,}, {end['draws']:,}"
            mine += f" | {end['active']}"
            minutes = f"{found.seconds / 60:.1f}"
        else:
            mine, minutes = "not run | | | ", ""
        best = f"{OPEN[key]:.2f}" if key in OPEN else ""
        name = objective.upper() if k > 1 else "both"
        lines.append(f"| {layers} | {k} | {name} | {mine} | {value:.2f} | {active} | {best} | {minutes} |")
    return lines


SETTINGS = """The paper's settings: 200-200 tanh units, 50 latents (two layers: 100 and 50, with 100-100 between them),
Glorot weights, output bias at the logit of the training means, Adam with epsilon 1e-4, batches of 20, eight stages of
3^i passes at 0.001 * 10^(-i/7). Fewer passes keep the stages in proportion. Negative log-likelihood of test rows in
nats, less is better: minus the importance-weighted bound with 5,000 draws; an active unit has a variance of its
posterior mean above 0.01. "Best open" is the TensorFlow 2 reproduction nbip/IWAE, whole schedule. OMNIGLOT is not
run."""
CAPTION = (
    """Minus the bound with 50 draws on 1,000 test rows against passes over the training rows, as training goes."""
)
TITLE = "Burda, Grosse & Salakhutdinov 2016, Importance Weighted Autoencoders"

register(Reproduction("iwae", TITLE, SCHEDULE / PASSES, plan, page))

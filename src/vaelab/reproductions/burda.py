"""Burda, Grosse & Salakhutdinov 2016, tables 1 and 3: IWAE and VAE on MNIST, one and two stochastic layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import recipes
from ..data import open_source
from ..evaluation import active_units, evidence_rows
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
JUDGED = 1000  # test rows with 5,000 draws; all of them where the whole schedule is run
STEPS = ("ours", "paper")  # whose optimiser, batch and schedule a cell has

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
BATCH, WARMUP = 20, 10  # rows; passes in which the KL term comes in, of two layers by our steps
NEAR = 2.5  # nats of the published value, after 100 of 3,280 passes


def plan(scale: float) -> list[Item]:
    """Return the cells: table 1 by IWAE in order of their cost, then by the VAE's objective, then table 3."""
    items = []
    order = sorted(PAPER, key=lambda cell: (cell[0] == "fixed", cell[2] == "vae", cell[3] * cell[1], cell[1]))
    for steps in STEPS:
        for kind, layers, objective, k in order:
            passes = PASSES * scale
            cap = max(200, min(ROWS[kind], round(ROWS[kind] * passes)))  # less than a pass is one over fewer rows
            samples = max(200, round(ROWS[kind] * passes))
            unit = Unit(
                named(kind, layers, objective, k, steps),
                rows_of(kind, cap),
                cell(layers, objective, k, steps),
                goes_on=False,
                looks=5,
                measure=look,
                finish=finish_with(JUDGED if passes < SCHEDULE else 10_000, DRAWS if scale >= 1 else 100),
            )
            table = "table-1" if kind == "dynamic" else "table-3"
            items.append(Item(f"{table}-{steps}", unit, samples))
    return items


def named(kind: str, layers: int, objective: str, k: int, steps: str) -> str:
    """Return the name of a cell."""
    return f"{kind}-{layers}-{objective}-{k}-{steps}"


@cache
def mnist(kind: str, train: int) -> tuple[Rows, Rows]:
    """Return training and test rows, binarised afresh at each use ("dynamic"; test rows once) or as published.

    Test rows are in random order, so that the first of them stand for all.
    """
    data = open_source("mnist", binarize="stochastic" if kind == "dynamic" else "fixed")
    assert data.test is not None
    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))
    return Rows(data).first(train), Rows(data.test.take(order)).drawn(0)


def rows_of(kind: str, train: int) -> Callable[[], tuple[Rows, Rows]]:
    """Return what gives the rows of a cell."""
    return lambda: mnist(kind, train)


def cell(layers: int, objective: str, k: int, steps: str) -> Build:
    """Return build(rows) with the paper's network (tanh, Glorot) and batches of 20, and its steps or ours."""

    def build(train: Rows) -> tuple[nn.Module, Objective, Settings]:
        x = train.drawn(0).data
        shape = tuple(x.shape[1:])
        weighs = objective == "iwae" and k > 1
        goal = f"{'iwae' if weighs else 'elbo'}:samples={k}"
        if steps == "ours" and layers == 2:
            goal += f",warmup={WARMUP * len(train) // BATCH}"
        elif steps == "ours":
            goal += f",gradient={'dreg' if weighs else 'stopped'}"
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
        how = Settings(batch_size=BATCH, lr=1e-3, compile="auto")
        if steps == "paper":
            how = replace(how, epsilon=1e-4, decay="staged", lr_warmup=0, average=False)
        return model, made, how

    return build


def look(model: nn.Module, train: Rows, test: Rows, seed: int) -> Figures:
    """Return minus L_50 of 1,000 test rows, nats: the curve against passes."""
    values = evidence_rows(model, judged(test, train, LOOK_ROWS), samples=LOOK_DRAWS, seed=seed)
    assert values.evidence is not None
    return {"nll_50": -values.evidence.mean().item()}


def finish_with(rows: int, draws: int) -> Callable[[nn.Module, Rows, Rows, int], Figures]:
    """Return what is measured at the end: minus L_5000 of the test rows, and active units by layer.

    Of N test rows, n with all the draws:  mean_N(-L_50) + mean_n(L_50 - L_5000),  whose error is that of the second
    mean alone; with n = N this is mean_N(-L_5000).
    """

    def finish(model: nn.Module, train: Rows, test: Rows, seed: int) -> Figures:
        few = evidence_rows(model, test, samples=min(draws, LOOK_DRAWS), seed=seed)
        some = judged(test, train, rows)
        many = evidence_rows(model, some, samples=draws, seed=seed)
        assert few.evidence is not None
        assert many.evidence is not None
        gain = many.evidence - few.evidence[: len(some)]
        left = 1 - len(some) / len(test)  # of all rows none are left to be wrong about
        sizes = getattr(model, "sizes", [few.mean.shape[1]])
        units = [active_units(part) for part in few.mean.split(sizes, 1)]
        return {
            "nll": (-few.evidence.mean() - gain.mean()).item(),
            "error": (gain.var() * left / len(some)).sqrt().item(),
            "active": "+".join(map(str, units)),
        }

    return finish


def checks(results: Results) -> list[Check]:
    """Return what table 1 must show, by our steps: the order in k, that in layers, how near the values are."""
    ours = {key: end["nll"] for key in PAPER if (end := ending(results, key, "ours"))}
    mine = {(layers, k): v for (kind, layers, goal, k), v in ours.items() if (kind, goal) == ("dynamic", "iwae")}
    by_k = [mine[a, k] > mine[a, m] for a in (1, 2) for k, m in ((1, 5), (5, 50)) if (a, k) in mine and (a, m) in mine]
    by_layer = [mine[1, k] > mine[2, k] for k in (5, 50) if (1, k) in mine and (2, k) in mine]
    off = {named(*key, "ours"): ours[key] - PAPER[key][0] for key in ours if key[0] == "dynamic"}
    words = "table 1, our steps"
    return [
        Check(f"{words}: more draws, fewer nats ({len(by_k)} of 4 pairs)", all(by_k) if by_k else None, {}),
        Check(f"{words}: two layers, fewer nats, k = 5 and 50 ({len(by_layer)} of 2 pairs)", all(by_layer) if by_layer
              else None, {}),
        Check(f"{words}: no more than {NEAR} nats above the published values ({len(off)} of 10 cells)",
              max(off.values()) <= NEAR if off else None, {"above": off}),
    ]  # fmt: skip


def ending(results: Results, key: tuple[str, int, str, int], steps: str) -> Figures:
    """Return what was measured at the end of a cell; nothing if it is not there."""
    found = results.get(named(*key, steps))
    return {} if found is None else found.finish


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
    lines += [f"Processor time so far: {seconds_of(results)}."]
    return "\n".join(lines), pictures, checks(results)


def table(kind: str, seeds: Seeds) -> list[str]:
    """Return a table in the paper's order: nats of test rows, ours beside theirs; of other seeds after the first."""
    lines = [
        "| layers | k | objective | our steps | active | minutes | paper's steps | active | minutes | paper | active | "
        "best open |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for key in sorted(key for key in PAPER if key[0] == kind):
        _, layers, objective, k = key
        value, active = PAPER[key]
        cells = []
        for steps in STEPS:
            ends = [end for _, found in sorted(seeds.items()) if (end := ending(found, key, steps))]
            one = seeds[0].get(named(*key, steps))
            cells.append(", ".join(f"{end['nll']:.2f}" for end in ends) or "not run")
            cells.append(ends[0]["active"] if ends else "")
            cells.append(f"{one.seconds / 60:.1f}" if ends and one else "")
        best = f"{OPEN[key]:.2f}" if key in OPEN else ""
        name = objective.upper() if k > 1 else "both"
        lines.append(f"| {layers} | {k} | {name} | {' | '.join(cells)} | {value:.2f} | {active} | {best} |")
    return lines


SETTINGS = """The paper's network: 200-200 tanh units, 50 latents (two layers: 100 and 50, with 100-100 between them),
Glorot weights, output bias at the logit of the training means; Adam, batches of 20. The paper's steps: epsilon 1e-4,
eight stages of 3^i passes at 0.001 * 10^(-i/7); fewer passes keep the stages in proportion. Our steps: epsilon 1e-8, a
rate that falls from 0.001 to 0 with a cosine, the mean of the weights; of one layer the doubly reparameterised gradient
of the same bound (k = 1, and the VAE: without the score of q), of two a KL term that comes in over 10 passes. Negative
log-likelihood of test rows in nats, less is better: minus the importance-weighted bound with 5,000 draws; of 1,000 rows
drawn at random, and for the other 9,000 the bound with 50 draws plus what 5,000 brought the 1,000 (standard error below
0.1). Several values are of seeds 0, 1, 2. An active unit has a variance of its posterior mean above 0.01. Minutes, of
the processor, and active units are of seed 0. "Best open" is the TensorFlow 2 reproduction nbip/IWAE, whole schedule.
OMNIGLOT is not run."""
CAPTION = """Minus the bound with 50 draws on 1,000 test rows against passes, by our steps."""
TITLE = "Burda, Grosse & Salakhutdinov 2016, Importance Weighted Autoencoders"

register(Reproduction("iwae", TITLE, SCHEDULE / PASSES, plan, page))

"""Kingma & Welling 2013, figures 2 to 5: which curves there are, and what they must show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..objectives import MonteCarloEM
from ..training import Rows
from . import marginal, paper
from .base import Check, Item, Pictures, Reproduction, Results, Seeds, register
from .kingma_welling_pictures import figure_2, figure_3, figure_4, figure_5
from .paper import METHODS, as_published, as_today
from .text import rows_of, seconds_of
from .unit import Found, Unit

SAMPLES = 3_000_000
FIFTH = 5  # our defaults get a fifth of the samples
MNIST_LATENTS, FREY_LATENTS = (3, 5, 10, 20, 200), (2, 5, 10, 20)
SMALL = 1000  # rows of figure 3's first panel
FROM = 300_000  # samples from which on AEVB must lie above wake-sleep


def plan(scale: float) -> list[Item]:
    """Return the curves of all figures, MNIST first."""
    samples = max(200, round(SAMPLES * scale))
    cap = max(200, samples // 2)  # a small version trains on few rows, so that it sees each of them
    items: list[Item] = []
    for binary, latents in ((True, MNIST_LATENTS), (False, FREY_LATENTS)):
        for size in latents:
            items += panel(binary, size, samples, cap)
    for rows in (SMALL, paper.TRAIN):
        for method in (*METHODS, "mcem") if rows == SMALL else METHODS:
            items.append(Item("figure-3", likelihood_curve(method, rows, cap), samples))
    items.append(Item("figure-4", bound_curve("aevb", True, 2, cap), samples))
    return items


def panel(binary: bool, latents: int, samples: int, cap: int) -> list[Item]:
    """Return the three curves of a panel of figure 2."""
    mine = [Item("figure-2", bound_curve(method, binary, latents, cap), samples) for method in METHODS]
    name, hidden = named(binary, latents, "ours"), hidden_of(binary)
    today = Unit(name, data_of(binary, cap), as_today(latents, hidden, binary=binary), goes_on=False)
    return [*mine, Item("figure-2", today, samples // FIFTH)]


def hidden_of(binary: bool) -> int:
    """Return the hidden units: 500 for MNIST, 200 for the faces."""
    return 500 if binary else 200


def named(binary: bool, latents: int, method: str) -> str:
    """Return the name of a curve of figure 2."""
    return f"{'mnist' if binary else 'frey'}-{latents}-{method}"


def data_of(binary: bool, cap: int) -> Callable[[], tuple[Rows, Rows]]:
    """Return what gives the rows, at most `cap` to train on."""
    return lambda: paper.mnist(min(cap, paper.TRAIN)) if binary else paper.frey_faces(min(cap, paper.FREY_TRAIN))


def bound_curve(method: str, binary: bool, latents: int, cap: int) -> Unit:
    """Return a curve of figure 2 with the paper's settings."""
    build = as_published(METHODS[method], latents, hidden_of(binary), binary=binary)
    return Unit(named(binary, latents, method), data_of(binary, cap), build, rates=paper.RATES)


def likelihood_curve(method: str, rows: int, cap: int) -> Unit:
    """Return a curve of figure 3: 100 hidden units, 3 latents, log p(x) in the place of the bound."""
    objective = METHODS[method] if method in METHODS else lambda: MonteCarloEM(3)
    return Unit(
        f"likelihood-{rows}-{method}",
        lambda: paper.mnist(min(rows, cap)),
        as_published(objective, 3, 100, binary=True),
        rates=paper.RATES,
        looks=4,
        measure=marginal.on_the_way,
        finish=marginal.at_the_end,
    )


def checks(results: Results, samples: int) -> list[Check]:
    """Return what figure 2 must show; what is said of ends, only of curves that have seen all their `samples`."""
    below, panels, looks = [], 0, 0
    for binary, latents in ((True, MNIST_LATENTS), (False, FREY_LATENTS)):
        for size in latents:
            aevb, sleep = (results.get(named(binary, size, method)) for method in METHODS)
            pairs = [] if aevb is None or sleep is None else compared(aevb, sleep)
            panels, looks = panels + bool(pairs), looks + len(pairs)
            below += [f"{named(binary, size, 'aevb')} at {seen:,}" for seen, high, low in pairs if high <= low]
    text = (
        f"figure 2: from {FROM:,} samples on, AEVB above wake-sleep in every panel (test rows; {looks} looks in "
        f"{panels} of {len(MNIST_LATENTS) + len(FREY_LATENTS)} panels)"
    )
    found = [Check(text, not below if looks else None, {"looks": looks, "panels": panels, "below": below})]
    ended = {name: one.last("test") for name, one in results.items() if one.samples >= samples}
    a, b = (ended.get(named(True, size, "aevb")) for size in (20, 200))
    text = "figure 2: MNIST, the test bound of 200 latents ends no more than 3 nats below that of 20: no overfitting"
    figures = {"latents_20": a, "latents_200": b}
    found.append(Check(text, None if a is None or b is None else b >= a - 3, figures))
    reached = {}
    for size in MNIST_LATENTS:
        theirs, ours = ended.get(named(True, size, "aevb")), results.get(named(True, size, "ours"))
        if theirs is not None and ours is not None and 0 < ours.samples * FIFTH <= samples * 1.01:
            reached[str(size)] = (theirs, ours.last("test"))
    text = f"figure 2: MNIST, our defaults end above where the paper's settings end, with 1/{FIFTH} of the samples"
    above = [ours is not None and ours >= theirs for theirs, ours in reached.values()]
    found.append(Check(text, all(above) if above else None, {"published_and_ours_by_latents": reached}))
    return found


def compared(aevb: Found, sleep: Found) -> list[tuple[int, float, float]]:
    """Return (samples, test bound of AEVB, of wake-sleep) at the looks of the second that are late enough."""
    pairs = []
    for look in sleep.looks:
        value = aevb.at("test", look["samples"])
        if look["samples"] >= FROM and value is not None:
            pairs.append((look["samples"], value, look["test"]))
    return pairs


def page(items: list[Item], seeds: Seeds, work: Path) -> tuple[str, Pictures, list[Check]]:
    """Return the text, the pictures and the checks, of seed 0."""
    pictures: Pictures = {}
    results = seeds[0]
    lines: list[str] = [SETTINGS, ""]
    panels = [(True, size) for size in MNIST_LATENTS] + [(False, size) for size in FREY_LATENTS]
    if any(item.unit.name in results for item in items if item.part == "figure-2"):
        pictures["figure-2.png"] = figure_2(panels, results, named)
        lines += ["## Figure 2: the bound against samples seen", "", "![figure 2](%figure-2.png%)", "", CAPTION_2, ""]
        lines += rows_of([item for item in items if item.part == "figure-2"], results)
    if any(item.unit.name in results for item in items if item.part == "figure-3"):
        pictures["figure-3.png"] = figure_3(results)
        lines += ["", "## Figure 3: the marginal likelihood", "", "![figure 3](%figure-3.png%)", "", CAPTION_3, ""]
        lines += rows_of([item for item in items if item.part == "figure-3"], results)
        lines += estimators(results)
    by_name = {item.unit.name: item for item in items}
    for number, draw in ((4, figure_4), (5, figure_5)):
        if drawn := draw(by_name, results, work, named):
            pictures.update(drawn)
            lines += ["", f"## Figure {number}", "", f"![figure {number}](%figure-{number}.png%)", "", CAPTIONS[number]]
    missing = [item.unit.name for item in items if item.unit.name not in results]
    lines += ["", "Processor time so far: " + seconds_of(results) + "."]
    if missing:
        lines += ["", f"Not run yet: {', '.join(missing)}."]
    return "\n".join(lines), pictures, checks(results, max(item.samples for item in items))


def estimators(results: Results) -> list[str]:
    """Return the table of log p(x) by three estimators at the end of each curve of figure 3."""
    known = [found for found in results.values() if found.finish]
    if not known:
        return []
    names = {"importance": "importance weighting", "ais": "annealing", "appendix_d": "appendix D"}
    lines = [
        "",
        f"log p(x) of {marginal.FINAL_ROWS} test rows at the end, nats per row, by three estimators "
        f"({marginal.DRAWS} draws of q; 20 temperatures and 4 chains; 50 posterior draws). The first two are lower "
        "bounds on average, the third is too large on average.",
        "",
        f"| curve | {' | '.join(names.values())} |",
        "|---|---|---|---|",
    ]
    for found in known:
        cells = [f"{found.finish[key]['value']:.2f} ± {found.finish[key]['se']:.2f}" for key in names]
        lines.append(f"| {found.name} | {' | '.join(cells)} |")
    return lines


SETTINGS = """The paper's settings: one hidden layer of tanh units (MNIST 500, Frey faces 200, figure 3: 100), weights
from N(0, 0.01), read as a variance (with 0.01 as their deviation, wake-sleep of the faces stays at a decoder that
ignores z; with this one, wake-sleep of MNIST begins far below the axes: its q, which learns from dreams alone, is at
first far off at images), Adagrad with batches of 100 and one draw, its rate chosen out of 0.01, 0.02 and 0.1 by the
training bound after 300 steps, the prior N(0, I) on the weights, grey values in [0, 1] (for MNIST into a Bernoulli
decoder). 50,000 MNIST rows to train on and the 10,000 test rows; 1,600 Frey faces at random and the other 365. "Ours"
are the defaults of `vaelab train` (rectifiers, Adam at 0.003, a rate that falls to 0 with a cosine, the mean of the
weights) on the same rows, with a fifth of the samples. The paper prints no numbers, so no number of its curves stands
here."""
CAPTION_2 = """Mean bound per row on the first 5,000 training and test rows (of the faces on all), one draw each, in the
layout of the paper. A dot is the end of a curve of our defaults, whose rate falls to 0 there."""
CAPTION_3 = """log p(x) by importance weighting with 500 draws of q(z | x) in 3 dimensions, on 500 training and 500 test
rows (the paper: 1,000). Monte Carlo EM keeps a chain for each row, and so is there for 1,000 rows alone, as in the
paper; the q that judges it follows its chains."""
CAPTIONS = {
    4: "Decoder means on a grid of the unit square, through the inverse of the Gaussian distribution function.",
    5: "Decoder means at draws from the prior.",
}

register(
    Reproduction("kingma-welling-2013", "Kingma & Welling 2013, Auto-Encoding Variational Bayes", 10 / 3, plan, page)
)

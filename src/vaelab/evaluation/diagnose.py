"""What ails a model: each rule reads the symptoms and speaks only where a figure leaves the range that health allows.

A threshold has a reason of its own, stated beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from ..training import History, Rows
from .symptoms import TAIL, Symptoms, measure

CARRIES = 0.01  # nats; a dimension below it could be left out and no figure of the report would show it
MANY = 0.5  # of learned gain, of draws, of dimensions: the part that is wrong is the larger one
# an exponential approach that has half of its way still before it makes this share of its rise in the last quarter
HALFWAY = 2**0.25 - 1
# five sigma within half a step: the density holds one written value and nothing else, and every halving of sigma
# gains log 2 nats that say nothing of the data
BELOW_STEP = 0.1
BOUND = 9.0  # of the ±10 that log sigma can reach: it would go on if it could
NAT = 1.0  # what a better prior gives back; below it nobody would change the prior
MISSED = 0.9  # nearly every draw: then also where the first two moments agree
FAST = 1e-3  # of a run that came to no rest, a rate below it is to blame; the default is 0.003
USUAL = 0.03  # above it Adam's steps are larger than the weights they move
WEIGHT = 0.05  # the size of initial weights of a layer of 400 inputs: one that moved by less is where chance had put it
PER_ENTRY = 0.05  # nats; the noise of late steps costs a collapsed model a hundredth of a nat per entry


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: `figure` has this `value`, where health has the `reference`.

    `harmless` findings are notes: nothing is wrong, but something could be simpler.
    """

    name: str
    figure: str
    value: float
    reference: float
    words: str
    remedy: str
    harmless: bool = False

    def json(self) -> dict[str, Any]:
        """Return the entry of `vaelab doctor --json`; JSON has no infinity, so such a value is null."""
        return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(self).items()}

    def __str__(self) -> str:
        """Return one line: name, words, remedy."""
        return f"{self.name}: {self.words}. {self.remedy}"


@dataclass(frozen=True)
class Diagnosis:
    """The findings, and all figures that were looked at.

    >>> run.doctor(quick=True).symptoms.latents
    2
    """

    findings: tuple[Finding, ...]
    symptoms: Symptoms
    split: str

    @property
    def serious(self) -> tuple[Finding, ...]:
        """The findings that are more than notes."""
        return tuple(finding for finding in self.findings if not finding.harmless)

    def json(self) -> dict[str, Any]:
        """Return the document that `vaelab doctor --json` prints."""
        findings = [finding.json() for finding in self.findings]
        return {"split": self.split, "findings": findings, "figures": self.symptoms.json()}


Rule = Callable[[Symptoms, Mapping[str, Any]], Finding | None]
RULES: list[Rule] = []


def diagnose(
    model: nn.Module,
    train: Rows | None,
    held: Rows | None,
    history: History | None = None,
    setup: Mapping[str, Any] | None = None,
    *,
    split: str = "given",
    quick: bool = False,
) -> Diagnosis:
    """Return what is wrong with a model, as far as its rows and the course of its training show.

    `train` are the rows that it was trained on, `held` others, from `split`; `setup` holds lr, decay, beta and warmup
    (in steps) of the training, as far as they are known. A figure that cannot be had silences the rules that read it.
    `quick` looks only at what costs less than a second on small data.
    """
    known = dict(setup or {})
    symptoms = measure(model, train, held, history, known, quick=quick)
    found = [finding for rule in RULES if (finding := rule(symptoms, known)) is not None]
    return Diagnosis(tuple(found), symptoms, split)


def rule(check: Rule) -> Rule:
    """Register a rule; findings come in the order of this file."""
    RULES.append(check)
    return check


def collapsed(s: Symptoms) -> bool:
    """Return whether no dimension carries anything."""
    return s.kl is not None and (s.active_units == 0 or s.kl < CARRIES * s.latents)


@rule
def collapse(s: Symptoms, setup: Mapping[str, Any]) -> Finding | None:
    """q(z | x) is the prior for every x: z says nothing."""
    if not collapsed(s):
        return None
    beta, lr = setup.get("beta", 1.0), setup.get("lr")
    remedies = [f"--beta 1 (it is {beta:g})"] if beta > 1 else ["--warmup 20", "--free-bits 0.1"]
    if lr is not None and not FAST / 10 < lr <= USUAL:
        remedies.insert(0, f"--lr 0.003 (it is {lr:g})")
    told = "" if s.information is None else f", mutual information {s.information:.2g} nats"
    remedies.append("a --likelihood whose scale is learned and small beside the data")
    return Finding(
        "collapse",
        "KL(q(z | x) || p(z)), nats per row",
        s.kl or 0.0,
        CARRIES * s.latents,
        f"posterior collapse: none of {s.latents} latent dimensions carries anything ({s.active_units} active "
        f"units{told}), so every row has the same reconstruction",
        f"Try {', '.join(remedies)}",
    )


@rule
def unused_latents(s: Symptoms, setup: Mapping[str, Any]) -> Finding | None:
    """Some dimensions carry all there is; a few spare ones of many are usual, and no news."""
    if collapsed(s) or s.unused is None or s.unused <= MANY * s.latents:
        return None
    beta = setup.get("beta", 1.0)
    other = f"--beta 1 (it is {beta:g})" if beta > 1 else "--warmup 20 or --free-bits 0.1"
    return Finding(
        "unused-latents",
        "latent dimensions below 0.01 nats",
        s.unused,
        MANY * s.latents,
        f"{s.unused} of {s.latents} latent dimensions carry less than 0.01 nats; the others do all the work",
        f"If reconstructions are good, --latent-dim {s.latents - s.unused} would do; else try {other}",
        harmless=True,
    )


@rule
def decoder_ignores_z(s: Symptoms, setup: Mapping[str, Any]) -> Finding | None:
    """Codes differ from row to row, but p(x | z) does not: they cost nats and buy nothing."""
    if collapsed(s) or s.own_code is None or s.own_code >= CARRIES * s.latents:
        return None
    spread = "" if s.spread is None else f"; reconstructions spread {100 * s.spread:.2g} % of the data's variance"
    return Finding(
        "decoder-ignores-z",
        "log p(x | own z) - log p(x | another row's z), nats per row",
        s.own_code,
        CARRIES * s.latents,
        f"a row's own code explains it by {s.own_code:.2g} nats better than another row's{spread}",
        "Try --warmup 20 in place of --free-bits, a wider --hidden, a higher --lr or more --epochs",
    )


@rule
def over_fit(s: Symptoms, setup: Mapping[str, Any]) -> Finding | None:
    """Most of what was learned holds for the training rows alone, at the latest when training ends."""
    if s.train_gain is None or s.held_gain is None or s.gain_error is None or s.train_gain <= 0:
        return None
    # with beta < 1 the bound at beta = 1 falls because nobody asked for it
    after = s.fallen if s.fallen is not None and setup.get("beta", 1.0) >= 1 else 0.0
    lost = s.train_gain - s.held_gain + after
    # five standard errors, as in every test of this project that compares two estimates
    if lost <= MANY * s.train_gain or lost <= 5 * s.gain_error:
        return None
    words = (
        f"the model gains {s.train_gain:.3g} nats over a decoder that ignores z on training rows and "
        f"{s.held_gain:.3g} ± {s.gain_error:.2g} on others"
    )
    remedy = "Try --validation 0.1, so that the best weights are kept, "
    if after > 0:
        words += f"; after epoch {s.best_epoch}, whose weights were kept, the validation bound lost {after:.3g} more"
        remedy = f"Try --epochs {s.best_epoch}, "
    return Finding(
        "over-fit",
        "share of the gain over a decoder that ignores z that was lost on rows not trained on, when training ended",
        lost / s.train_gain,
        MANY,
        words,
        f"{remedy}a smaller --hidden or --latent-dim, or more rows",
    )


@rule
def prior_hole(s: Symptoms, setup: Mapping[str, Any]) -> Finding | None:
    """New rows are decoded from places that no row's code comes from, or all from a corner of the codes.

    Codes that reach beyond the prior cost variety; draws that miss the codes cost everything: they are no data at all.
    """
    if collapsed(s) or s.misses is None or s.strays is None or s.mismatch is None:
        return None
    if s.misses <= (MANY if s.mismatch > NAT else MISSED) and s.strays <= MISSED:
        return None
    missed = s.misses >= s.strays
    what = "draws of p(z) lie where hardly a code does" if missed else "codes lie where p(z) hardly ever draws"
    beta = setup.get("beta", 1.0)
    remedy = f"--beta 1 (it is {beta:g})" if beta < 1 else "fewer latents (--latent-dim), --beta 2"
    worst = s.misses if missed else s.strays
    return Finding(
        "prior-hole",
        "share of prior draws that miss the codes" if missed else "share of codes that the prior misses",
        worst,
        TAIL,
        f"{100 * worst:.0f} % of {what} (5 % if q(z) were p(z)), so new rows are not like the data; "
        f"by its first two moments q(z) is {s.mismatch:.2g} nats from p(z)",
        f"Try {remedy}, or a learned --prior",
    )


@rule
def variance_at_floor(s: Symptoms, setup: Mapping[str, Any]) -> Finding | None:
    """A density has run into the step of the data, or into its bound."""
    if s.scale_over_step is not None and s.scale_over_step < BELOW_STEP:
        return Finding(
            "variance-at-floor",
            "sigma of p(x | z) over the step between the values",
            s.scale_over_step,
            BELOW_STEP,
            f"{s.scale_entry}: sigma is {s.scale_over_step:.2g} of the smallest step between its values, so the bound "
            "measures how the data were rounded and can grow without end",
            "Use a --likelihood of whole numbers or categories for it (discretized-logistic, categorical), leave it "
            "out (--drop), or fix the scale: --likelihood gaussian:scale=0.1",
        )
    for value, what in ((s.scale_extreme, "p(x | z)"), (s.code_extreme, "q(z | x)")):
        if value is not None and value > BOUND:
            return Finding(
                "variance-at-floor",
                f"largest |log sigma| of {what}",
                value,
                BOUND,
                f"sigma of {what} stands at its bound, exp(±10) in the model's units: it would go on if it could",
                "Look for columns that never vary or copy another (--drop), or fix the scale: "
                "--likelihood gaussian:scale=0.1",
            )
    return None


@rule
def learning_rate(s: Symptoms, setup: Mapping[str, Any]) -> Finding | None:
    """Steps so long that they destroy, or so short that they lead nowhere."""
    lr = setup.get("lr")
    now = "" if lr is None else f" (it is {lr:g})"
    lower = f"Try a lower --lr{now} or --clip 1000"
    if s.skipped or s.no_best:
        first = f", first {s.first_bad}" if s.first_bad else ""
        steps = f"{s.skipped} steps were not finite or diverging, and undone{first}"
        none = "no validation bound was finite: these are the last weights"
        words = "; ".join([steps] * bool(s.skipped) + [none] * s.no_best)
        return Finding("learning-rate", "steps undone", s.skipped, 0, words, lower)
    if s.setback is not None and s.setback > 1:
        return Finding(
            "learning-rate",
            "largest rise of the training loss, as a share of its whole fall",
            s.setback,
            1.0,
            f"the training loss rose on the way by {s.setback:.3g} times what it ever fell: steps are too long",
            lower,
        )
    slow = _too_slow(s, setup)
    if slow is not None and lr is not None and lr < FAST:
        figure, value, reference, words = slow
        return Finding("learning-rate", figure, value, reference, words, f"Try a higher --lr{now}, 0.003 is usual")
    return None if slow else _failed(s, setup)


@rule
def too_short(s: Symptoms, setup: Mapping[str, Any]) -> Finding | None:
    """Training ended as far from rest as it had come; where the rate is to blame, that is what is said."""
    slow = _too_slow(s, setup)
    if slow is None or collapsed(s) or learning_rate(s, setup) is not None:
        return None
    figure, value, reference, words = slow
    return Finding("too-short", figure, value, reference, words, "Train longer: more --epochs or --minutes")


def _too_slow(s: Symptoms, setup: Mapping[str, Any]) -> tuple[str, float, float, str] | None:
    """Return figure, value, reference and words where the weights were still on their way when training ended."""
    if setup.get("started"):  # from the weights of another run, it had less far to go
        return None
    if s.travelled is not None and s.travelled < WEIGHT:
        words = (
            f"the learning rates of all steps sum to {s.travelled:.2g}, and Adam moves no weight by much more: "
            "they are where chance had put them"
        )
        return "sum of the learning rates of all steps", s.travelled, WEIGHT, words
    if s.rising is not None and s.rising > HALFWAY:
        words = (
            f"{100 * s.rising:.0f} % of the rise came in the last quarter of the run (a straight line: 25 %): "
            "at least as much is still to come"
        )
        return "share of the whole rise that came in the last quarter", s.rising, HALFWAY, words
    return None


def _failed(s: Symptoms, setup: Mapping[str, Any]) -> Finding | None:
    """What is maximised has an optimum above the best decoder that ignores z (see `constant_decoder`).

    With beta < 1 the weights that are kept are those of another figure, the bound at beta = 1: nothing follows.
    """
    if s.train_gain is None or s.entries is None or setup.get("beta", 1.0) < 1:
        return None
    limit = -max(NAT, PER_ENTRY * s.entries)
    if s.train_gain >= limit:
        return None
    lr = setup.get("lr", 0.0)
    usual = FAST <= lr <= USUAL
    return Finding(
        "learning-rate",
        "gain on training rows over a decoder that ignores z, nats per row",
        s.train_gain,
        limit,
        f"on its own training rows the model is {-s.train_gain:.3g} nats worse than a decoder that ignores z",
        "Try more --epochs, or half the --lr" if usual else f"Try --lr 0.003 (it is {lr:g}), or --clip 1000",
    )

"""`vaelab evaluate`: how good is the model."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from ..evaluation import Evaluation, Gaps


def evaluate(
    run: str,
    source: str | None = None,
    /,
    *,
    samples: int = 5000,
    units: str = "user",
    seed: int = 0,
    estimator: str = "iwae",
    rows: int | None = None,
    temperatures: int = 200,
    chains: int = 8,
    start: str = "prior",
    gaps: Annotated[bool, Parameter(negative=())] = False,
    as_json: Annotated[bool, Parameter("--json", negative=())] = False,
    quiet: Annotated[bool, Parameter("--quiet", alias="-q", negative=())] = False,
) -> None:
    """Bound, evidence and their split, in nats per row with standard errors, and what the latents carry.

    Parameters
    ----------
    run
        A run folder or model file.
    source
        Rows to judge (default: the test part, else the validation rows, else the training rows).
    samples
        Draws of z per row for the evidence.
    units
        user: nats of your own units; standardised: of the model's.
    seed
        Seed of the draws.
    estimator
        iwae: importance weighting, from below. ais: annealed importance sampling, nearer from below, slower.
        bdmc: so from below and above, on rows simulated from the model: how far off such bounds are.
    rows
        At most so many rows, picked at random (default: all; 100 where they are annealed).
    temperatures
        Steps of annealing from p(z) to p(z | x): the bounds close in as they are more.
    chains
        Chains of annealing for each row.
    start
        Annealing begins at the prior, or at the posterior q(z | x), which is nearer where q is good.
    gaps
        Also split log p(x) - ELBO into what the family of q costs and what the encoder costs (100 rows, or --rows).
    as_json
        Print one JSON document to stdout.
    quiet
        No progress.
    """
    from ..evaluation import inference_gaps
    from ..opening import load
    from ..training import Progress
    from .rows import read_rows

    opened = load(run)
    data, split = read_rows(opened, source)
    how = {"estimator": estimator, "most": rows, "temperatures": temperatures, "chains": chains, "start": start}
    with Progress("off" if quiet else "auto") as progress:
        judged = opened.evaluate(data, samples=samples, units=units, seed=seed, tick=progress.tick, split=split, **how)
    split_up = None
    if gaps:
        split_up = inference_gaps(
            opened.model,
            opened.rows(data)[0],
            most=rows or 100,
            temperatures=temperatures,
            chains=chains,
            seed=seed,
        )
    trained = opened.known_rows(data) if source is not None else 0
    if trained:
        print(f"warning: {trained:,} of {len(data):,} rows are equal to training rows.", file=sys.stderr)
    document = judged.json() if split_up is None else {**judged.json(), "gaps": split_up.json()}
    print(json.dumps(document) if as_json else table(judged) + ("" if split_up is None else gap_lines(split_up)))
    if judged.reason and not as_json:
        print(f"note: {judged.reason}.", file=sys.stderr)


def table(judged: Evaluation) -> str:
    """Return the figures as lines of text."""
    from ..evaluation.evidence import DRAWS

    units = "nats per row" + (", standardised units" if judged.units == "standardised" else "")
    lines = [f"{judged.rows:,} rows ({judged.split}), {units}", f"  reconstruction      {judged.reconstruction}"]
    if judged.kl is not None and judged.elbo is not None and judged.log_evidence is not None:
        lines += [
            f"  KL ({judged.kl_form})".ljust(22) + str(judged.kl),
            f"  ELBO                {judged.elbo}   = reconstruction - KL",
            *evidence(judged),
        ]
    if judged.bits_per_dimension is not None:
        lines.append(f"  bits per dimension  {judged.bits_per_dimension:.4f}   of the ELBO")
    if judged.kl_per_dimension is not None and len(judged.kl_per_dimension) > 1:  # one: q does not factorise
        lines.append("  KL per dimension    " + " ".join(f"{v:.2f}" for v in judged.kl_per_dimension))
    lines.append(f"  active units        {judged.active_units}")
    if judged.accuracy is not None:
        lines.append(f"  accuracy            {judged.accuracy}   share of labels that are the likeliest class")
    for layer in judged.layers or ():
        carried = "" if layer.kl is None else f"KL {layer.kl:.3f}, "
        lines.append(f"  layer {layer.name}".ljust(22) + f"{carried}{layer.active_units} of {layer.size} active")
    if judged.mutual_information is not None:
        lines.append(f"  mutual information  {judged.mutual_information:.3f}")
    if judged.columns is not None:
        wide = max(len(name) for name in judged.columns)
        lines.append(f"  each column         log p of it given the row's z, {DRAWS} draws, where it was observed")
        lines += [f"    {name:<{wide}}  {nats}" for name, nats in judged.columns.items()]
    return "\n".join(lines)


def evidence(judged: Evaluation) -> list[str]:
    """Return the lines about log p(x)."""
    lower = f"  log evidence        {judged.log_evidence}   "
    annealing = judged.annealing
    if annealing is None:
        return [f"{lower}importance-weighted bound, {judged.samples:,} draws"]
    lines = [f"{lower}annealed, {annealing.temperatures:,} temperatures, {annealing.chains} chains: a lower bound"]
    if annealing.upper is not None:
        lines += [
            f"    upper bound       {annealing.upper}   of the same rows, simulated from the model",
            f"    between them      {annealing.gap}",
        ]
    return lines


def gap_lines(found: Gaps) -> str:
    """Return the lines about the gaps."""
    return (
        f"\n  gap to log p(x)     {found.inference}   of {found.rows:,} rows, log p(x) by {found.kind}"
        f"\n    approximation     {found.approximation}   the best q of the family"
        f"\n    amortisation      {found.amortisation}   the encoder beside that"
    )

"""Trainings that end without an error, and still went wrong: what `train` and `doctor` then say."""

from __future__ import annotations

from torch import nn

import vaelab
from faults.catalogue import Place, command, library

SHORT = ("--hidden", "16", "--latent-dim", "4", "-q", "--out", "run")


@command("C43", 0, "warning: collapse: ", "none of 4 latent dimensions", "--beta 1")
def collapse_is_said_when_training_ends(place: Place) -> list[str]:
    return ["train", "digits", "--beta", "50", "--epochs", "15", *SHORT]


@library("C44")
def reconstructions_that_are_all_alike(place: Place) -> None:
    """Codes differ, the decoder does not look: its weights on z are 0."""
    run = vaelab.train("digits", epochs=4, hidden="32", latent_dim=4, progress="off")
    assert "decoder-ignores-z" not in [finding.name for finding in run.doctor(quick=True).findings]
    first = next(layer for layer in run.model.likelihood.network.modules() if isinstance(layer, nn.Linear))
    first.weight.data.zero_()
    found = {finding.name: finding for finding in run.doctor(quick=True).findings}
    assert abs(found["decoder-ignores-z"].value) < 1e-6
    assert "0 % of the data's variance" in found["decoder-ignores-z"].words


@command("L7", 0, "warning: variance-at-floor: ", "column", "categorical")
def scale_below_the_step_of_the_data(place: Place) -> list[str]:
    table = place.table(
        "yes_no.csv", "answer,copy,size", lambda i: f"{i % 2}.0,{2.0 * (i % 2)},{(37 * i) % 101}.25", 200
    )
    slow = ("--validation", "0", "--epochs", "600", "--lr", "0.01")
    return ["train", table, "--likelihood", "gaussian:scale=entry", *slow, *SHORT]

"""The shapes in the signatures are checked while the tests run."""

from __future__ import annotations

import pytest
import torch
from jaxtyping import TypeCheckError

from vaelab import ELBO, Noise, objectives
from vaelab.evaluation import active_units
from vaelab.recipes import vae


def test_a_wrong_shape_is_caught_where_it_enters() -> None:
    with pytest.raises(TypeCheckError, match="active_units"):
        active_units(torch.zeros(3))


def test_a_bound_of_the_wrong_shape_is_caught_where_it_leaves() -> None:
    model, _ = vae((4,), 2, hidden=(5,))
    terms = model.terms(torch.zeros(7, 4), samples=3, noise=Noise.seeded(0))
    assert objectives.elbo(terms).shape == (7,)
    terms.log_px = terms.kl_total = terms.log_px[..., None]
    with pytest.raises(TypeCheckError, match="elbo"):
        ELBO().bound(terms, 0)

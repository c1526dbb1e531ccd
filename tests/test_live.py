"""Live experiments say what is exactly true, answer for every card, and do so in time."""

from __future__ import annotations

import json
import math
import time

import pytest

from vaelab.errors import UsageError
from vaelab.experiments import EXPERIMENTS, lab
from vaelab.experiments.live import LIVE

MOST = 1.5  # seconds of processor time, of which a busy machine takes more; two by the clock are promised


def test_every_card_has_one_and_it_answers_in_time() -> None:
    assert sorted(LIVE) == sorted(EXPERIMENTS)
    lab.warm_up()
    LIVE[7]()  # the first of a process reads the digits
    for card, live in LIVE.items():
        assert 1 <= len(live.controls) <= 2
        start = time.process_time()
        answer = live()
        assert time.process_time() - start < MOST, card
        document = json.loads(json.dumps(answer.json(), allow_nan=False))
        assert document["charts"]
        assert document["text"]


def test_equal_values_give_equal_answers_and_others_are_refused() -> None:
    assert LIVE[5](mu=2.0).json() == LIVE[5](mu=2.0).json() != LIVE[5](mu=1.0).json()
    for card, wrong in ((5, {"mu": 0.3}), (12, {"family": "<b>"})):
        with pytest.raises(UsageError, match="one of"):
            LIVE[card](**wrong)


def test_the_encoder_alone_moves_the_gap_and_nothing_else() -> None:
    figures = LIVE[1](side="encoder").figures
    assert figures["gain of log p(x)"] == pytest.approx(0, abs=1e-9)
    assert figures["gain of the ELBO"] == pytest.approx(figures["loss of the gap"], abs=1e-6)
    assert figures["loss of the gap"] > 0


@pytest.mark.parametrize("rho", [0.0, 0.8, 0.97])
def test_the_least_kl_of_a_diagonal_gaussian(rho: float) -> None:
    least = -0.5 * math.log(1 - rho**2)
    for family, truth in (("diagonal", least), ("full", 0.0)):
        reached = LIVE[12](rho=rho, family=family).charts[0]["series"][0]["y"][-1]
        assert reached == pytest.approx(truth, abs=1e-2)


@pytest.mark.parametrize("beta", [0.5, 3.0, 20.0])
def test_active_units_are_the_eigenvalues_above_the_threshold(beta: float) -> None:
    figures = LIVE[16](beta=beta).figures
    assert figures["active units"] == figures["predicted"]


def test_factors_are_counted() -> None:
    assert [LIVE[10](factors=d).figures["active units"] for d in (1.0, 3.0, 8.0)] == [1, 3, 8]


def test_a_model_of_the_right_size_loses_nothing_with_many_rows() -> None:
    lost = {n: LIVE[18](rows=5000.0, latents=n).figures["lost, nats per row"] for n in (1.0, 2.0, 3.0)}
    assert lost[1.0] > 10 * lost[2.0]
    assert 0 <= lost[2.0] < 0.01
    assert 0 <= lost[3.0] < 0.01


def test_draws_of_the_loss_and_the_closed_form() -> None:
    assert LIVE[14](mu=1.0, sigma=0.5).figures["closed form"] == pytest.approx(0.5 * (1 + 0.25 + 2 * math.log(2) - 1))
    # 150 gradients each: the variance of a variance of so many is about sqrt(2 / 149), 12 %, at each end
    times = [LIVE[2](draws=draws).figures["times L"] for draws in (1.0, 64.0)]
    assert times[1] == pytest.approx(times[0], rel=5 * 0.12 * math.sqrt(2))


def test_more_beta_less_rate() -> None:
    found = [LIVE[7](beta=beta).figures for beta in (0.05, 1.0, 20.0)]
    assert found[0]["rate"] > found[1]["rate"] > found[2]["rate"]
    assert found[2]["rate"] < 0.1
    assert found[2]["squared error"] > found[1]["squared error"]

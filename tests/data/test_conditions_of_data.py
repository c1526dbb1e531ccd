"""What a model is given beside x: columns of a table and labels, in training and in new data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import vaelab
from oracles import close
from vaelab.data import open_source
from vaelab.data.conditions import read_given
from vaelab.errors import DataError, UsageError

SMALL = {"hidden": "8", "latent_dim": 2, "epochs": 1, "progress": "off"}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["height,kind,age,weight"]
    lines += [f"{rng.normal():.3f},{'abc'[i % 3]},{20 + i % 7},{rng.normal():.3f}" for i in range(60)]
    (tmp_path / "people.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "people.csv"


def test_words_are_classes_and_numbers_are_standardised(people: Path) -> None:
    data = open_source(people, condition="kind,age")
    assert data.schema.columns == ("height", "weight")
    ages = 20 + np.arange(60) % 7
    kinds = np.arange(60) % 3
    assert data.condition is not None
    close(data.condition, np.column_stack([np.eye(3)[kinds], (ages - ages.mean()) / ages.std()]))
    assert data.take([4, 9]).condition.tolist() == data.condition[[4, 9]].tolist()  # type: ignore[union-attr]


def test_labels_are_classes_in_the_order_of_numbers(people: Path) -> None:
    data = open_source(people, labels="age", condition="label", drop="kind")
    assert data.schema.conditions == (("label", tuple(str(n) for n in range(20, 27))),)


def test_new_data_are_given_by_the_same_columns(people: Path, tmp_path: Path) -> None:
    run = vaelab.train(str(people), condition="kind,age", recipe="cvae", **SMALL)
    new = tmp_path / "new.csv"
    new.write_text("weight,age,height,kind\n0.5,23,1.0,c\n0.1,26,2.0,a\n")
    again = vaelab.load(run.save(tmp_path / "m.safetensors"))
    data, _ = again.data(str(new))
    age = read_given(again.schema.conditions, "kind=a,age=23")[3]
    assert data.condition is not None
    assert data.condition[0].tolist() == [0, 0, 1, age]
    assert again.score(str(new), samples=3).shape == (2,)
    x = again.generate(5, given={"kind": "b", "age": 21})
    assert torch.equal(x, again.generate(5, given="kind=b,age=21"))
    assert not torch.equal(x, again.generate(5, given="kind=b,age=26"))


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("kind", "age is missing. The model is given kind .a, b, c., age"),
        ("kind=a,age=young", "age must be a finite number"),
        ("kind=d,age=3", 'kind is "d"; the model knows a, b, c'),
        ("colour=red", 'no condition "colour"'),
        (None, "this model must be given kind"),
    ],
)
def test_what_is_given_is_checked(people: Path, asked: str | None, message: str) -> None:
    schema = open_source(people, condition="kind,age").schema
    run = vaelab.Run(torch.nn.Identity(), schema)
    with pytest.raises(UsageError, match=message):
        run.given(asked)


def test_data_without_their_condition_are_refused(people: Path, tmp_path: Path) -> None:
    schema = open_source(people, condition="kind").schema
    bad = tmp_path / "bad.csv"
    bad.write_text("height,age,weight,kind\n1,2,3,a\n1,2,3,d\n")
    with pytest.raises(DataError, match='kind in row 2 is "d"; the model knows a, b, c'):
        open_source(bad, schema=schema)
    bad.write_text("height,age,weight\n1,2,3\n")
    with pytest.raises(DataError, match='has no column "kind", which this model must be given'):
        open_source(bad, schema=schema)
    with pytest.raises(UsageError, match='--condition sort: no column "sort"'):
        open_source(people, condition="sort")
    with pytest.raises(DataError, match="has no labels to be the condition"):
        open_source(people, condition="label", drop="kind")
    with pytest.raises(UsageError, match="only label and the columns of a table can be conditions"):
        open_source("digits", condition="kind")


def test_every_recipe_can_be_given_a_label(tmp_path: Path) -> None:
    for recipe, x in (("cvae", {}), ("hierarchical", {}), ("ladder", {}), ("very-deep", {"binarize": "threshold"})):
        run = vaelab.train("digits", condition="label", recipe=recipe, **{**SMALL, **x})  # type: ignore[arg-type]
        digits = run.data()[0].take(range(7))
        assert run.score(digits, samples=2).shape == (7,)
        codes = run.encode(digits).mean
        assert run.decode(codes, given="label=3").shape == (7, 8, 8)
        again = vaelab.load(run.save(tmp_path / "m.safetensors"))
        assert torch.equal(again.generate(2, given="label=9"), run.generate(2, given={"label": 9}))
    with pytest.raises(UsageError, match="recipe cvae needs a condition"):
        vaelab.plan_run("digits", recipe="cvae")

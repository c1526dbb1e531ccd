"""The report of a run: markup that is whole and safe, numbers that are the run's own, pictures of what they say."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

import vaelab
from vaelab.cli import run as command
from vaelab.data import Dataset, open_source
from vaelab.models.vae import centre
from vaelab.report import measure as measuring
from vaelab.report import page
from vaelab.report.measure import measure
from vaelab.run import Run

NASTY = ("<script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "$\\frac{", "日本語", "_x & y", "</style>")
QUICK = {"hidden": "16", "epochs": 2, "progress": "off"}


class Page(HTMLParser):
    """Parses strictly: what is opened is closed, in order; keeps elements, and the text outside of <style>."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.cells: list[list[str]] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open
        self.text = " ".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> repeats an attribute"
        self.elements.append((tag, dict(attrs)))
        if tag == "tr":
            self.cells.append([])
        if tag in ("td", "th"):
            self.cells[-1].append("")
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> out of order"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)
            if {"td", "th"} & set(self.open):
                self.cells[-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def figures(self) -> dict[str, str]:
        return {row[0]: row[1] for row in self.cells if len(row) == 3}

    def pictures(self) -> Iterator[tuple[str, bytes, str]]:
        for image in self.all("img"):
            kind, _, content = (image["src"] or "").removeprefix("data:image/").partition(";base64,")
            yield kind, base64.b64decode(content, validate=True), image["alt"] or ""


@pytest.fixture(scope="module")
def digits() -> Run:
    return vaelab.train("digits", latent_dim=2, seed=3, **QUICK)


@pytest.fixture(scope="module")
def nasty() -> Run:
    """Columns, labels and ids that would be markup, formulas or missing letters if they were not kept as text."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(120, 2))
    x = z @ rng.normal(size=(2, 6)) + 0.3 * rng.normal(size=(120, 6))
    x[rng.random((120, 6)) < 0.05] = np.nan
    data = open_source(pl.DataFrame(dict(zip(NASTY, x.T))).fill_nan(None))
    labels = np.array([NASTY[i % 3] for i in range(120)])
    ids = np.array([f"<i>{i}</i>" for i in range(120)])
    return vaelab.train(replace(data, labels=labels, ids=ids), latent_dim=2, **QUICK)


@pytest.fixture(scope="module")
def autoencoder() -> Run:
    return vaelab.train("digits", latent_dim=3, recipe="autoencoder", validation=60, **QUICK)


@pytest.fixture(scope="module")
def pages(digits: Run, nasty: Run, autoencoder: Run) -> dict[str, str]:
    return {"digits": page(digits), "nasty": page(nasty), "autoencoder": page(autoencoder)}


@pytest.mark.parametrize("name", ["digits", "nasty", "autoencoder"])
def test_the_page_is_whole_safe_and_accessible(name: str, pages: dict[str, str]) -> None:
    text = pages[name]
    found = Page(text)
    tags = {tag for tag, _ in found.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "link", "base", "svg", "i", "b"}, tags
    assert not [a for _, given in found.elements for a in given if a.startswith("on")]
    assert "http:" not in text
    assert "https:" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert all((given["src"] or "").startswith("data:image/") for _, given in found.elements if "src" in given)
    policy = next(m["content"] for m in found.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    ids = [given["id"] for _, given in found.elements if "id" in given]
    assert len(ids) == len(set(ids)) > 5
    assert {given["href"] for given in found.all("a")} == {f"#{i}" for i in ids}
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(below - above <= 1 for above, below in pairwise(levels)), levels
    assert all(given.get("alt") for given in found.all("img"))
    assert all(given.get("scope") for given in found.all("th"))
    assert len(found.all("caption")) == len(found.all("table"))
    assert found.all("html")[0]["lang"] == "en"


def test_names_of_columns_labels_and_ids_are_shown_as_text(pages: dict[str, str]) -> None:
    found = Page(pages["nasty"])
    for name in NASTY:
        assert name in found.text, name
    assert re.search(r"<i>\d+</i>", found.text), "the ids of the rows"
    drawn = [ET.fromstring(content) for kind, content, _ in found.pictures() if kind == "svg+xml"]
    assert len(drawn) >= 6
    words = {text.strip() for svg in drawn for text in svg.itertext()}
    for name in (NASTY[2], NASTY[3], NASTY[4]):
        assert name in words, f"{name} is no label of a chart"
    for svg in drawn:
        assert {element.tag.partition("}")[2] for element in svg.iter()}.isdisjoint({"script", "foreignObject", "a"})
        links = [v for e in svg.iter() for k, v in e.attrib.items() if k.endswith("href")]
        assert all(link.startswith(("#", "data:image/png")) for link in links)


def test_the_same_run_gives_the_same_bytes(digits: Run, pages: dict[str, str], tmp_path: Path, untouched) -> None:
    first = pages["digits"]
    settings = dict(matplotlib.rcParams)
    with untouched(), matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "svg.hashsalt": "other"}):
        digits.save(tmp_path / "model.safetensors")
        again = vaelab.load(tmp_path / "model.safetensors")
        again.splits, again.history = digits.splits, digits.history
        assert page(again) == first
    assert dict(matplotlib.rcParams) == settings


def test_its_figures_are_those_of_evaluate(digits: Run, pages: dict[str, str]) -> None:
    shown, judged = Page(pages["digits"]).figures(), digits.evaluate(samples=300)
    assert shown["ELBO"] == str(judged.elbo)
    assert shown["log evidence"] == str(judged.log_evidence)
    assert shown["reconstruction"] == str(judged.reconstruction)
    assert shown["KL"] == str(judged.kl)
    assert shown["bits per dimension"] == f"{judged.bits_per_dimension:.4f}"
    assert shown["active units"] == f"{judged.active_units} of 2"
    assert shown["mutual information"] == f"{judged.mutual_information:.3f}"


def test_of_many_rows_it_says_how_many_were_drawn(digits: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "ROWS", 40)
    seen = measure(digits).seen
    assert seen is not None
    assert len(set(seen.positions.tolist())) == 40
    part = digits.splits["validation"]
    assert torch.equal(seen.inputs, part.x[torch.from_numpy(seen.positions)].double())
    text = Page(page(digits)).text
    assert "40 of 180 the validation rows, drawn at random" in text
    worst = part.names[seen.positions[seen.order[0]]]  # its number in the source
    assert f"Least likely , row and nats: {worst} ({seen.scores.min():,.2f})" in text


def test_the_corner_of_the_plane_is_the_decode_of_its_z(digits: Run, pages: dict[str, str]) -> None:
    shown = next(c for kind, c, alt in Page(pages["digits"]).pictures() if alt.startswith("Grid of 15 by 15"))
    pixels = np.asarray(Image.open(io.BytesIO(shown))).astype(float)
    edge = 1.8339146358159142  # of a standard normal at 29/30
    for z, tile in (((-edge, edge), (0, 0)), ((edge, -edge), (14, 14))):
        with torch.no_grad():
            truth = centre(digits.model.decode(torch.tensor([z])))[0, 0].clamp(0, 1) * 255  # type: ignore[operator]
        y, x = (63 * place for place in tile)  # eight pixels and a line, each seven wide
        np.testing.assert_allclose(pixels[y : y + 56 : 7, x : x + 56 : 7], truth.numpy(), atol=0.51)


def test_a_model_without_a_bound_says_why(pages: dict[str, str]) -> None:
    found = Page(pages["autoencoder"])
    assert "q(z | x) is a point mass" in found.text
    assert {"ELBO", "KL", "log evidence"}.isdisjoint(found.figures())
    assert "nan" not in found.text.lower().split()
    assert "The prior took no part in the training" in found.text


def test_a_notebook_gets_a_part_that_keeps_to_itself(digits: Run, pages: dict[str, str]) -> None:
    part = digits._repr_html_()
    found = Page(part)
    assert not {"html", "head", "body", "main"} & {tag for tag, _ in found.elements}
    assert not [given for _, given in found.elements if "id" in given]
    assert found.figures() == Page(pages["digits"]).figures()
    style = re.sub(r"@media[^{]*\{", "", re.search("<style>(.*?)</style>", part, re.DOTALL).group(1))  # type: ignore[union-attr]
    for selector in re.findall(r"([^{}]+)\{[^}]*\}", style):
        assert all(s.strip().startswith(".vaelab") for s in selector.split(",")), selector


def test_one_latent_a_condition_and_rows_of_numbers(untouched) -> None:
    rng = np.random.default_rng(1)
    rows = open_source(rng.normal(size=(80, 2, 3)))
    alone = Page(page(vaelab.train(rows, latent_dim=1, **QUICK)))
    assert "x[1, 2]" in alone.text
    assert "on the one latent" in alone.text
    condition = torch.from_numpy(rng.normal(size=(80, 2))).float()
    network = vaelab.networks.MLP((6,), 4, (8,), condition=2), vaelab.networks.MLP(2, (6,), (8,), condition=2)
    model = vaelab.VAE(
        prior=vaelab.priors.Gaussian(2),
        posterior=vaelab.posteriors.Gaussian(network[0], 2),
        likelihood=vaelab.likelihoods.Gaussian(network[1], (6,)),
    )
    data = replace(open_source(rng.normal(size=(80, 6))), condition=condition)
    run = vaelab.fit(model, data, epochs=1, progress="off", device="cpu")
    assert "draws rows only under a condition" in Page(page(run)).text


def test_the_command_and_what_it_does_when_the_rows_are_gone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(2)
    source, folder = tmp_path / "<b>answers.csv", tmp_path / "run"
    pl.DataFrame({f"q{i}": rng.integers(0, 2, 90) for i in range(5)}).write_csv(source)
    train = ["train", str(source), "--epochs", "2", "--hidden", "8", "--latent-dim", "2", "-q", "--out"]
    assert command([*train, str(folder)]) == 0
    written = (folder / "report.html").read_bytes()
    assert b"vaelab train" in written
    assert str(tmp_path).encode() not in written, "a page that is passed on tells nothing of the machine"
    assert command(["report", str(folder)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder / "report.html")
    assert (folder / "report.html").read_bytes() == written

    other = source.rename(tmp_path / "moved.csv")
    assert command(["report", str(folder)]) == 0
    found = Page((folder / "report.html").read_text())
    assert "The rows of this run cannot be read: no such file" in found.text
    assert "ELBO" not in found.figures()
    assert "Model" in found.text
    assert "Unusual rows" not in found.text
    assert [alt for _, _, alt in found.pictures() if alt.startswith("Line chart")]

    out = tmp_path / "page.html"
    assert command(["report", str(folder), str(other), "-o", str(out)]) == 0
    assert "ELBO" in Page(out.read_text()).figures()
    before = out.read_bytes()
    assert command(["report", str(folder), str(other), "-o", str(out)]) == 2
    assert command(["report", str(folder), str(tmp_path / "none.csv"), "-o", str(out), "--force"]) == 3
    assert command(["report", str(folder), str(other), "-o", str(tmp_path / "page.pdf")]) == 2
    assert command(["report", str(folder / "model.safetensors")]) == 2
    assert out.read_bytes() == before


def test_train_keeps_the_run_when_the_report_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(run: Run, source: object = None) -> str:
        raise RuntimeError("no\nfonts")

    monkeypatch.setattr("vaelab.run.page", broken)
    quick = ["train", "digits", "--epochs", "1", "--hidden", "8", "-q"]
    assert command([*quick, "--out", str(tmp_path / "a")]) == 0
    assert "warning: report.html could not be made (RuntimeError: no fonts)" in capsys.readouterr().err
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["config.toml", "metrics.jsonl", "model.safetensors"]
    assert command([*quick, "--no-report", "--out", str(tmp_path / "b")]) == 0
    assert not (tmp_path / "b" / "report.html").exists()
    assert "report" not in capsys.readouterr().err


def test_a_dataset_of_one_row_and_of_constant_columns(nasty: Run) -> None:
    data = nasty.splits["validation"]
    one = Dataset(data.x[:1], nasty.schema, None if data.observed is None else data.observed[:1])
    found = Page(page(nasty, one))
    assert "± nan" in found.figures()["ELBO"]
    same = Dataset(data.x[:1].nan_to_num(0.0).repeat(20, 1), nasty.schema)
    assert "none" in {cell for row in Page(page(nasty, same)).cells for cell in row}

"""The exported page decodes as PyTorch does, asks nobody, stays small; what a page cannot run is refused in words."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from browsing import CHROMIUM, opened_browser
from served import Served
from torch import Tensor

import vaelab
from vaelab import recipes
from vaelab.cli import run as command
from vaelab.data import Schema
from vaelab.errors import UsageError
from vaelab.models.vae import Decodes, centre
from vaelab.part import inference
from vaelab.recipes.base import RECIPES
from vaelab.run import Run
from vaelab.web import onefile
from vaelab.web.explored import Explored
from vaelab.web.onefile import bundled, page_of
from vaelab.web.packing import packed
from vaelab.web.program import decoder_parameters, operations, program_of

needs_browser = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="browser tests: no /usr/bin/chromium (apt-get install)"
)
CLOSE = 1e-3
RUN = """async ([steps, kept, block, places]) => {
  const run = program.runner(steps, await program.unpacked(kept, block));
  return places.map((z) => Array.from(run(z), (v) => Number.isFinite(v) ? v : null));
}"""

PINNED = """() => { const c = document.querySelector('#pinned canvas');
    const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
    return Array.from(data).filter((_, i) => i % 4 === 0) }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with opened_browser() as made:
        yield made


@pytest.fixture(scope="module")
def computed(browser: Any) -> Iterator[Callable[[Run, Tensor], Tensor]]:
    """Return what the page's own script makes of a run's decoder at places, in Chromium."""
    page = browser.new_page()
    source = resources.files("vaelab.web").joinpath("offline", "program.js").read_text("utf-8")
    page.add_script_tag(content=bundled({"program.js": source}, "program.js") + "\nwindow.program = of_program;")

    def compute(run: Run, z: Tensor, given: str | None = None) -> Tensor:
        program = program_of(run, run.given(given))
        kept, block = packed(program.constants, program.coarse)
        steps = json.loads(json.dumps(program.steps))
        return torch.tensor(page.evaluate(RUN, [steps, kept, block, z.tolist()]), dtype=torch.float64)

    yield compute
    page.close()


def bare(model: Any, shape: tuple[int, ...]) -> Run:
    """Return a run of a model on rows that are as they are, so that decodes are those of the model."""
    if len(shape) == 3:
        schema = Schema(name="grey", layout="image", shape=(*shape[1:], shape[0]), values="integer", low=0, high=1)
    else:
        schema = Schema(name="rows", layout="array", shape=shape, values="real")
    return Run(model.eval(), schema, {})


def distance(run: Run, found: Tensor, z: Tensor) -> float:
    with inference(run.model):
        truth = run.schema.decode(centre(run.model.decode(z))).flatten(1)
    assert torch.equal(truth.isfinite(), found.isfinite())
    return ((found - truth).abs() / (1 + truth.abs())).nan_to_num().max().item()


def recipes_with_decoders() -> dict[str, Any]:
    """Return one model of each recipe whose decoder differs from those before it."""
    made, known = {}, set()
    for name, recipe in RECIPES.items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            given = {"condition": 0}
            try:
                model = recipe((1, 9, 8), 8, **given)[0]
            except UsageError:
                continue  # a condition is needed: its decoder is an mlp with another input, tested by its own run
        parts = [getattr(model, part, None) for part in ("likelihood", "levels", "links", "top")]
        if isinstance(model, Decodes) and name != "pixel-vae" and str(parts) not in known:
            known.add(str(parts))
            made[name] = model
    return made


@needs_browser
def test_every_recipe_decodes_in_the_page_as_in_pytorch(computed: Any) -> None:
    models = recipes_with_decoders()
    assert {"vae", "linear", "hierarchical", "ladder", "very-deep"} <= set(models)
    for name, model in models.items():
        run = bare(model, (1, 9, 8))
        z = torch.randn(2, run.latent_dim, generator=torch.Generator().manual_seed(0))
        assert distance(run, computed(run, z), z) < CLOSE, name


NETWORKS = ("conv:width=8", "conv:width=8,norm=group", "resnet:width=8")
LIKELIHOODS = (
    "bernoulli", "gaussian:scale=network", "gaussian-mixture:components=3", "laplace", "student-t", "student-t:df=0.5",
    "continuous-bernoulli",
    "categorical:categories=5", "discretized-logistic:bins=16", "ordinal:bins=5", "logistic-mixture:bins=16", "poisson",
    "negative-binomial", "zero-inflated-poisson", "zero-inflated-negative-binomial",
)  # fmt: skip


@needs_browser
def test_every_network_likelihood_and_activation(computed: Any) -> None:
    cases = [(likelihood, NETWORKS[i % 3], None) for i, likelihood in enumerate(LIKELIHOODS)]
    wide = bare(recipes.vae((1, 64, 64), 3, hidden=(300,))[0], (1, 64, 64))  # a product by an operator of our own
    z = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    assert distance(wide, computed(wide, z), z) < CLOSE
    cases += [("bernoulli", "mlp", activation) for activation in ("relu", "silu", "gelu", "elu", "tanh")]
    for likelihood, network, activation in cases:
        shape = (1, 9, 7) if network != "mlp" else (5,)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            hidden = (20,) if network == "mlp" else ()
            model = recipes.vae(shape, 3, likelihood=likelihood, network=network, activation=activation, hidden=hidden)[
                0
            ]
        run = bare(model, shape)
        z = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
        assert distance(run, computed(run, z), z) < CLOSE, (likelihood, network, activation)


@needs_browser
def test_decoders_that_were_trained(computed: Any) -> None:
    """Weights far from where chance had put them: what is rounded counts for more; a condition is part of the page."""
    how: dict[str, Any] = {"latent_dim": 3, "epochs": 15, "progress": "off"}
    cases: list[tuple[dict[str, Any], str | None]] = [
        (
            {"network": "conv:width=16,norm=group", "hidden": "", "likelihood": "bernoulli", "binarize": "threshold"},
            None,
        ),
        ({"hidden": "64,64"}, None),
        ({"recipe": "cvae", "hidden": "64", "condition": "label"}, "label=3"),
        ({"recipe": "m2", "hidden": "64"}, "label=7"),
    ]
    for parts, given in cases:
        run = vaelab.train("digits", **how, **parts)
        z = 1.5 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
        truth = run.decode(z, given=given).flatten(1)
        found = computed(run, z, given)
        assert (found - truth).abs().max() / (truth.max() - truth.min()) < CLOSE, parts
        if given is not None:
            assert (run.decode(z, given="label=1").flatten(1) - truth).abs().max() > 1, "the condition matters"


def mixed() -> pl.DataFrame:
    """A table with a column of each kind that is written in its own way, one of them far from Gaussian."""
    rng = np.random.default_rng(0)
    n = 400
    return pl.DataFrame({
        "skewed": np.exp(rng.normal(0, 1, n)), "two": np.where(rng.random(n) < 0.5, 0, 5) + rng.normal(0, 0.3, n),
        "below": -np.exp(rng.normal(1, 0.8, n)) + 3, "word": rng.choice(["red", "<b>", "blue"], n),
        "count": rng.poisson(30, n), "few": rng.integers(1, 5, n),
        "day": [date(2024, 1, 1) + timedelta(days=int(d)) for d in rng.integers(0, 700, n)],
    })  # fmt: skip


@pytest.fixture(scope="module")
def mixed_run() -> Run:
    return vaelab.train(mixed(), latent_dim=2, hidden="16", epochs=3, column="*:auto", progress="off")


@needs_browser
def test_a_mixed_table_in_the_user_s_units(computed: Any, mixed_run: Run) -> None:
    z = 1.5 * torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    assert distance(mixed_run, computed(mixed_run, z), z) < CLOSE


def open_file(browser: Any, path: Path) -> tuple[Any, list[str]]:
    page, asked = browser.new_page(), []
    page.on("console", lambda m: asked.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: asked.append(str(e)))
    page.on("request", lambda r: asked.append(r.url))
    page.goto(path.as_uri())
    for _ in range(400):
        if page.evaluate("document.documentElement.dataset.ready === 'yes' && !!document.querySelector('#pinned *')"):
            return page, asked
        page.wait_for_timeout(25)
    raise AssertionError(f"never ready: {asked}")


@needs_browser
def test_the_page_from_a_disk_decodes_where_it_is_pinned(browser: Any, digits: Served, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(page_of(digits.explored))
    page, asked = open_file(browser, path)
    box = page.locator("#map").bounding_box()
    page.mouse.click(box["x"] + 0.7 * box["width"], box["y"] + 0.4 * box["height"])
    page.wait_for_timeout(400)
    view = dict(part.split("=", 1) for part in page.evaluate("location.hash.slice(1)").split("&"))
    shown = page.evaluate(PINNED)
    truth = digits.explored.decode([[float(v) for v in view["z"].split(",")]])
    assert max(abs(a - b) for a, b in zip(shown, truth, strict=True)) <= 1
    seen = digits.explored.seen
    assert seen is not None
    for share in (0.35, 0.45, 0.55, 0.65):
        page.mouse.click(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"])
        page.wait_for_timeout(200)
        row, label = re.findall(r"row (\d+), label (\w+)", page.inner_text("#where"))[0]
        assert str(int(seen.labels[int(row) - 1])) == label, "a file has no names of rows: they are counted"
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.3 * box["height"], steps=4)
    page.mouse.up()
    page.wait_for_selector("#strip canvas:nth-child(11)")
    page.click("#grid-draw")
    page.wait_for_selector("#grid canvas:nth-child(25)")
    assert page.locator("#row-shown *").count() == 0, "a file holds no rows"
    assert asked == [path.as_uri()], "one request: the file"
    page.close()


@needs_browser
def test_the_cells_of_a_file_are_those_of_the_run(browser: Any, mixed_run: Run, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes(page_of(Explored(mixed_run)))
    page, asked = open_file(browser, path)
    shown = page.locator("#pinned td").all_inner_texts()
    truth = Explored(mixed_run).decode([[0.0, 0.0]])[0]
    for mine, theirs in zip(shown, truth, strict=True):
        if isinstance(theirs, float):
            assert float(mine) == pytest.approx(theirs, rel=2e-3)
        else:
            assert mine == theirs
    assert asked == [path.as_uri()]
    page.close()


def untrained(shape: tuple[int, ...], **parts: Any) -> Run:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return bare(recipes.vae(shape, 20, **parts)[0], shape)


@pytest.mark.parametrize(
    ("parts", "most"),
    [({"hidden": (500,)}, math.inf), ({"hidden": (), "network": "conv"}, 250_000), ({"hidden": (500, 500)}, math.inf)],
)
def test_a_file_is_small(parts: dict[str, Any], most: float) -> None:
    run = untrained((1, 28, 28), **parts)
    size = len(page_of(Explored(run)))
    assert size <= min(most, 2.8 * sum(p.numel() for p in decoder_parameters(run.model)) + 150_000)


def test_what_a_page_cannot_run_is_refused_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = bare(RECIPES["pixel-vae"]((1, 5, 5), 2)[0], (1, 5, 5))
    with pytest.raises(UsageError, match="drawn, not computed"):
        program_of(pixels)
    chosen = bare(recipes.vae((5,), 2)[0], (5,))
    whole = chosen.schema.decode
    monkeypatch.setattr(chosen.schema, "decode", lambda x: whole(x) if x.sum() > 0 else whole(-x), raising=False)
    with pytest.raises(UsageError, match="chooses its steps by the numbers"):
        program_of(chosen)
    monkeypatch.chdir(tmp_path)
    digits = vaelab.train("digits", latent_dim=2, hidden="4", epochs=1, progress="off")
    digits.save("model.safetensors")
    assert command(["export", "model.safetensors", "-o", "page.txt"]) == 2
    assert "Known: .html" in capsys.readouterr().err
    monkeypatch.setattr("vaelab.web.program.operations", lambda: frozenset({"relu"}))
    assert command(["export", "model.safetensors", "-o", "page.html"]) == 2
    assert "addmm" in capsys.readouterr().err
    monkeypatch.undo()
    assert not (tmp_path / "page.html").exists()


def test_the_command_writes_a_page_without_names_of_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = mixed().with_columns(pl.Series("who", [f"person {i}" for i in range(400)]))
    run = vaelab.train(frame, latent_dim=2, hidden="4", epochs=1, drop="who", progress="off")
    model, page = run.save(tmp_path / "model.safetensors"), tmp_path / "page.html"
    assert command(["export", str(model), "-o", str(page)]) == 0
    text = page.read_text()
    assert "person 3" not in text
    assert text.count("<script") == 2
    assert "<b>" not in text.partition('id="file">')[2].partition("</script>")[0], "words of the data are no markup"
    assert command(["export", str(model), "-o", str(page)]) == 2, "it exists"
    capsys.readouterr()


def test_the_table_of_operations_is_read_from_the_script() -> None:
    known = operations()
    assert {"addmm", "convolution", "native_group_norm", "slice", "clone"} <= known
    assert not {"for", "const", "if", "rand"} & known


def test_bundles_say_what_they_do_not_understand() -> None:
    sources = {"a.js": 'import { b } from "./b.js";\nb();\n', "b.js": "export function b() {}\n"}
    assert bundled(sources, "a.js").index("of_b") < bundled(sources, "a.js").index("of_a")
    with pytest.raises(AssertionError, match="import that is not understood"):
        bundled({"a.js": '\nimport * as b from "./b.js";\n'}, "a.js")
    assert onefile.NUMBERS == 20_000


def test_onnx_is_what_the_run_decodes(mixed_run: Run, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="ONNX files: pip install onnxruntime onnx onnxscript")
    pytest.importorskip("onnxscript", reason="ONNX files: pip install onnx onnxscript")
    from vaelab.web.onnx import onnx_of

    conv = untrained((1, 28, 28), hidden=(), network="conv:width=8")
    for run in (conv, mixed_run, untrained((1, 64, 64), hidden=(300,))):
        session = runtime.InferenceSession(onnx_of(run), providers=["CPUExecutionProvider"])
        z = torch.randn(5, run.latent_dim, generator=torch.Generator().manual_seed(0))
        found = torch.from_numpy(session.run(["x"], {"z": z.numpy()})[0]).double().flatten(1)
        assert distance(run, found, z) < 1e-5

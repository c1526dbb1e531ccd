"""The verbs on rows and codes, as a user meets them: what goes in, what comes out, what survives between."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from vaelab import load
from vaelab.cli import run

QUICK = ["--latent-dim", "2", "--hidden", "16", "--epochs", "3", "-q"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a table with a label, and the table of new rows beside it."""
    folder = tmp_path_factory.mktemp("table")
    x = np.random.default_rng(0).normal(size=(60, 3)) @ [[3, 1, 0], [0, 1, 1], [0, 0, 0.2]] + [100, 0, -5]
    pl.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "kind": ["u", "v"] * 30}).write_csv(folder / "t.csv")
    assert run(["train", str(folder / "t.csv"), "--labels", "kind", *QUICK, "--out", str(folder / "run")]) == 0
    pl.DataFrame({"c": x[:9, 2], "a": x[:9, 0], "b": x[:9, 1]}).write_csv(folder / "new.csv")
    return folder


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("digits") / "run"
    assert run(["train", "digits", *QUICK, "--out", str(out)]) == 0
    return out


def csv(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> pl.DataFrame:
    """Run a verb that prints CSV and return it."""
    capsys.readouterr()
    assert run([str(a) for a in arguments]) == 0
    return pl.read_csv(io.StringIO(capsys.readouterr().out))


def test_ids_and_labels_come_out_with_the_codes(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = csv(capsys, "encode", table / "run")
    assert codes.columns == ["id", "label", "z0", "z1", "sd0", "sd1"]
    source = pl.read_csv(table / "t.csv")
    assert codes["label"].to_list() == [source["kind"][i - 1] for i in codes["id"]]
    everything = csv(capsys, "encode", table / "run", table / "t.csv")
    picked = everything[[i - 1 for i in codes["id"]]]
    for name in ("z0", "z1", "sd0", "sd1"):
        assert np.allclose(picked[name], codes[name], atol=1e-10), "the id does not lead back to the row"


@pytest.mark.parametrize("verb", ["encode", "score"])
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".npz"])
def test_forms_of_output(verb: str, suffix: str, table: Path, tmp_path: Path) -> None:
    out = tmp_path / f"out{suffix}"
    assert run([verb, str(table / "run"), str(table / "new.csv"), "-o", str(out)]) == 0
    opened = load(table / "run")
    truth = {"z": opened.encode(table / "new.csv").mean, "log_likelihood": opened.score(table / "new.csv")}
    name = "z" if verb == "encode" else "log_likelihood"
    if suffix == ".npz":
        found = np.load(out)[name]
    else:
        frame = pl.read_csv(out) if suffix == ".csv" else pl.read_parquet(out)
        found = frame.select([c for c in frame.columns if c.startswith(name)]).to_numpy().squeeze()
    assert np.allclose(found, truth[name].numpy(), rtol=1e-12)
    assert run([verb, str(table / "run"), str(table / "new.csv"), "-o", str(out)]) == 2, "an output was replaced"


def test_scores_do_not_depend_on_company_order_or_columns(table: Path, tmp_path: Path) -> None:
    opened, frame = load(table / "run"), pl.read_csv(table / "new.csv")
    whole = opened.score(frame)
    assert np.allclose(opened.score(frame[::-1].select("b", "c", "a")).flip(0), whole, rtol=1e-12)
    assert np.allclose([opened.score(frame[i]) for i in range(len(frame))], whole[:, None], rtol=1e-12)


def test_codes_go_back_to_rows(table: Path, tmp_path: Path) -> None:
    opened = load(table / "run")
    codes = opened.encode()
    assert run(["encode", str(table / "run"), "-o", str(tmp_path / "z.csv")]) == 0
    np.save(tmp_path / "z.npy", codes.mean)
    np.savez(tmp_path / "z.npz", z=codes.mean)
    for name in ("z.csv", "z.npy", "z.npz"):
        out = tmp_path / f"{name}.csv"
        assert run(["decode", str(table / "run"), str(tmp_path / name), "-o", str(out)]) == 0
        frame = pl.read_csv(out)
        assert np.allclose(frame.select("a", "b", "c").to_numpy(), opened.decode(codes.mean), rtol=1e-12)
    assert pl.read_csv(tmp_path / "z.csv.csv").columns == ["id", "label", "a", "b", "c"]


def test_a_path_passes_through_the_decoded_rows(digits: Path, tmp_path: Path) -> None:
    opened = load(digits)
    ends = opened.decode(opened.encode(opened.data()[0].take([0, 4])).mean)
    out = tmp_path / "path.npz"
    assert run(["interpolate", str(digits), "--rows", "1,5", "--steps", "4", "-o", str(out)]) == 0
    found = np.load(out)
    assert found["x"].shape == (5, 8, 8)
    assert np.allclose(found["x"][[0, -1]], ends)
    assert found["t"].tolist() == [0, 0.25, 0.5, 0.75, 1]
    np.save(tmp_path / "z.npy", np.array([[1.0, 0.0], [0.0, 1.0]]))
    spherical = [*("interpolate", str(digits), "--codes", str(tmp_path / "z.npy")), "--path", "spherical"]
    assert run([*spherical, "--steps", "2", "-o", str(tmp_path / "turn.npz")]) == 0
    middle = opened.decode([[0.5**0.5, 0.5**0.5]])
    assert np.allclose(np.load(tmp_path / "turn.npz")["x"][1], middle[0])
    assert run(["interpolate", str(digits), "-o", str(tmp_path / "path.png")]) == 0
    with Image.open(tmp_path / "path.png") as picture:
        assert picture.width > 500


def test_folders_of_images_keep_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(20):
        pixels = np.random.default_rng(i).integers(0, 256, (6, 5), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"cat {i}.png")
    assert run(["train", str(tmp_path / "photos"), *QUICK, "--out", str(tmp_path / "run")]) == 0
    codes = csv(capsys, "encode", tmp_path / "run", tmp_path / "photos")
    assert sorted(codes["id"]) == sorted(f"cat {i}.png" for i in range(20))


def test_a_temperature_of_nothing_is_the_centre(digits: Path) -> None:
    opened = load(digits)
    centre = opened.decode([[0.0, 0.0]])
    assert np.allclose(opened.generate(3, means=True, temperature=0), centre.expand(3, 8, 8), atol=1e-4)
    hot, cold = (opened.generate(500, means=True, temperature=t).std(0).mean() for t in (1.5, 0.2))
    assert cold < hot / 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["decode", "RUN", "none.csv", "-o", "x.csv"], 3, "no such file: none.csv"),
        (["decode", "RUN", "short.csv", "-o", "x.csv"], 3, "no column z1"),
        (["decode", "RUN", "wide.csv", "-o", "x.csv"], 3, "has a column z2, but the model has 2 latent dimensions"),
        (["decode", "RUN", "words.csv", "-o", "x.csv"], 3, '"z0" holds String'),
        (["decode", "RUN", "holes.csv", "-o", "x.csv"], 3, "z1 in row 2 is nan"),
        (["decode", "RUN", "wide.npy", "-o", "x.csv"], 3, "it needs (rows, 2)"),
        (["interpolate", "RUN", "--rows", "1,99", "-o", "x.csv"], 2, "no row 99: there are rows 1 to 6"),
        (["interpolate", "RUN", "--rows", "1,b", "-o", "x.csv"], 2, "--rows"),
        (["interpolate", "RUN", "--rows", "1", "-o", "x.csv"], 2, "at least two places"),
        (["interpolate", "RUN", "--steps", "0", "-o", "x.csv"], 2, "steps must be at least 1"),
        (["interpolate", "RUN", "--path", "sphrical", "-o", "x.csv"], 2, "straight or spherical"),
        (["interpolate", "RUN", "--codes", "opposite.npy", "--path", "spherical", "-o", "x.csv"], 2, "opposite"),
        (["interpolate", "RUN", "--codes", "opposite.npy", "--rows", "1,2", "-o", "x.csv"], 2, "not both"),
        (["interpolate", "RUN", "-o", "x.png"], 2, "make no images"),
        (["encode", "RUN", "-o", "x.png"], 2, "Known: .csv, .parquet, .npz"),
        (["encode", "RUN", "-o", "none/x.csv"], 5, "no such folder"),
        (["score", "RUN", "--samples", "0"], 2, "samples must be at least 1"),
        (["score", "RUN", "--units", "bits"], 2, "units"),
        (["generate", "RUN", "-n", "5", "--temperature", "-1", "-o", "x.csv"], 2, "temperature"),
        (["generate", "RUN", "-n", "999999999", "-o", "x.parquet"], 2, "Use .csv"),
    ],
)
def test_faults(arguments: list[str], code: int, words: str, table: Path, tmp_path: Path,
                monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("short.csv").write_text("z0\n1\n")
    Path("wide.csv").write_text("z0,z1,z2\n1,2,3\n")
    Path("words.csv").write_text("z0,z1\na,2\n")
    Path("holes.csv").write_text("z0,z1\n1,2\n1,\n")
    np.save("wide.npy", np.zeros((2, 3)))
    np.save("opposite.npy", np.array([[1.0, 2.0], [-1.0, -2.0]]))
    before = sorted(tmp_path.iterdir())
    assert run([str(table / "run") if a == "RUN" else a for a in arguments]) == code
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1, said.err
    assert words in said.err
    assert sorted(tmp_path.iterdir()) == before


def test_an_autoencoder_has_codes_but_no_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "ae")
    assert run(["train", "digits", "--recipe", "autoencoder", *QUICK, "--out", out]) == 0
    assert csv(capsys, "encode", out)["sd0"].to_list()[0] == 0
    assert run(["score", out]) == 2
    assert "point mass" in capsys.readouterr().err

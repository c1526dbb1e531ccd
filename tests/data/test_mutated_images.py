"""Folders of damaged images, by the hundred: nothing crashes, and every file that cannot be read is named.

More by hand: VAELAB_EXAMPLES=5000 python -m pytest tests/data/test_mutated_images.py
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaelab.cli import run

TOGETHER = 20
EXAMPLES = int(os.environ.get("VAELAB_EXAMPLES", "300"))
QUICK = ["--size", "8x6", "--dry-run", "--epochs", "1", "--hidden", "2", "--latent-dim", "1"]
FORMS = [("png", mode) for mode in ("L", "RGB", "P", "RGBA", "LA", "1")]
FORMS += [("jpeg", "L"), ("jpeg", "RGB"), ("jpeg", "CMYK"), ("gif", "P"), ("tiff", "L"), ("tiff", "RGB")]
FORMS += [("bmp", "RGB"), ("webp", "RGB")]


def image(draw: np.random.Generator) -> tuple[str, bytes]:
    """Return an image of a random kind, and its suffix."""
    form, mode = FORMS[draw.integers(len(FORMS))]
    out = io.BytesIO()
    size = (6, 8) if draw.random() < 0.8 else (int(draw.integers(1, 40)), int(draw.integers(1, 40)))
    Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode).save(out, format=form)
    return form, out.getvalue()


def damaged(content: bytes, draw: np.random.Generator) -> bytes:
    """Return an image cut, with some bits turned, with zeros in it, or something else altogether."""
    way, data = draw.integers(6), bytearray(content)
    start, end = sorted(int(i) for i in draw.integers(0, len(data) + 1, 2))
    if way == 0:
        return content[:start]
    if way == 1:
        for bit in draw.integers(0, 8 * len(data), int(draw.integers(1, 9))):
            data[bit // 8] ^= 1 << (bit % 8)
    if way == 2:
        data[start:end] = bytes(end - start)
    if way == 3:
        del data[start : start + 8]
    if way == 4:
        data[: min(60, len(data))] = draw.bytes(min(60, len(data)))
    return b"no image at all" if way == 5 else bytes(data)


def unreadable(path: Path) -> bool:
    """Whether Pillow alone cannot decode a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as opened:
                opened.load()
        except Exception:
            return True
    return False


def said(*options: str) -> tuple[int, str]:
    err = io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(io.StringIO()):
        code = run(["train", "photos", *QUICK, *options])
    return code, err.getvalue()


@pytest.mark.parametrize("seed", range(-(-EXAMPLES // TOGETHER)))
def test_every_unreadable_image_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    draw = np.random.default_rng(seed)
    folder = tmp_path / "photos"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    for i in range(15):
        Image.fromarray(draw.integers(0, 256, (6, 8), dtype=np.uint8)).save(folder / f"good{i}.png")
    for i in range(TOGETHER):
        form, content = image(draw)
        (folder / f"m{i:02}.{form}").write_bytes(damaged(content, draw))
    bad = {path.name for path in folder.iterdir() if unreadable(path)}
    assert len(bad) > 3, "nothing was damaged"
    code, err = said()
    assert code == 3, err
    assert err.count("\n") == 1
    named = set(re.findall(r"(m\d\d\.\w+) \(", err))
    assert bad <= named
    assert f"{len(named)} of 35 images cannot be read" in err
    assert "good" not in err
    code, err = said("--skip-bad")
    assert code == 0, err
    assert set(re.findall(r"(m\d\d\.\w+) \(", err)) == named
    train, held = re.findall(r"split    (\d+) train, (\d+) validation", err)[0]
    assert int(train) + int(held) + len(named) == 35

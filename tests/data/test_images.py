"""Folders of images: what is read, converted, skipped, refused."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vaelab.data import open_source
from vaelab.errors import DataError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def put(path: Path, pixels: np.ndarray, mode: str | None = None, **save: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **save)


def test_class_folders_hidden_files_and_order(tmp_path: Path) -> None:
    put(tmp_path / "b" / "1.png", GREY + 1)
    put(tmp_path / "a" / "2.bmp", GREY)
    put(tmp_path / "a" / ".hidden.png", GREY)
    (tmp_path / "Thumbs.db").write_bytes(b"x")
    data = open_source(tmp_path)
    assert data.ids.tolist() == ["a/2.bmp", "b/1.png"]
    assert data.labels.tolist() == ["a", "b"]
    assert torch.equal(data.x, torch.as_tensor(np.stack([GREY, GREY + 1])))
    assert "2 other files skipped." in data.notes


def test_modes_are_brought_together_and_counted(tmp_path: Path) -> None:
    put(tmp_path / "1.png", GREY)
    clear = np.zeros((6, 8, 4), dtype=np.uint8)
    clear[:, :4] = (10, 20, 30, 255)
    put(tmp_path / "2.png", clear)
    data = open_source(tmp_path)
    assert data.schema.shape == (6, 8, 3)
    assert data.x[1, 0, 0].tolist() == [10, 20, 30]
    assert data.x[1, 0, 7].tolist() == [255, 255, 255]  # clear pixels over white
    assert torch.equal(data.x[0, :, :, 1], torch.as_tensor(GREY))
    assert "images of modes 1 L, 1 RGBA: all read as RGB." in data.notes
    assert "1 image with transparency, laid on white." in data.notes


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    put(tmp_path / "1.png", GREY, exif=exif)
    data = open_source(tmp_path)
    assert np.array_equal(data.x[0], np.rot90(GREY, -1))


def test_sixteen_bits_are_kept(tmp_path: Path) -> None:
    deep = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300
    put(tmp_path / "1.png", deep)
    data = open_source(tmp_path)
    assert np.array_equal(data.x[0], deep)
    assert data.schema.high == 65535
    assert torch.equal(data.schema.decode(data.schema.encode(data.x), round=True).int(), data.x)
    put(tmp_path / "2.png", GREY)
    with pytest.raises(DataError, match="1 of 2 images have 16 bits"):
        open_source(tmp_path)
    (tmp_path / "1.png").unlink()
    with pytest.raises(DataError, match="images of 8 bits, the model was trained on 16 bits"):
        open_source(tmp_path, schema=data.schema)


def test_mixed_sizes_are_refused_unless_a_size_is_asked_for(tmp_path: Path) -> None:
    for i in range(3):
        put(tmp_path / f"{i}.png", GREY)
    put(tmp_path / "odd.png", GREY[:4])
    with pytest.raises(DataError) as caught:
        open_source(tmp_path)
    assert "2 sizes found (most: 8x6, 3 files; 8x4, 1 file), such as odd.png. Choose --size 8x6" in str(caught.value)
    data = open_source(tmp_path, size="8x6")
    assert data.schema.shape == (6, 8)
    assert torch.equal(data.x[0], torch.as_tensor(GREY))
    assert "images are brought to 8x6; others are stretched." in data.notes


def test_every_unreadable_file_is_named(tmp_path: Path) -> None:
    put(tmp_path / "good.png", GREY)
    put(tmp_path / "cut.png", np.random.default_rng(0).integers(0, 255, (60, 60), dtype=np.uint8))
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.gif").write_text("hello")
    with pytest.raises(DataError) as caught:
        open_source(tmp_path)
    message = str(caught.value)
    assert "3 of 4 images cannot be read" in message
    assert all(
        name in message for name in ("cut.png (", "empty.jpg (empty file)", "text.gif (cannot identify image file)")
    )


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "bomb.png").write_bytes(content + struct.pack(">I", 0) + b"IDAT" + b"\0\0\0\0")
    with pytest.raises(DataError, match=r"1 of 1 image cannot be read: bomb\.png"):
        open_source(tmp_path)


def test_black_and_white_images_are_binary_and_films_give_their_first_frame(tmp_path: Path) -> None:
    white = (GREY > 100).astype(np.uint8) * 255
    put(tmp_path / "1.png", white, mode="1")
    Image.fromarray(white).save(tmp_path / "2.gif", save_all=True, append_images=[Image.fromarray(GREY)])
    data = open_source(tmp_path)
    assert data.schema.values == "binary"
    assert torch.equal(data.schema.encode(data.x)[1, 0], torch.as_tensor(GREY > 100).float())
    assert "1 image of several frames, only the first is kept." in data.notes
    put(tmp_path / "1.png", GREY)
    with pytest.raises(DataError, match="expected 0 or 255"):
        open_source(tmp_path, schema=data.schema)


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no images in .* \(looked for png, jpg"):
        open_source(tmp_path)


def test_new_images_follow_the_schema(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (5, 6, 8, 3), dtype=np.uint8)
    schema = open_source(colour).schema
    put(tmp_path / "1.png", GREY)
    assert open_source(tmp_path, schema=schema).x.shape == (1, 6, 8, 3)
    put(tmp_path / "1.png", GREY[:5])
    with pytest.raises(DataError, match=r"shape \(5, 8, 3\), the model was trained on \(6, 8, 3\)"):
        open_source(tmp_path, schema=schema)

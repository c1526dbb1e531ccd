"""Folders of images that cannot be read, and folders that can although they look odd."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from faults.catalogue import QUICK, Place, command, library
from vaelab import load
from vaelab.cli import run
from vaelab.data import image_files, open_source
from vaelab.errors import DataError

DRY = ("--dry-run", "--epochs", "1", "--hidden", "4", "--latent-dim", "2")
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 6, 8), dtype=np.uint8)


def saved(pixels: np.ndarray, kind: str = "png", mode: str | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(out, format=kind, **options)
    return out.getvalue()


def photos(place: Place, number: int = 20) -> None:
    """Put grey images 00.png, 01.png, ... of 8x6 pixels into the folder photos."""
    for i in range(number):
        place.write(f"photos/{i:02}.png", saved(PIXELS[i]))


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def bad_photos(place: Place) -> None:
    photos(place)
    large = np.random.default_rng(1).integers(0, 256, (60, 60), dtype=np.uint8)
    place.write("photos/cats/0412.jpg", cut(saved(large, "jpeg")))
    place.write("photos/cut.png", cut(saved(large)))


@command("I1", 3, "photos: 2 of 22 images cannot be read: cats/0412.jpg (image file is truncated", "use --skip-bad.")
def truncated_images(place: Place) -> list[str]:
    bad_photos(place)
    return ["train", "photos", *DRY]


@command("I1", 0, "skipped: 2 of 22 images cannot be read: cats/0412.jpg (", "cut.png (", "18 train, 2 validation")
def truncated_images_skipped(place: Place) -> list[str]:
    bad_photos(place)
    return ["train", "photos", "--skip-bad", *DRY]


@command("I1", 3, "photos: 1 of 1 image cannot be read: cut.png (", "Remove them.")
def nothing_but_a_truncated_image(place: Place) -> list[str]:
    place.write("photos/cut.png", cut(saved(PIXELS[0])))
    return ["train", "photos", "--skip-bad", *DRY]


@command(
    "I2", 3, "photos: 2 of 22 images cannot be read: empty.jpg (empty file), text.gif (cannot identify image file)"
)
def empty_file_and_renamed_text(place: Place) -> list[str]:
    photos(place)
    place.write("photos/empty.jpg", b"")
    place.write("photos/text.gif", "hello")
    return ["train", "photos", *DRY]


def mixed_sizes(place: Place) -> None:
    photos(place)
    place.write("photos/tall.png", saved(PIXELS[0].repeat(2, 0)))
    place.write("photos/wide.png", saved(PIXELS[0].repeat(2, 1)))
    place.write("photos/wide2.png", saved(PIXELS[0].repeat(2, 1)))


@command("I3", 3, "photos: 3 sizes found (most: 8x6, 20 files; 16x6, 2 files; 8x12, 1 file)", "--size 8x6 [--fit crop")
def images_of_mixed_sizes(place: Place) -> list[str]:
    mixed_sizes(place)
    return ["train", "photos", *DRY]


def fitted(how: str, note: str) -> None:
    """Enter a folder of mixed sizes that is brought to one size, by the way that was asked for."""

    def check(place: Place, out: str, err: str) -> None:
        tall, wide = (open_source("photos", size="8x6", fit=how).x[i].numpy() for i in (20, 21))
        if how == "crop":  # the middle of the picture: 6 of 12 lines, 8 of 16 columns
            assert np.array_equal(tall, PIXELS[0].repeat(2, 0)[3:9])
            assert np.array_equal(wide, PIXELS[0].repeat(2, 1)[:, 4:12])
        if how == "pad":
            assert not wide[[0, -1]].any()
            assert not tall[:, [0, -1]].any()
            assert wide[2:4].any()
        made = load(place.folder / "run")
        assert made.schema.shape == (6, 8)
        # new images are fitted in the same way, without being told
        assert torch.equal(made.data("photos")[0].x, open_source("photos", size="8x6", fit=how).x)

    @command("I3", 0, f"images are brought to 8x6; others are {note}.", check=check)
    def sizes_made_equal(place: Place) -> list[str]:
        mixed_sizes(place)
        quick = [option for option in QUICK if option != "-q"]
        return ["train", "photos", "--size", "8x6", "--fit", how, *quick, "--out", "run"]


fitted("stretch", "stretched")
fitted("crop", "cropped in the middle")
fitted("pad", "padded with black")


@command("I3", 2, "fit is 'cut': expected stretch, crop or pad.")
def unknown_fit(place: Place) -> list[str]:
    photos(place)
    return ["train", "photos", "--size", "8x6", "--fit", "cut"]


def check_modes(place: Place, out: str, err: str) -> None:
    x = open_source("photos").x.numpy()
    grey, half = PIXELS[0], x[23]
    assert np.array_equal(x[20], grey[..., None].repeat(3, 2))  # mode LA, nothing clear
    assert set(np.unique(x[24])) == {0, 255}  # mode 1
    over = np.array([10, 20, 30]) * 128 / 255 + 255 * 127 / 255
    assert np.abs(half[0, 0] - over).max() <= 1
    assert half[0, 7].tolist() == [255, 255, 255]


@command(
    "I4",
    0,
    "images of modes 1 1, 1 CMYK, 20 L, 1 LA, 1 P, 1 RGBA: all read as RGB.",
    "2 images with transparency, laid on white.",
    check=check_modes,
)
def images_of_mixed_modes(place: Place) -> list[str]:
    photos(place)
    colour = np.zeros((6, 8, 4), dtype=np.uint8)
    colour[:, :4] = (10, 20, 30, 128)
    place.write("photos/a.png", saved(PIXELS[0], mode="LA"))
    place.write("photos/b.png", saved(PIXELS[0], mode="P"))
    place.write("photos/c.jpg", saved(colour, "jpeg", mode="CMYK"))
    place.write("photos/d.png", saved(colour))
    place.write("photos/e.png", saved(PIXELS[0], mode="1"))
    return ["train", "photos", *DRY]


DEEP = (PIXELS.astype(np.uint16) * 257) ^ 5


def check_depth(place: Place, out: str, err: str) -> None:
    data = open_source("photos")
    assert np.array_equal(data.x, DEEP[:20])
    assert data.schema.high == 65535
    assert np.array_equal(data.schema.decode(data.schema.encode(data.x), round=True), DEEP[:20])


@command("I5", 0, "8x6 grey images, integer values 0..65535", check=check_depth)
def images_of_16_bits(place: Place) -> list[str]:
    for i in range(20):
        place.write(f"photos/{i:02}.png", saved(DEEP[i]))
    return ["train", "photos", "--likelihood", "discretized-logistic", *DRY]


@command("I5", 3, "photos: 1 of 21 images have 16 bits. Convert all to one depth.")
def images_of_8_and_16_bits(place: Place) -> list[str]:
    photos(place)
    place.write("photos/deep.png", saved(DEEP[0]))
    return ["train", "photos", *DRY]


@command("I5", 3, "float.tiff (float pixels)")
def images_of_floats(place: Place) -> list[str]:
    photos(place)
    place.write("photos/float.tiff", saved(PIXELS[0].astype(np.float32) / 255, "tiff"))
    return ["train", "photos", *DRY]


@command("I5", 3, "colour.png (16-bit colour)")
def colour_of_16_bits(place: Place) -> list[str]:
    photos(place)
    lines = b"".join(b"\0" + bytes(range(48)) for _ in range(6))

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", 8, 6, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    place.write("photos/colour.png", b"\x89PNG\r\n\x1a\n" + parts)
    return ["train", "photos", *DRY]


def check_upright(place: Place, out: str, err: str) -> None:
    assert np.array_equal(open_source("photos").x[20], PIXELS[0])


@command("I6", 0, "1 image turned upright by EXIF.", check=check_upright)
def turned_images(place: Place) -> list[str]:
    photos(place)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    place.write("photos/turned.png", saved(np.rot90(PIXELS[0]), exif=exif))
    return ["train", "photos", *DRY]


@command("I7", 3, "bomb.png (Image size exceeds limit", "large.png (8500x8500 pixels are too many)")
def images_that_would_fill_the_memory(place: Place) -> list[str]:
    photos(place)
    for name, side in (("bomb", 60_000), ("large", 8_500)):
        body = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
        place.write(f"photos/{name}.png", start + struct.pack(">I", 0) + b"IDAT" + b"\0\0\0\0")
    return ["train", "photos", *DRY]


def check_first_frames(place: Place, out: str, err: str) -> None:
    assert np.array_equal(open_source("photos").x[20:], PIXELS[4:6])


@command("I8", 0, "2 images of several frames, only the first is kept.", check=check_first_frames)
def films_and_pages(place: Place) -> list[str]:
    photos(place)
    others = [Image.fromarray(pixels) for pixels in PIXELS[6:9]]
    place.write("photos/film.gif", saved(PIXELS[4], "gif", save_all=True, append_images=others))
    place.write("photos/pages.tif", saved(PIXELS[5], "tiff", save_all=True, append_images=others))
    return ["train", "photos", *DRY]


@command("I9", 0, "3 other files skipped.", "1 hidden folder skipped.", "18 train, 2 validation")
def hidden_files(place: Place) -> list[str]:
    photos(place)
    place.write("photos/.DS_Store", b"\0\0\0\1Bud1")
    place.write("photos/Thumbs.db", b"\xd0\xcf")
    place.write("photos/._00.png", b"\0")
    place.write("photos/.cache/0.png", saved(PIXELS[0]))
    return ["train", "photos", *DRY]


@command("I10", 3, "no images in photos (looked for png, jpg, jpeg, bmp, gif, tif, tiff, webp).")
def folder_without_images(place: Place) -> list[str]:
    place.write("photos/notes.txt", "none")
    return ["train", "photos"]


@command("I11", 0, "folder again leads back to one that is read already, skipped.", "18 train, 2 validation")
def folder_that_leads_back(place: Place) -> list[str]:
    photos(place)
    os.symlink(".", place.folder / "photos" / "again")
    return ["train", "photos", *DRY]


@command("I11", 0, "18 train, 2 validation")
def linked_folder(place: Place) -> list[str]:
    photos(place)
    (place.folder / "photos").rename(place.folder / "elsewhere")
    (place.folder / "photos").mkdir()
    os.symlink("../elsewhere", place.folder / "photos" / "here")
    return ["train", "photos", *DRY]


@command(
    "I11", 3, "photos: 2 of 22 images cannot be read: gone.png (No such file", "loop.png (Too many levels of symbolic"
)
def links_that_lead_nowhere(place: Place) -> list[str]:
    photos(place)
    os.symlink("loop.png", place.folder / "photos" / "loop.png")
    os.symlink("nothing.png", place.folder / "photos" / "gone.png")
    return ["train", "photos", *DRY]


@library("I11")
def a_closed_folder_or_file_is_named(place: Place) -> None:
    photos(place)
    place.write("photos/b/0.png", saved(PIXELS[0]))
    scandir, read = os.scandir, image_files.read_image

    def closed(path: str) -> object:
        if str(path).endswith("/b"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    def refuse(path: os.PathLike[str], seen: object) -> object:
        if str(path).endswith("03.png"):
            raise PermissionError(13, "Permission denied", str(path))
        return read(path, seen)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", closed)
        patch.setattr("vaelab.data.images.read_image", refuse)
        with pytest.raises(DataError, match=r"cannot be read: b/ \(Permission denied\), 03\.png \(Permission denied\)"):
            open_source("photos")


@command("I12", 3, "photos: images of 1x1 pixels are too small: expected 2x2 at least.")
def images_of_one_pixel(place: Place) -> list[str]:
    for i in range(20):
        place.write(f"photos/{i}.png", saved(PIXELS[i, :1, :1]))
    return ["train", "photos", *DRY]


@command("I12", 3, "new: rows have shape (5, 8), the model was trained on (6, 8).")
def smaller_images_than_in_training(place: Place) -> list[str]:
    photos(place)
    assert run(["train", "photos", *QUICK, "--out", "run"]) == 0
    place.write("new/0.png", saved(PIXELS[0, :5]))
    return ["evaluate", "run", "new", "--samples", "5", "-q"]

"""Files that are something else: pickles by every route, archives, documents, programs, and what begins as ours."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import struct
import zipfile
import zlib

import joblib
import numpy as np
import safetensors.torch
import torch

from hostile.makers import Bomb, Case, forge, made, planned, tarred, zipped
from vaelab.files.container import START

BOMB = pickle.dumps(Bomb(), protocol=2)
OBJECTS = np.array([Bomb()], dtype=object)
SYSTEM = b"cposix\nsystem\n"  # GLOBAL
COMMAND = b"X\x0b\x00\x00\x00touch PWNED"  # BINUNICODE
SHORT_COMMAND = b"\x8c\x0btouch PWNED"  # SHORT_BINUNICODE

# every opcode that reaches a callable, each in a stream that a Python unpickler would run
STREAMS: dict[str, bytes] = {
    "reduce": SYSTEM + b"(S'touch PWNED'\ntR.",
    "reduce, protocol 2": b"\x80\x02" + SYSTEM + COMMAND + b"\x85R.",
    "inst": b"(S'touch PWNED'\nios\nsystem\n.",
    "inst, with text before": b"(Vtouch PWNED\niposix\nsystem\n.",
    "obj": b"(" + SYSTEM + COMMAND + b"o.",
    "newobj": b"\x80\x02" + SYSTEM + COMMAND + b"\x85\x81.",
    "newobj ex": b"\x80\x04" + SYSTEM + SHORT_COMMAND + b"\x85}\x92.",
    "stack global": b"\x80\x04\x8c\x05posix\x8c\x06system\x93" + SHORT_COMMAND + b"\x85R.",
    "stack global, no mark": b"\x8c\x05posix\x8c\x06system\x93" + SHORT_COMMAND + b"\x85R.",
    "build": b"\x80\x02cbuiltins\nlist\n)\x81}X\x06\x00\x00\x00__init__" + SYSTEM + b"sb.",
    "extension 1": b"\x80\x02\x82\x01" + COMMAND + b"\x85R.",
    "extension 2": b"\x80\x02\x83\x01\x00" + COMMAND + b"\x85R.",
    "extension 4": b"\x80\x02\x84\x01\x00\x00\x00" + COMMAND + b"\x85R.",
    "extension, no mark": b"\x82\x01.",
    "frame, no mark": b"\x95\x20\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93"
    + SHORT_COMMAND
    + b"\x85R.",
    "persistent id": b"Pposix.system\n.",
    "binary persistent id": b"\x80\x02" + COMMAND + b"Q.",
    "nested": pickle.dumps([pickle.dumps(Bomb()), {"a": (Bomb(),)}]),
    "memo": b"\x80\x02" + SYSTEM + b"q\x00" + COMMAND + b"\x85Rq\x01h\x01.",
    "popped": SYSTEM + b"(S'touch PWNED'\ntR0N.",
    "with a rest behind it": SYSTEM + b"(S'touch PWNED'\ntR.\nand more text",
    "cut before its end": b"\x80\x04" + BOMB[2:-1],
    "dotted name": b"\x80\x04\x8c\x02os\x8c\x0bpath.os.abc\x93.",
    "builtins eval": b"cbuiltins\neval\n(S'1'\ntR.",
    "getattr": b"cbuiltins\ngetattr\n(cos\n__dict__\nS'system'\ntR.",
    "runpy": b"crunpy\n_run_code\n(S'1'\ntR.",
    "bytearray": b"\x96\x01\x00\x00\x00\x00\x00\x00\x00x.",
}

PICKLES: list[Case] = [
    *((f"pickle {p}", pickle.dumps({"a": Bomb()}, protocol=p), "Python pickle") for p in range(6)),
    *((f"bare pickle {p}", pickle.dumps(Bomb(), protocol=p), "Python pickle") for p in range(6)),
    *((f"pickle: {name}", data, "Python pickle") for name, data in STREAMS.items()),
    ("pickle list", pickle.dumps([1, 2], protocol=0), "Python pickle"),
    ("torch.save", made(lambda b: torch.save({"w": torch.zeros(2)}, b)), "PyTorch file"),
    (
        "old torch.save",
        made(lambda b: torch.save({"w": torch.zeros(2)}, b, _use_new_zipfile_serialization=False)),
        "Python pickle",
    ),
    ("joblib", made(lambda b: joblib.dump(OBJECTS, b)), "Python pickle"),
    ("joblib zlib", made(lambda b: joblib.dump(OBJECTS, b, compress=("zlib", 3))), "in which joblib keeps pickles"),
    ("joblib gzip", made(lambda b: joblib.dump(OBJECTS, b, compress=("gzip", 3))), "gzip"),
    ("joblib xz", made(lambda b: joblib.dump(OBJECTS, b, compress=("xz", 3))), "xz"),
    ("pickle in zip", zipped("archive/data.pkl", BOMB), "PyTorch file"),
    ("pickle in a deflated zip", zipped("x/data.pkl", BOMB, zipfile.ZIP_DEFLATED), "PyTorch file"),
    ("pickle in a zip in a zip", zipped("model.pt", zipped("data.pkl", BOMB)), "PyTorch file"),
    ("pickle in tar", tarred("data.pkl", BOMB), "tar archive"),
    ("pickle in gzip", gzip.compress(BOMB), "gzip"),
    ("pickle in bzip2", bz2.compress(BOMB), "bzip2"),
    ("pickle in xz", lzma.compress(BOMB), "xz"),
    ("pickle in lzma", lzma.compress(BOMB, lzma.FORMAT_ALONE), "lzma"),
    ("pickle in zlib", zlib.compress(BOMB), "zlib"),
    ("npy of objects", made(lambda b: np.save(b, OBJECTS, allow_pickle=True)), "NumPy array"),
    ("npz of objects", made(lambda b: np.savez(b, x=OBJECTS)), "npz"),
    ("pickle behind a length and a brace", struct.pack("<Q", 64) + b"{" + BOMB + bytes(64), "not a model made by"),
    ("pickle behind our own start", struct.pack("<Q", 300) + START + BOMB + bytes(300), "damaged"),
    (
        "pickle as the body of a tensor",
        planned(0, **{"m": torch.frombuffer(bytearray(BOMB), dtype=torch.uint8)}),
        "'m' is no module",
    ),
]

OTHERS: list[Case] = [
    ("zip", zipped("readme.txt"), "zip archive"),
    ("zip bomb", zipped("zeros", bytes(10**7), zipfile.ZIP_DEFLATED), "zip archive"),
    ("gzip bomb", gzip.compress(bytes(10**7)), "gzip"),
    ("npz", made(lambda b: np.savez(b, x=np.zeros(2))), "npz"),
    ("npz bomb", made(lambda b: np.savez_compressed(b, x=np.zeros(10**6))), "npz"),
    ("npy", made(lambda b: np.save(b, np.zeros(2))), "NumPy array"),
    ("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(40), "HDF5"),
    ("gzip", b"\x1f\x8b\x08" + bytes(20), "gzip"),
    ("zstandard", b"\x28\xb5\x2f\xfd" + bytes(20), "Zstandard"),
    ("lz4", b"\x04\x22\x4d\x18" + bytes(20), "LZ4"),
    ("onnx", b"\x08\x07\x12\x07pytorch\x1a\x052.1.0", "ONNX"),
    ("sqlite", b"SQLite format 3\0" + bytes(40), "SQLite"),
    ("html", b"\n<!DOCTYPE html><html>404</html>", "web page. The download may have failed"),
    ("html bom", b"\xef\xbb\xbf<html>", "web page"),
    ("html with a model behind it", b"<html>" + forge(), "web page"),
    ("pdf with a model behind it", b"%PDF-1.7\n" + forge(), "PDF"),
    ("elf with a model behind it", b"\x7fELF\x02\x01\x01" + bytes(9) + forge(), "a program"),
    ("windows program", b"MZ\x90\0" + bytes(60), "a program"),
    ("shell script", b"#!/bin/sh\ntouch PWNED\n", "a script"),
    ("picture with a model behind it", b"\x89PNG\r\n\x1a\n" + forge(), "an image"),
    ("lfs", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ("empty", b"", "empty"),
    ("zeros", bytes(5000), "nothing but zeros. The copy or download may have failed"),
    ("text", "a short note, é".encode(), "text (it starts with 'a short note"),
    ("words on lines", b"columns\nlength\nwidth\n", "text (it starts with 'columns"),
    ("json", b'{"a": 1}', "text"),
    ("yaml", b"!!python/object/apply:os.system ['touch PWNED']\n", "text"),
    ("python", b"import os\nos.system('touch PWNED')\n", "text"),
    ("binary", bytes(range(200, 255)), "unknown kind"),
    ("one byte", b"\x07", "unknown kind"),
    ("ansi text", b"\x1b[31mred", "unknown kind (it starts with '\\x1b[31mre"),
    ("plain safetensors", safetensors.torch.save({"a": torch.zeros(1)}), "not a model made by vaelab"),
]

FOREIGN = [*PICKLES, *OTHERS]

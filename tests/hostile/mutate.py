"""Mutations of a model file that know its structure: bytes, lengths, weights, and every node of header and document."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from typing import Any

from hostile.makers import ESCAPE
from vaelab.files.container import BLANK, DTYPES, START

BLANKED = slice(8 + len(START), 8 + len(START) + len(BLANK))


class Raw(str):
    """Text that is written into the JSON as it stands, which json.dumps would never write."""


LEAVES: list[object] = [
    *(None, True, False, 0, 1, 2, 3, -1, 8, 64, 2**31, 2**31 + 1, -(2**31), 2**63, 10**30, 1.5, -0.0, 1e308, 1e-320),
    *("", "relu", "network", "constant", "image", "real", "os.system", "__import__", ESCAPE, "x" * 300, "é"),
    *([], {}, [[]], [1], [8, 8], {"list": []}, {"dict": {"a": 1}}, {"modules": []}, {"named": {}}, {"custom": "Net"}),
    *({"shared": "model"}, {"shared": "model.posterior.network"}, {"tensor": "model.prior.unit"}, {"eval": "1"}),
    *map(Raw, ("NaN", "-Infinity", "1e999", "9" * 5000, "01", "tru", '"\\ud800"', "[" * 40 + "]" * 40, '"a":1', "")),
]
WORDS = ["part", "own", "custom", "arguments", "tensor", "shared", "shape", "dtype", "data_offsets", "format", "tree"]
WORDS += ["__metadata__", "model", "schema", "a.b", "", ESCAPE, "../x", "__class__", "hidden", "scale", "latent_dim"]
LENGTHS = [0, 1, 7, 8, len(START), 1000, 2**20, 2**20 + 1, 2**31, 2**32, 2**62, 2**63, 2**64 - 1]
FLOATS = [b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\x00\x00\x80\xff", b"\x01\x00\x00\x00", b"\xff\xff\x7f\x7f"]


def sealed(data: bytes) -> bytes:
    """Return the file with its digest made right again, where it has the place for one."""
    if len(data) < BLANKED.stop:
        return data
    new = bytearray(data)
    new[BLANKED] = BLANK.encode()
    new[BLANKED] = hashlib.sha256(new).hexdigest().encode()
    return bytes(new)


def parse(data: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """Return the entries of the header, the document without its digest, and the body."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    document = json.loads(header.pop("__metadata__")["vaelab"])
    del document["digest"]
    return header, document, data[end:]


def text(node: object) -> str:
    """Return JSON, with `Raw` nodes as they stand; an object may be a list of pairs, and so hold a key twice."""
    if isinstance(node, Raw):
        return str(node)
    if isinstance(node, dict):
        node = tuple(node.items())
    if isinstance(node, tuple):
        return "{" + ",".join(f"{json.dumps(key)}:{text(value)}" for key, value in node) + "}"
    return "[" + ",".join(map(text, node)) + "]" if isinstance(node, list) else json.dumps(node)


def assemble(entries: object, document: object, body: bytes) -> bytes:
    """Return the bytes of a file; its digest is blank."""
    said, listed = text(document), text(entries)[1:-1]
    said = '{"digest":"' + BLANK + '"' + ("," if said != "{}" else "") + said[1:]
    header = '{"__metadata__":{"vaelab":' + json.dumps(said) + "}" + ("," + listed if listed else "") + "}"
    raw = header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(raw)) + raw + body


def in_bytes(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """Change the file as a stream of bytes; `other` is a second file to splice with."""
    i, j = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    few = rng.choice([1, 1, 2, 4, 8, 100])
    new = bytearray(data)
    match rng.randrange(12):
        case 0 | 1:
            for _ in range(few):
                new[rng.randrange(len(new))] ^= 1 << rng.randrange(8)
        case 2:
            del new[i : i + few]
        case 3:
            new[i:i] = rng.choice([rng.randbytes(few), bytes(few), b"PK\3\4", b"\x80\x04.", data[i : i + few]])
        case 4:
            new[i : i + few] = new[j : j + few]
        case 5:
            del new[i:]
        case 6:
            new[:8] = struct.pack("<Q", rng.choice([*LENGTHS, len(data), len(data) - 8, rng.getrandbits(16)]))
        case 7:
            length = int.from_bytes(data[:8], "little")
            new[:8] = struct.pack("<Q", max(0, length + rng.choice([-8, -1, 1, 8, len(data) - length])))
        case 8:
            new[i:] = bytes(len(new) - i) if rng.random() < 0.5 else other[i:]
        case 9:
            new += rng.choice([data, other, bytes(few), rng.randbytes(few)])
        case _:  # a weight
            start = 8 + int.from_bytes(data[:8], "little")
            k = start + 4 * rng.randrange(max(1, (len(data) - start) // 4))
            new[k : k + 4] = rng.choice([*FLOATS, rng.randbytes(4)])
    return bytes(new)


def places(node: object) -> list[tuple[Any, Any]]:
    """Return (container, key) of every node below this one."""
    found: list[tuple[Any, Any]] = []
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        found += [(node, key), *places(value)]
    return found


def leaf(rng: random.Random, old: object, names: list[str]) -> object:
    """Return another value for a node: one near to it, one of its kind, or one from the list."""
    near: list[object] = []
    if isinstance(old, (int, float)) and not isinstance(old, bool):
        near = [old + 1, old - 1, -old, 2 * old, old * 10**9, float(old), str(old)]
    elif isinstance(old, str):
        near = [old[:-1], old + "x", old.upper(), rng.choice(names), rng.choice(list(DTYPES))]
    elif isinstance(old, list) and old:
        near = [old[1:], old[::-1], [*old, old[0]], old * 300, {"list": old}]
    elif isinstance(old, dict):
        near = [{}, [old], {"modules": [old]}, {"named": {"training": old}}, list(old.values())]
    return rng.choice(near) if near and rng.random() < 0.6 else rng.choice(LEAVES)


def in_json(rng: random.Random, data: bytes, names: list[str]) -> bytes:
    """Change one to three nodes of the header and the document."""
    entries, document, body = parse(data)
    whole = {"entries": entries, "document": document}
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        found = [place for place in places(whole) if place[0] is not whole]
        # as often in the tree, which has few nodes, as in all the rest
        tree = places(document.get("tree"))
        holder, key = rng.choice(tree if tree and rng.random() < 0.6 else found)
        value = holder[key]
        match rng.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice([*WORDS, *names])] = holder.pop(key)
            case 2 if isinstance(holder, dict):
                holder[rng.choice([*WORDS, *names])] = value
            case 3:
                other, there = rng.choice(found)
                if there in other if isinstance(other, dict) else there < len(other):
                    holder[key], other[there] = json.loads(json.dumps(other[there])), json.loads(json.dumps(value))
            case 4 if isinstance(value, dict) and value:
                twice = rng.choice(list(value))
                holder[key] = Raw(text(((twice, value[twice]), *value.items())))
                break  # no node of it can be found any more
            case _:
                holder[key] = leaf(rng, value, names)
                if isinstance(holder[key], Raw):
                    break
    return assemble(whole["entries"], whole["document"], body)

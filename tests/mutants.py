"""Mutate sound model files and load what comes out: `python tests/mutants.py --n 100000 --seed S`.

In a process of its own, under an audit hook, with 256 MB above what it has at the start and 2 s of CPU time a file.
Of each mutant, `load` and `inspect` must either raise one ModelFileError that can be printed on a line, or succeed:

    digest as it was       the file must be the original; every other is refused
    digest made right      what loads holds exactly the tensors of its bytes, all finite, in modules of this package and
                           torch.nn alone; it can be saved and loaded again with the same tensors and meta; and it
                           can be used, or its use is refused by a VaelabError

Prints how many came out in which way; exit 1 if any mutant did anything else, each with what it did.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from hostile.mutate import in_bytes, in_json, parse, sealed
from small_parts import REGISTRY, small_file
from vaelab import files
from vaelab import load as load_run
from vaelab.errors import ModelFileError, VaelabError
from vaelab.files.container import DTYPES
from vaelab.parts import registry
from watch import watched

GOLDEN = Path(__file__).parent / "golden"
SECONDS, MEGABYTES = 2.0, 256


class Wrong(Exception):
    """A mutant did what none may do."""


class Hang(BaseException):
    """A mutant took longer than it may."""


def samples(folder: Path) -> dict[str, bytes]:
    """Return sound files by name: two runs of the first release, and one of small parts."""
    torch.manual_seed(0)
    runs = {name: (GOLDEN / f"0.1.0-{name}.safetensors").read_bytes() for name in ("digits", "full")}
    return {**runs, "parts": small_file(folder / "parts")}


def bits(tensors: dict[str, torch.Tensor]) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return type, shape and bytes of each tensor."""
    return {
        name: (str(t.dtype), tuple(t.shape), t.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        for name, t in tensors.items()
    }


def held(data: bytes) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return what the bytes of a file hold, read here and not by the package."""
    entries, _, body = parse(data)
    return {
        name: (str(DTYPES[e["dtype"]]), tuple(e["shape"]), body[slice(*e["data_offsets"])])
        for name, e in entries.items()
    }


def check_message(error: ModelFileError, path: Path) -> None:
    """Refuse a message that is not one short, printable line about this file."""
    message = str(error)
    if not message.startswith(str(path)) or not message.isprintable() or len(message) > 400 + len(str(path)):
        raise Wrong(f"its message is {message!r}")


def open_it(path: Path, name: str) -> tuple[dict[str, torch.nn.Module], Any]:
    """Load a file as a user does."""
    if name == "parts":
        return files.load(path, registry=REGISTRY)
    run = load_run(path)
    return {"model": run.model, "schema": run.schema}, run


def check_loaded(modules: dict[str, torch.nn.Module], loaded: Any, data: bytes, path: Path, name: str) -> str:
    """Refuse a load that is no whole, finite model of this file; return what came of using it."""
    tensors = files.named_tensors(modules)
    if bits(tensors) != held(data):
        raise Wrong("its tensors are not those of the file")
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
        raise Wrong("it holds what is not finite")
    for root in modules.values():
        for module in root.modules():
            if type(module).__module__.partition(".")[0] not in ("vaelab", "torch", "small_parts"):
                raise Wrong(f"it holds a {type(module)}")
    meta, classes = (loaded, REGISTRY) if name == "parts" else (loaded.meta, registry())
    again = path.with_suffix(".again")
    files.save(again, modules, meta, registry=classes)
    same, its_meta = files.load(again, registry=classes)
    if bits(files.named_tensors(same)) != bits(tensors) or its_meta != meta:
        raise Wrong("it is another one when it is saved and loaded again")
    if name == "parts":
        return "loaded"
    try:
        if tuple(loaded.generate(2).shape) != (2, *loaded.schema.shape):
            raise Wrong("its rows have another shape than its schema says")
        loaded.model.terms(torch.zeros(1, *loaded.schema.model_shape))
    except VaelabError:
        return "loaded, its use refused"
    return "loaded and used"


def judge(data: bytes, original: bytes, path: Path, name: str) -> str:
    """Return what came of a mutant; raise Wrong for what must not come."""
    path.write_bytes(data)
    with watched() as done:
        try:
            json.dumps(files.inspect(path))
            seen = True
        except ModelFileError as error:
            check_message(error, path)
            seen = False
        try:
            modules, loaded = open_it(path, name)
        except ModelFileError as error:
            check_message(error, path)
            outcome = "refused inside" if seen else "refused"
        else:
            outcome = "same" if data == original else ""
    if done:
        raise Wrong(f"it did {done}")
    if not outcome:
        if sealed(data) != data:
            raise Wrong("it loads with a digest that does not hold")
        outcome = check_loaded(modules, loaded, data, path, name)
    return outcome


def limited() -> str:
    """Limit this process; return what is limited."""

    def stop(number: int, frame: object) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, stop)
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return f"{SECONDS:g} s a file; memory cannot be measured here"
    import resource

    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEGABYTES * 2**20, resource.RLIM_INFINITY))
    return f"{SECONDS:g} s a file, {MEGABYTES} MB above {now // 2**20:,} MB"


def main(n: int, seed: int, keep: Path | None) -> int:
    """Judge n mutants; print the counts as JSON; return the exit status."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "m.safetensors"
        sound = samples(Path(temporary))
        names = {
            name: [*parse(data)[0], *(REGISTRY if name == "parts" else registry())] for name, data in sound.items()
        }
        for name, data in sound.items():  # what is imported lazily is imported before it is watched
            path.write_bytes(data)
            check_loaded(*open_it(path, name), data, path, name)
            assert judge(data, data, path, name) == "same"
        limits = limited()
        while sum(counts.values()) < n:
            name = rng.choice(list(sound))
            data, level = sound[name], rng.choice(["bytes", "json"])
            other = sound[rng.choice(list(sound))]
            mutant = in_json(rng, data, names[name]) if level == "json" else in_bytes(rng, data, other)
            # the digest of an edited header is blank: most such files are of use only with it made right
            if rng.random() < (0.95 if level == "json" else 0.5):
                mutant, level = sealed(mutant), f"{level}, digest right"
            if mutant == data:
                continue
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                outcome = judge(mutant, data, path, name)
            except (Exception, Hang) as error:
                outcome = "WRONG"
                wrong.append(f"{name}, {level}: {type(error).__name__}: {str(error)[:300]}")
                if keep is not None:
                    (keep / f"{len(wrong)}-{name}").write_bytes(mutant)
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            counts[f"{level}: {outcome}"] += 1
    seconds = time.perf_counter() - began
    report = {"n": n, "seed": seed, "limits": limits, "seconds": round(seconds, 1)}
    print(json.dumps({**report, "counts": dict(sorted(counts.items())), "wrong": wrong[:20]}, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the mutants that did what none may do")
    given = parser.parse_args()
    sys.exit(main(given.n, given.seed, given.keep))

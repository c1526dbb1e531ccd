"""Speed beside pythae 0.1.2, the loop of PyTorch's examples, hand-written loops, JAX, and the floor of the machine.

    python benchmarks/speed.py steps [--batch 100] [--threads 1] [--rounds 15] [--pythae PYTHON] [--jax PYTHON]
    python benchmarks/speed.py evidence [--rounds 8]
    python benchmarks/speed.py start
    python benchmarks/speed.py bound [--work FOLDER]

Each contestant is a process of its own, in its own environment; they take turns, an epoch of some steps each, and what
is printed is the median over rounds of the ratio to ours in the same round. One model: 784-500-20-500-784, Bernoulli,
Adam. `floor` are the matrix products of a step by the faster of torch's libraries, Adam's traffic and the random
numbers, nothing else. With one thread times are of the processor, else of the clock. `bound` is long: see there.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PEERS = Path(__file__).resolve().parent / "peers"
SOURCE = PEERS.parent.parent / "src"
TORCH = ("compiled", "eager", "compiled16", "eager16", "floor", "fused", "adam", "loader")
OURS = ("compiled", "eager", "compiled16", "eager16", "floor", "evidence")
SAYS = {
    "compiled": "ours, compiled",
    "eager": "ours, eager",
    "compiled16": "ours, compiled, bfloat16",
    "eager16": "ours, eager, bfloat16",
    "floor": "floor",
    "fused": "hand-written loop, fused Adam",
    "adam": "hand-written loop, default Adam",
    "loader": "PyTorch's example, DataLoader",
    "pythae": "pythae 0.1.2",
    "jax": "JAX, lax.scan",
    "evidence": "ours, evaluate",
}


class Contestant:
    """A worker process that takes its turn when told to."""

    def __init__(
        self, python: str, script: str, kind: str, threads: int, batch: int, units: int, cache: str = ""
    ) -> None:
        ours = kind in OURS
        self.units = units  # steps, or rows, in a turn
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        environment["OMP_NUM_THREADS"] = str(threads)
        if threads == 1:
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        if ours:
            environment["PYTHONPATH"] = str(SOURCE)
        if cache:
            environment["TORCHINDUCTOR_CACHE_DIR"] = cache
        command = [python, str(PEERS / script), kind, *map(str, (threads, batch, units))]
        start = time.perf_counter()
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, env=environment, **pipes)
        assert self._line() == "ready", f"{command} did not start: run it by hand"
        self.started = time.perf_counter() - start

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def turn(self) -> float:
        """Return the seconds of one step, or row."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._line()) / self.units

    def end(self) -> float:
        """Return the peak memory in MB."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return float(self._line())


def interleaved(contestants: dict[str, Contestant], rounds: int) -> None:
    """Print a line for each; the first is what the ratios are of."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)
        for name in names[number % len(names) :] + names[: number % len(names)]:  # no one always follows the same
            times[name].append(contestants[name].turn())
    ours = next(iter(times.values()))
    for name, own in times.items():
        ratio = statistics.median(a / b for a, b in zip(own, ours))
        memory, start = contestants[name].end(), contestants[name].started
        print(f"| {SAYS[name]} | {statistics.median(own) * 1e3:.2f} | {ratio:.2f} | {start:.1f} | {memory:.0f} |")


def steps(a: argparse.Namespace) -> None:
    """Print the time of a step; that to the end of the second epoch; peak memory."""
    many = max(2, 4000 // a.batch)
    given = (a.threads, a.batch, many)
    contestants = {
        kind: Contestant(sys.executable, "torch_steps.py", kind, *given) for kind in a.only.split(",") if kind in TORCH
    }
    for kind, python in (("pythae", a.pythae), ("jax", a.jax)):
        if python is not None:
            contestants[kind] = Contestant(python, f"{kind}_steps.py", "steps", *given)
    print(f"batch of {a.batch}, {a.threads} thread(s), {a.rounds} rounds of {many} steps\n")
    print("| | ms a step | times ours, compiled | start-up, s | peak memory, MB |\n|---|---|---|---|---|")
    interleaved(contestants, a.rounds)


def evidence(a: argparse.Namespace) -> None:
    """Print the time of a row's evidence with 5,000 draws, and how far apart the values of the same draws are."""
    contestants = {"evidence": Contestant(sys.executable, "ours_evidence.py", "evidence", a.threads, 5000, 26)}
    contestants["pythae"] = Contestant(a.pythae, "pythae_steps.py", "evidence", a.threads, 5000, 4)
    print(f"5,000 draws, {a.threads} thread(s), {a.rounds} rounds\n")
    print("| | ms a row | times ours | start-up, s | peak memory, MB |\n|---|---|---|---|---|")
    interleaved(contestants, a.rounds)
    with tempfile.TemporaryDirectory() as folder:
        values = []
        for python, script in ((sys.executable, "ours_evidence.py"), (a.pythae, "pythae_steps.py")):
            command = [python, str(PEERS / script), "value", "1", "1000", "7", folder]
            environment = {**os.environ, "PYTHONPATH": str(SOURCE) if python == sys.executable else ""}
            done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
            values.append(json.loads(done.stdout))
    apart = max(abs(ours - theirs) / abs(theirs) for ours, theirs in zip(*values))
    print(f"\nsame weights, rows and draws in float64, 1,000 draws, 7 rows: apart by {apart:.1g} (relative)")


def start(a: argparse.Namespace) -> None:
    """Print the seconds from the start of a process to the end of its second step: as it stands, compiled, again."""
    with tempfile.TemporaryDirectory() as cache:
        for name, kind in {"eager": "eager", "compiled": "compiled", "compiled again": "compiled"}.items():
            one = Contestant(sys.executable, "torch_steps.py", kind, a.threads, a.batch, 1, cache)
            print(f"| {name} | {one.started:.1f} |", flush=True)
            one.end()


def bound(a: argparse.Namespace) -> None:
    """Print the time to the validation bound that pythae reaches in 20 passes with the best of three rates.

    MNIST with the published binarisation (VAELAB_DATA), 54,000 rows to train on, 6,000 to judge by; times of the
    processor, of the whole process for ours, of the training call for pythae. Takes a quarter of an hour.
    """
    import quality

    work = Path(a.work)
    work.mkdir(parents=True, exist_ok=True)
    quality.prepared(work)
    (work / "sizes.json").write_text(json.dumps([500, 20, 50, 500]))
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}
    theirs = []
    for rate in quality.RATES:
        command = [a.pythae, str(PEERS / "pythae_mnist.py"), str(work), "vae", str(rate), "0", "20"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=clean)
        theirs.append({"rate": rate, **json.loads(done.stdout.strip().splitlines()[-1])})
        print("pythae", theirs[-1], flush=True)
    best = max(theirs, key=lambda made: made["validation"])
    for seed in range(3):
        command = [sys.executable, str(PEERS / "ours_bound.py"), str(work), str(best["validation"]), str(seed)]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=clean | {"PYTHONPATH": str(SOURCE)}
        )
        ours = json.loads(done.stdout)
        print(f"ours, seed {seed}:", ours, f"ratio {ours['seconds'] / best['seconds']:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("steps", "evidence", "start", "bound"))
    for option, value in {"batch": 100, "threads": 1, "rounds": 15}.items():
        parser.add_argument(f"--{option}", type=int, default=value)
    parser.add_argument("--only", default=",".join(TORCH), help="which of ours and of the loops in PyTorch")
    parser.add_argument("--pythae", help="the Python of an environment with torch==2.13.0 and pythae==0.1.2")
    parser.add_argument("--jax", help="the Python of an environment with jax")
    parser.add_argument("--work", default="build/speed", help="where `bound` keeps its rows")
    a = parser.parse_args()
    {"steps": steps, "evidence": evidence, "start": start, "bound": bound}[a.what](a)


if __name__ == "__main__":
    main()

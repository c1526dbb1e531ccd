"""Train on a table that is larger than the memory it may take: python benchmarks/large_table.py

Makes a parquet table (10,000,000 rows of 32 columns, 2.6 GB of numbers) in a scratch folder, and trains on it for one
pass from the cache on the disk; then, interleaved, on a smaller one from the disk and in memory. Prints the peak memory
of each process (its own, by the kernel) and the rows per second of processor time that training took, with what the
loop does beside it (validation); reading, and writing the cache, are timed apart.
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

COLUMNS, FACTORS, PART = 32, 8, 500_000
BATCH = 500


def make(path: Path, rows: int) -> None:
    """Write rows x = W z + 0.3 e, W fixed, z of 8 dimensions; part by part."""
    import numpy as np
    import polars as pl

    draw = np.random.default_rng(0)
    w = draw.normal(size=(FACTORS, COLUMNS))
    with tempfile.TemporaryDirectory(dir=path.parent) as place:
        for number, start in enumerate(range(0, rows, PART)):
            n = min(PART, rows - start)
            x = draw.normal(size=(n, FACTORS)) @ w + 0.3 * draw.normal(size=(n, COLUMNS))
            pl.DataFrame({f"c{i}": x[:, i] for i in range(COLUMNS)}).write_parquet(f"{place}/{number:05}.parquet")
        pl.scan_parquet(f"{place}/*.parquet").sink_parquet(path, row_group_size=PART)


def child(source: str, cache: str) -> None:
    """Train one pass; print what it took."""
    import torch

    import vaelab

    torch.set_num_threads(1)
    begun = time.process_time()
    plan = vaelab.plan_run(
        source, cache=cache, hidden="64", latent_dim=8, batch_size=BATCH, epochs=1, threads=1, decay="none"
    )
    planned = time.process_time()
    run = plan.run()
    trained = time.process_time()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    rows = len(plan.splits.train)
    said = {
        "rows": rows,
        "read": planned - begun,
        "train": trained - planned,
        "rows_per_second": rows / (trained - planned),
        "peak": int(status["VmHWM"].split()[0]) * 1024,
        "elbo": run.history.best["elbo"],
    }
    print(json.dumps(said))


def measured(source: Path, cache: str) -> dict[str, float]:
    """Run `child` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
    command = [sys.executable, __file__, "--child", str(source), cache]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    said = json.loads(done.stdout)
    where = "memory" if cache == "off" else "disk"
    print(
        f"{source.name:12} {where:7} {said['rows']:>11,.0f} rows   peak {said['peak'] / 1e9:5.2f} GB   "
        f"read {said['read']:5.1f} s   train {said['train']:6.1f} s   {said['rows_per_second']:>9,.0f} rows/s   "
        f"ELBO {said['elbo']:.3f}",
        flush=True,
    )
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--slice", type=int, default=1_000_000, help="rows of the comparison with memory")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", default=None, help="where the tables and caches go (default: a scratch folder)")
    parser.add_argument("--child", nargs=2, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return child(*asked.child)
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        folder = Path(place)
        make(folder / "all.parquet", asked.rows)
        make(folder / "slice.parquet", asked.slice)
        if asked.rows > asked.slice:
            measured(folder / "all.parquet", str(folder / "cache"))
        ratios = []
        for _ in range(asked.pairs):
            disk = measured(folder / "slice.parquet", str(folder / "cache"))
            memory = measured(folder / "slice.parquet", "off")
            ratios.append(disk["rows_per_second"] / memory["rows_per_second"])
        shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"rows per second, disk over memory: median {statistics.median(ratios):.3f} of {shown}")
    return None


if __name__ == "__main__":
    main()

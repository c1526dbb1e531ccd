"""The explorer measured: load of 64 clients, pointer to picture, panning, first paint, sizes of exported pages.

    python benchmarks/explorer.py [--seconds 15]

Prints a table in Markdown (docs/benchmarks.md has one). Needs Chromium and playwright for all but the load.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import time
from collections import Counter
from threading import Thread
from typing import Any

import httpx
import numpy as np
import torch

from vaelab import recipes
from vaelab.data import Dataset, Schema
from vaelab.experiments.live import LIVE
from vaelab.run import Run
from vaelab.web import Server
from vaelab.web.explored import Explored
from vaelab.web.explorer import application
from vaelab.web.onefile import page_of
from vaelab.web.program import decoder_parameters

CLIENTS = 64


def explored(side: int, latents: int, rows: int, **parts: Any) -> Explored:
    """Return an untrained model of grey images with rows of noise: speed does not know what was learned."""
    torch.manual_seed(0)
    model, _ = recipes.vae((1, side, side), latents, **parts)
    schema = Schema(name="noise", layout="image", shape=(side, side), values="integer", low=0, high=255)
    pixels = np.random.default_rng(0).integers(0, 256, (rows, side, side), dtype=np.uint8)
    data = Dataset(torch.from_numpy(pixels), schema) if rows else None
    return Explored(Run(model.eval(), schema, {}, splits={"validation": data} if data else {}))


class Served:
    """A server of a page, until it is closed."""

    def __init__(self, page: Explored) -> None:
        self.server = Server(application(page))
        self.thread = Thread(target=self.server.run)
        self.thread.start()
        self.base = f"http://127.0.0.1:{self.server.start.port}"

    def close(self) -> float:
        """Stop, and return how long that takes, in seconds."""
        start = time.perf_counter()
        self.server.stop()
        self.thread.join()
        return time.perf_counter() - start


async def load(served: Served, latents: int, seconds: float) -> tuple[Counter[int], list[float], int]:
    """Ask from 64 clients at once; return how often each status came, the waits of answers, and strays.

    A stray is a 503 without Retry-After, or an error of the connection.
    """
    statuses: Counter[int] = Counter()
    waits: list[float] = []
    strays = 0
    end = time.perf_counter() + seconds
    headers = {"x-vaelab-token": served.server.start.token}
    limits = httpx.Limits(max_connections=CLIENTS)

    async def client(number: int) -> None:
        nonlocal strays
        random = np.random.default_rng(number)
        async with httpx.AsyncClient(base_url=served.base, headers=headers, trust_env=False, limits=limits) as http:
            while time.perf_counter() < end:
                start = time.perf_counter()
                try:
                    if random.random() < 0.2:
                        answer = await http.get("/api/run", timeout=30)
                    else:
                        z = random.normal(size=latents).tolist()
                        answer = await http.post("/api/decode", json={"z": z}, timeout=30)
                except httpx.HTTPError:
                    strays += 1
                    continue
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    waits.append(time.perf_counter() - start)
                elif answer.status_code != 503 or "retry-after" not in answer.headers:
                    strays += 1
                else:
                    await asyncio.sleep(0.05)

    await asyncio.gather(*(client(i) for i in range(CLIENTS)))
    return statuses, waits, strays


def memory() -> float:
    """Return the memory of this process now, MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def measure_load(seconds: float) -> list[tuple[str, str]]:
    served = Served(explored(28, 10, 500, hidden=(500,)))
    for _ in range(2):  # until the allocator has what 64 clients, which are made anew, leave to it
        asyncio.run(load(served, 10, seconds))
    before = memory()
    statuses, waits, strays = asyncio.run(load(served, 10, seconds))
    grown, stopped = memory() - before, served.close()
    total = sum(statuses.values())
    told = ", ".join(f"{n:,} times {status}" for status, n in sorted(statuses.items()))
    return [
        (f"{CLIENTS} clients for {seconds:g} s", f"{total:,} answers: {told}; {strays} strays"),
        (
            "answers of 200, median and 95 %",
            f"{1e3 * statistics.median(waits):.0f} ms, {1e3 * np.quantile(waits, 0.95):.0f} ms",
        ),
        ("growth of memory meanwhile (clients included)", f"{grown:.0f} MB"),
        ("stop", f"{stopped:.2f} s"),
    ]


HOVER = """async () => {
  const map = document.getElementById('map'), box = map.getBoundingClientRect(), waits = [];
  for (let i = 0; i < 60; i++) {
    performance.clearMarks('hover-shown');
    const start = performance.now();
    const to = { clientX: box.left + 60 + 5 * i, clientY: box.top + 90 + 3 * i };
    map.dispatchEvent(new PointerEvent('pointermove', to));
    while (!performance.getEntriesByName('hover-shown').length) await new Promise((go) => setTimeout(go));
    waits.push(performance.getEntriesByName('hover-shown')[0].startTime - start);
  }
  return waits;
}"""
PAN = """async () => {
  const map = document.getElementById('map'), box = map.getBoundingClientRect(), frames = [];
  const at = (type, x) => map.dispatchEvent(new PointerEvent(type, { clientX: x, clientY: box.top + 200, shiftKey: true,
    bubbles: true, pointerId: 1, isPrimary: true }));
  map.setPointerCapture = () => {};
  at('pointerdown', box.left + 100);
  for (let i = 0; i < 90; i++) {
    const start = performance.now();
    at('pointermove', box.left + 100 + 2 * i);
    await new Promise(requestAnimationFrame);
    await new Promise((go) => setTimeout(go));
    frames.push(performance.now() - start);
  }
  at('pointerup', box.left + 300);
  return frames;
}"""
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"


def measure_browser() -> list[tuple[str, str]]:
    from playwright.sync_api import sync_playwright

    rows = []
    conv = {"network": "conv:width=32", "hidden": ()}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for what, page_of_run in (
            ("64x64, 500 units", explored(64, 10, 200, hidden=(500,))),
            ("64x64, convolutions", explored(64, 10, 200, **conv)),
        ):
            served = Served(page_of_run)
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            ready(page, served.server.start.address)
            waits = page.evaluate(HOVER)
            rows.append(
                (
                    f"pointer to picture, {what}: median, 95 %",
                    f"{statistics.median(waits):.0f} ms, {np.quantile(waits, 0.95):.0f} ms",
                )
            )
            page.close()
            served.close()
        served = Served(explored(8, 2, 20_000, hidden=(20,)))
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        ready(page, served.server.start.address)
        rows.append(("first paint, 20,000 points", f"{page.evaluate(PAINT):.0f} ms"))
        frames = page.evaluate(PAN)
        rows.append(
            (
                "a frame while panning 20,000 points: median, 95 %",
                f"{statistics.median(frames):.0f} ms, {np.quantile(frames, 0.95):.0f} ms",
            )
        )
        page.close()
        served.close()
        browser.close()
    return rows


def ready(page: Any, address: str) -> None:
    page.goto(address)
    while not page.evaluate(
        "document.documentElement.dataset.ready === 'yes' && !!document.querySelector('#draws canvas')"
    ):
        page.wait_for_timeout(20)


def measure_sizes() -> list[tuple[str, str]]:
    rows = []
    for what, parts in (("500 units", {"hidden": (500,)}), ("convolutions", {"hidden": (), "network": "conv"})):
        page = explored(28, 20, 0, **parts)
        weights, size = sum(p.numel() for p in decoder_parameters(page.run.model)), len(page_of(page))
        rows.append(
            (f"exported page, 28x28, {what}", f"{size:,} bytes, {weights:,} weights: {size / weights:.2f} a weight")
        )
    return rows


def measure_live() -> list[tuple[str, str]]:
    """Return the slowest answer of the nineteen live experiments, by the clock: the first of each, then the second."""
    waits: list[list[float]] = []
    for card in sorted(LIVE):
        waits.append([])
        for _ in range(2):
            start = time.perf_counter()
            LIVE[card]()
            waits[-1].append(time.perf_counter() - start)
    first, again = (max(pair[i] for pair in waits) for i in (0, 1))
    return [(f"{len(waits)} live experiments: slowest first answer, slowest second", f"{first:.2f} s, {again:.2f} s")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15.0)
    asked = parser.parse_args()
    print("| what | measured |\n|---|---|")
    for measured in (measure_live, lambda: measure_load(asked.seconds), measure_browser, measure_sizes):
        for name, value in measured():
            print(f"| {name} | {value} |", flush=True)


if __name__ == "__main__":
    main()

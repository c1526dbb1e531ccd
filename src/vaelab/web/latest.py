"""One computation at a time; of those that wait for it, the newest of a kind goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .guard import RETRY, Refused

T = TypeVar("T")


class Latest:
    """A worker of one thread, so that the model is never used twice at once and the machine keeps its other cores.

    A pointer that moves asks faster than a decoder answers. A request that waits is therefore given up (503) as soon
    as another of its kind arrives: what is computed is never more than one behind what is asked.
    """

    def __init__(self) -> None:
        self.worker = ThreadPoolExecutor(1, "vaelab")
        self.free = asyncio.Lock()
        self.waiting: dict[str, asyncio.Future[None]] = {}

    async def run(self, kind: str, work: Callable[[], T]) -> T:
        """Return what `work` does, in the worker. Raises Refused (503) if a newer request of this kind takes over."""
        if (older := self.waiting.pop(kind, None)) is not None and not older.done():
            older.set_exception(Refused(503, "a newer request took the place of this one", RETRY))
        turn = self.waiting[kind] = asyncio.get_running_loop().create_future()
        get = asyncio.ensure_future(self.free.acquire())
        try:
            await asyncio.wait({get, turn}, return_when=asyncio.FIRST_COMPLETED)
            if turn.done():
                turn.result()
            await get
            if self.waiting.get(kind) is turn:
                del self.waiting[kind]
            # shielded: a client that leaves does not free the worker, which is still at it
            return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self.worker, work))
        finally:
            if not get.done():
                get.cancel()
            elif not get.cancelled():
                self.free.release()

    def close(self) -> None:
        """Begin nothing more."""
        self.worker.shutdown(wait=False, cancel_futures=True)

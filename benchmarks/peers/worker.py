"""One contestant of `benchmarks/speed.py`, in the Python of its own environment.

Each line on stdin asks for one epoch (or one call); the answer on stdout is its seconds: of the processor with one
thread, else of the clock. The first is not asked for: it warms up.
"""

import resource
import sys
import time

WIDTHS = (784, 500, 20)  # pixels, hidden, latent; and back


def serve(turn, threads, warm=2):
    """Answer requests until stdin ends."""
    clock = time.process_time if threads == 1 else time.perf_counter
    for _ in range(warm):
        turn()
    print("ready", flush=True)
    for _ in sys.stdin:
        start = clock()
        turn()
        print(clock() - start, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


def pixels(rows):
    """Return rows of 0 and 1, of the density of written digits."""
    import numpy as np

    return (np.random.default_rng(0).random((rows, WIDTHS[0])) < 0.13).astype(np.float32)

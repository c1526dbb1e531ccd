"""Train ours with its defaults until its validation bound is that of pythae: `python ours_bound.py FOLDER BOUND SEED`

Prints the seconds of the processor from the start of this process, imports and compiling by child processes included.
"""

import json
import resource
import sys

import numpy as np

from vaelab import plan_run


class Reached(Exception):
    """The bound was reached."""


folder, bound, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])


def seconds():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def look(record, history):
    print(f"epoch {record['epoch']}: {record['elbo']:.3f} after {seconds():.1f} s", file=sys.stderr, flush=True)
    if record["elbo"] >= bound:
        made = {"epoch": record["epoch"], "bound": record["elbo"], "seconds": seconds(), "compiled": history.compiled}
        print(json.dumps(made))
        raise Reached


rows = np.load(f"{folder}/train.npy")
options = {"validation": f"{folder}/validation.npy", "latent_dim": 20, "hidden": "500", "threads": 1, "seed": seed}
try:
    plan_run(rows, **options).run(look)
except Reached:
    pass
else:
    print(json.dumps({"reached": False, "seconds": seconds()}))

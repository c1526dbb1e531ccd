"""Synthetic rows by CTGAN or TVAE of the package ctgan, as they come; run by its own Python, see benchmarks/tables.py.

    python ctgan_rows.py TVAE|CTGAN TRAIN.csv OUT.csv SEED [EPOCHS]

Prints the seconds of processor time that training took.
"""

import sys
import time

import numpy as np
import pandas as pd
import torch
from ctgan import CTGAN, TVAE


def main() -> None:
    """Train on one file and write as many rows to another."""
    name, source, target, seed, *epochs = sys.argv[1:]
    torch.set_num_threads(1)
    np.random.seed(int(seed))
    torch.manual_seed(int(seed))
    rows = pd.read_csv(source, keep_default_na=False)
    words = [column for column in rows if not pd.api.types.is_numeric_dtype(rows[column])]
    settings = {"epochs": int(epochs[0])} if epochs else {}
    model = {"TVAE": TVAE, "CTGAN": CTGAN}[name](**settings)
    began = time.process_time()
    model.fit(rows, words)
    print(time.process_time() - began)
    model.sample(len(rows)).to_csv(target, index=False)


if __name__ == "__main__":
    main()

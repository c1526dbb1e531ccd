"""Gaps of a table filled by HyperImpute as it comes; run by its own Python, see benchmarks/tables.py.

    python hyperimpute_fill.py IN.csv OUT.csv SEED

Words become numbers in order of the alphabet and are rounded back, since the package takes numbers alone.
"""

import sys
import warnings

import numpy as np
import pandas as pd
import torch
from hyperimpute.plugins.imputers import Imputers


def main() -> None:
    """Read one file and write the other."""
    source, target, seed = sys.argv[1:]
    if int(pd.__version__.partition(".")[0]) > 2:
        sys.exit("HyperImpute 0.1.17 writes into copies under pandas 3, and so gives back the mean: install pandas<3.")
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    np.random.seed(int(seed))
    torch.manual_seed(int(seed))
    rows = pd.read_csv(source)
    texts = [name for name in rows if not pd.api.types.is_numeric_dtype(rows[name])]
    words = {name: sorted(rows[name].dropna().unique()) for name in texts}
    codes = rows.copy()
    for name, known in words.items():
        codes[name] = rows[name].map({word: float(i) for i, word in enumerate(known)}).astype(float)
    filled = Imputers().get("hyperimpute", random_state=int(seed)).fit_transform(codes.copy())
    filled = pd.DataFrame(np.asarray(filled), columns=rows.columns)
    for name, known in words.items():
        places = filled[name].astype(float).round().clip(0, len(known) - 1).astype(int)
        filled[name] = [known[i] for i in places]
    filled.to_csv(target, index=False)


if __name__ == "__main__":
    main()

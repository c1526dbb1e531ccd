"""Training and inference keep the memory that they free; a process that only imports the library stays as it is."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
import torch
import vaelab
from vaelab.part import inference
if "inference" in sys.argv:
    with inference(torch.nn.Linear(1, 1)):
        pass
if "train" in sys.argv:
    vaelab.train(np.eye(20, 3), epochs=1, hidden="", latent_dim=1, compile="off", progress="off")
def faults():
    for _ in range(20):
        [np.ones(2**20) for _ in range(3)]  # 8 MB each: freed together, at the top of the heap
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
first = faults()
print(faults() - first)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_is_freed_is_not_mapped_anew() -> None:
    def faults(*arguments: str, **more: str) -> int:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
        command = [sys.executable, "-c", SCRIPT, *arguments]
        return int(subprocess.run(command, capture_output=True, text=True, check=True, env=clean | more).stdout)

    plain = faults()
    assert faults("inference") < plain / 10
    assert faults("train") < plain / 10
    assert faults("inference", MALLOC_MMAP_THRESHOLD_="131072") > plain / 10, "the user's own setting stands"

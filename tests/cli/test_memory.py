"""The command keeps the memory that it frees; the library leaves the process as it is."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from vaelab import cli
if "keep" in sys.argv:
    cli._keep_freed_memory()
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

    kept, plain = faults("keep"), faults()
    assert kept < 1000
    assert plain > 10 * kept
    assert faults("keep", MALLOC_MMAP_THRESHOLD_="131072") > 10 * kept, "the user's own setting stands"

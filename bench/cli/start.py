"""How long commands take to start: whole processes, medians of 21.

usage: python bench/cli/start.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

CUSTODY = Path(sys.executable).with_name("custody")


def milliseconds(*arguments: str) -> float:
    runs = []
    for _ in range(21):
        began = time.perf_counter()
        subprocess.run([CUSTODY, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        runs.append((time.perf_counter() - began) * 1000)
    return statistics.median(runs)


print("| command | ms |\n|---|---|")
for line in ("--help", "--version", "verify --help", "scan --help", "check --help", "up --help"):
    print(f"| `custody {line}` | {milliseconds(*line.split()):.0f} |")

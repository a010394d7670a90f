"""Draws latency against offered load: `python -m benchmarks.peers.plot bench-peers.json docs/load.png`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt

OURS: Final = {"digits": "solid", "digits, the peers' network": "dotted"}  # black lines
MAX_LATENCY: Final = 1000.0  # ms


def main() -> None:
    """Read the results, and write the figure."""
    source, target = map(Path, sys.argv[1:])
    results: dict[str, Any] = json.loads(source.read_text())
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for name, result in results.items():
        points = [load for load in result["load"] if (load["p99_ms"] or MAX_LATENCY) < MAX_LATENCY]
        axes.plot(
            [load["offered"] for load in points],
            [load["p99_ms"] for load in points],
            label=name if points else f"{name}: fewer than 100",  # requests a second, the lowest offered load
            color="black" if name in OURS else None,
            linestyle=OURS.get(name, "solid"),
            linewidth=2.5 if name in OURS else 1.2,
            marker="o",
            markersize=3,
        )
    axes.set(yscale="log", ylim=(1, MAX_LATENCY), xlabel="requests offered a second")
    axes.set_ylabel("milliseconds within which 99 % were answered")
    axes.set_xlim(left=0)
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main()

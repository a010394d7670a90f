"""Latency against offered load: `python -m benchmarks.peers.plot bench-peers.json docs/load.png`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.pyplot as plt

OURS: Final = {"digits": "black", "digits, the peers' network": "dimgrey"}
MIN_RATE: Final = 100  # requests a second, the fewest that are offered
END: Final = 1000.0  # ms: what waits for longer is off the plot


def main() -> None:
    """Read the figures and write the picture."""
    source, target = map(Path, sys.argv[1:])
    found: dict[str, Any] = json.loads(source.read_text())
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    for name, measured in found.items():
        points = [one for one in measured["load"] if (one["p99_ms"] or END) < END]
        axes.plot(
            [one["offered"] for one in points],
            [one["p99_ms"] for one in points],
            label=name if points else f"{name}: fewer than {MIN_RATE}",
            color=OURS.get(name),  # the others as they come
            linewidth=2.5 if name in OURS else 1.2,
            marker="o",
            markersize=3,
        )
    axes.set_yscale("log")
    axes.set_ylim(1, END)
    axes.set_xlim(0)
    axes.set_xlabel("requests offered a second")
    axes.set_ylabel("milliseconds within which 99 % were answered")
    axes.grid(visible=True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(target, dpi=110)


if __name__ == "__main__":
    main()

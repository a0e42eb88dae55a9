"""Draws ratios.png and growth.png from the results.json that peers.py left in a folder.

    python3 peers_plots.py FOLDER
"""
import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from peers import LIMITS, best_peer, floor, ratio  # noqa: E402


def draw_ratios(report, path):
    """Per goal against a peer: by how much maa is faster (best and median), and the goal."""
    rows = []
    for result in report["cases"]:
        for goal in result["goals"]:
            peer = None if goal["against"] in LIMITS or "missing" in result else best_peer(result, goal["against"])
            if peer is not None:
                rows.append((f"{result['title']}\n{peer['label']}", *ratio(peer), goal["factor"]))
    if not rows:
        return
    rows.reverse()
    names, best, median, goals = zip(*rows)
    places = range(len(rows))
    figure, axes = plt.subplots(figsize=(9, 1 + 0.55 * len(rows)), layout="constrained")
    axes.barh(places, best, color=["#3a7d44" if b >= g else "#c8553d" for b, g in zip(best, goals)], height=0.6)
    axes.plot(median, places, "k|", markersize=12, label="by the medians")
    axes.plot(goals, places, "D", color="#1f3a5f", markersize=6, label="goal")
    axes.axvline(1, color="gray", linewidth=0.8)
    axes.set_xscale("log")
    ticks = [tick for tick in (1, 2, 3, 5, 10, 20, 50, 100) if tick <= 1.2 * max(*best, *goals)]
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()
    axes.set_yticks(list(places), names, fontsize=8)
    axes.set_xlabel("times faster than the peer" + (" (noisy machine)" if report["noisy"] else ""))
    axes.legend(loc="lower right", fontsize=8)
    figure.savefig(path, dpi=130)


def draw_growth(report, path):
    growth = report["growth"]
    if not growth:
        return
    figure, panels = plt.subplots(1, 3, figsize=(14, 4.5), layout="constrained")
    titles = {"batch": f"one pass of the {growth['model']} UNet, 2 threads", "threads": "the same, 100 samples",
              "size": "10-step sampling of 100 policies, 2 threads"}
    labels = {"batch": "batch", "threads": "threads", "size": "model"}
    for axes, kind in zip(panels, ("batch", "threads", "size")):
        results = growth[kind]
        text = [result["title"].removeprefix("B = ") for result in results]
        places = [int(t) for t in text] if kind != "size" else list(range(len(text)))
        axes.plot(places, [min(r["maa"]) for r in results], "o-", color="#3a7d44", label="maa")
        for label, color in zip(sorted({p["label"] for r in results for p in r["peers"]}), ("#c8553d", "#e0a458")):
            points = [(place, min(peer["seconds"])) for place, result in zip(places, results)
                      for peer in result["peers"] if peer["label"] == label and "seconds" in peer]
            axes.plot(*zip(*points), "s-", color=color, label=label)
        axes.plot(places, [floor(r) for r in results], "--", color="#1f3a5f", label="floor: the machine's limits")
        axes.set_yscale("log")
        if kind == "batch":
            axes.set_xscale("log", base=2)
        axes.set_xticks(places, text)
        axes.set_title(titles[kind], fontsize=10)
        axes.set_xlabel(labels[kind])
        axes.set_ylabel("seconds, best")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=130)


def main():
    folder = pathlib.Path(sys.argv[1])
    report = json.loads((folder / "results.json").read_text())
    draw_ratios(report, folder / "ratios.png")
    draw_growth(report, folder / "growth.png")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Checks that a quick-start's results.json is valid and complete: check_results.py RESULTS.JSON

The report's reader checks every value; here, that every task was measured with every method.
"""
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "quickstart"))
from report_files import GENERATED, SPLITS, ReportError, Results, need

LEAST_TASKS = {"seen": 5, "unseen": 2}
LEAST_BASELINES = 6  # nearest, mean of the k nearest, nearest plus noise, cloning from two starts, untrained


def check(path):
    results = Results(path)
    for name in ("seeds", "versions", "wall_seconds"):
        need(getattr(results, name), path, name, "at least one entry", "none")
    need(GENERATED in results.compared and len(results.compared) > LEAST_BASELINES, path, "methods",
         f"{GENERATED} and at least {LEAST_BASELINES} baselines", results.compared)
    need(results.references, path, "methods", "the zoo's own rate", results.methods)
    for split in SPLITS:
        tasks = results.tasks[split]
        need(len(tasks) >= LEAST_TASKS[split], path, f"tasks.{split}", f"at least {LEAST_TASKS[split]}", tasks)
        for task in [*tasks, "mean"]:
            for method in results.compared:
                need(results.row(task, split, method), path, "rows", f"a row for {task}, {split}, {method}", "none")
    for key, row in results.rows.items():
        low, high = row["ci95"]
        need(low - 1e-9 <= row["qualified"] <= high + 1e-9, path, f"row {key}, ci95",
             f"an interval around {row['qualified']}", row["ci95"])
    print(f"{path}: valid, {len(results.rows)} rows, methods: {', '.join(results.methods)}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    try:
        check(Path(sys.argv[1]))
    except ReportError as error:
        sys.exit(str(error))

#!/usr/bin/env python3
"""Checks that a study's results.json is valid and complete: check_results.py RESULTS.JSON

The report's reader checks every value; here, that every task was measured with every method, and that figures agree
with each other.
"""
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "examples" / "study"))
from report_files import DEMONSTRATORS, GENERATED, RATES, SPLITS, STEPS, ReportError, Results, need

LEAST_TASKS = {"seen": 2, "new_run": 0, "unseen": 1}
BASELINES = ("nearest training policy", "nearest by action", "nearest + head", "mean of 5 nearest", "nearest + noise",
             "zoo mean + head", "no condition + head", "multi-task cloning", "cloned from random start",
             "cloned from zoo mean", "untrained policy")
SELECTED = ("top5", "top10")  # by selection scenes: of generated policies only
ROUNDING = 1e-9


def check(path):
    results = Results(path)
    for name in ("seeds", "versions", "wall_seconds"):
        need(getattr(results, name), path, name, "at least one entry", "none")
    demonstrator = [method for method in DEMONSTRATORS if method in results.methods][:1] or DEMONSTRATORS[:1]
    missing = [method for method in (GENERATED, *BASELINES, "zoo (ceiling)", *demonstrator) if method not in results.methods]
    need(not missing, path, "methods", f"also {', '.join(missing)}", results.methods)
    known = results.tasks["seen"] + results.tasks["unseen"]
    known += results.extra + results.validation
    need(len(set(known)) == len(known), path, "tasks", "each task in one of seen, unseen, extra, validation", known)
    groups = [{(each["task"], each["split"]) for each in results.demonstrators if each["left_out"] is left_out}
              for left_out in (True, False)]
    not_shown = groups[0] - groups[1]  # by any run
    for split in SPLITS:
        tasks = results.tasks[split]
        need(len(tasks) >= LEAST_TASKS[split], path, f"tasks.{split}", f"at least {LEAST_TASKS[split]}", tasks)
        tasks = [task for task in tasks if (task, split) not in not_shown]
        for task in [*tasks, "mean"] if tasks else []:
            for method in (*results.compared, *demonstrator):
                need(results.row(task, split, method), path, "rows", f"a row for {task}, {split}, {method}", "none")
    for key, row in results.rows.items():
        low, high = row["ci95"]
        rate, where = row["qualified"], f"row {key}"
        need(low - ROUNDING <= rate <= high + ROUNDING, path, f"{where}, ci95", f"an interval around {rate}",
             row["ci95"])
        for name in (*RATES, STEPS):
            left_out = (name in SELECTED and key[2] != GENERATED) or (name == STEPS and row["mean_success"] == 0)
            need(name in row or left_out, path, where, f"the figure {name}", "none")
        for name in ("mean_success", "rank_wise"):
            need(row[name] >= rate - ROUNDING, path, f"{where}, {name}", f"no less than qualified, {rate}", row[name])
        need(row["top5_same_scenes"] >= row["top10_same_scenes"] - ROUNDING and
             row["top10_same_scenes"] >= row["mean_success"] - ROUNDING, path, where,
             "top5_same_scenes >= top10_same_scenes >= mean_success", row)
    print(f"{path}: valid, {len(results.rows)} rows, methods: {', '.join(results.methods)}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip())
    try:
        check(Path(sys.argv[1]))
    except ReportError as error:
        sys.exit(str(error))

#!/usr/bin/env python3
"""Prints a markdown table over several runs of one study with different seeds: each method's share of policies that
succeed in all their scenes, as the mean over the runs and the lowest and highest run. With --csv, puts the rows of one
run into a table of many runs instead, in place of those that it has of that run."""
import argparse
import csv
import io
import json
import os
import pathlib
import sys

sys.dont_write_bytecode = True
from report_files import SPLITS, ReportError, Results, need

WITHOUT = "unseen_without_mirror_images"
TITLES = {"seen": "seen tasks", "new_run": "runs not in the zoo", "unseen": "unseen tasks",
          WITHOUT: "unseen, without mirror images"}


def share(results, method, column):
    """Mean over the column's tasks, each having the same number of prompts; None where the method does not apply."""
    split, left_out = ("unseen", results.mirror_images) if column == WITHOUT else (column, ())
    rows = [results.row(task, split, method) for task in results.tasks[split] if task not in left_out]
    return None if not rows or None in rows else sum(row["qualified"] for row in rows) / len(rows)


def summary(runs):
    """{method: {column: {"mean", "lowest", "highest"} or None}} over the runs; None where a run lacks the method."""
    there = {"seen": True, "new_run": runs[0].tasks["new_run"], "unseen": True, WITHOUT: runs[0].mirror_images}
    columns = [column for column in TITLES if there[column]]
    result = {}
    for method in dict.fromkeys(method for run in runs for method in run.methods):
        of_method = result[method] = {}
        for column in columns:
            shares = [share(run, method, column) for run in runs]
            of_method[column] = None if None in shares else {
                "mean": sum(shares) / len(shares), "lowest": min(shares), "highest": max(shares)}
    return result


def markdown(methods):
    columns = list(next(iter(methods.values())))
    yield f"| method | {' | '.join(TITLES[column] for column in columns)} |"
    yield "|" + (len(columns) + 1) * "---|"
    for method, shares in methods.items():
        cells = ("-" if found is None else "{mean:.2f} ({lowest:.2f} - {highest:.2f})".format(**found)
                 for found in shares.values())
        yield f"| {method} | {' | '.join(cells)} |"


def task_tables(runs):
    """A table for each split: every task's share with the methods of all runs, as the mean over the runs."""
    methods = [method for method in runs[0].methods if all(method in run.methods for run in runs)]
    for split, title in (("seen", "seen task"), ("new_run", "run not in the zoo"), ("unseen", "unseen task")):
        if split == "new_run" and not runs[0].tasks[split]:
            continue
        yield f"| {title} | {' | '.join(methods)} |"
        yield "|" + (len(methods) + 1) * "---|"
        for task in runs[0].tasks[split]:
            cells = []
            for method in methods:
                rows = [run.row(task, split, method) for run in runs]
                cells.append("-" if None in rows else f"{sum(row['qualified'] for row in rows) / len(rows):.2f}")
            yield f"| {task} | {' | '.join(cells)} |"
        yield ""


def replace_file(path, text):
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def write_json(path, runs, methods):
    data = {"simulator": runs[0].simulator, "tasks": runs[0].tasks, "mirror_images": runs[0].mirror_images,
            "runs": [{"seeds": run.seeds, "versions": run.versions} for run in runs], "qualified": methods}
    replace_file(path, json.dumps(data, indent=1) + "\n")


FIGURES = ("qualified", "low", "high", "mean_success", "top5", "top10", "steps_to_success")
COLUMNS = ("run", "command", "split", "method", "policies", "scenes", *FIGURES)


def csv_rows(run, name, command):
    """A row for each method and split: means over tasks, with the 95 % interval of `qualified`."""
    for method in run.methods:
        for split in SPLITS:
            found = run.row("mean", split, method)
            if found:
                figures = {**found, "low": found["ci95"][0], "high": found["ci95"][1],
                           "steps_to_success": run.figure("mean", split, method, "steps_to_success")}
                yield {"run": name, "command": command, "split": split, "method": method, "policies": found["prompts"],
                       "scenes": found["scenes"],
                       **{key: "" if figures.get(key) is None else f"{figures[key]:.4g}" for key in FIGURES}}


def write_csv(path, run, name, command):
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines())) if path.exists() else []
    need(not rows or tuple(rows[0]) == COLUMNS, path, "columns", ",".join(COLUMNS), ",".join(rows[0] if rows else ()))
    rows = [row for row in rows if row["run"] != name] + list(csv_rows(run, name, command))
    lines = io.StringIO()
    writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(path, lines.getvalue())


def main(arguments):
    parser = argparse.ArgumentParser(prog="summarize.py", description=__doc__)
    parser.add_argument("results", nargs="+", type=pathlib.Path, metavar="RESULTS_JSON")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE",
                        help="also write means, lowest and highest values there")
    parser.add_argument("--tasks", action="store_true", help="also print tables of every task, means over the runs")
    parser.add_argument("--csv", type=pathlib.Path, metavar="FILE", help="the table of many runs; takes one RESULTS_JSON")
    parser.add_argument("--run", metavar="NAME", help="the run's name there (default: the file's)")
    parser.add_argument("--command", help="the command that made the run (default: the one recorded in RESULTS_JSON)")
    arguments = parser.parse_args(arguments)
    if arguments.csv and len(arguments.results) != 1:
        parser.error("--csv takes one RESULTS_JSON")
    try:
        runs = [Results(path) for path in arguments.results]
        for path, run in zip(arguments.results, runs):
            for name in ("simulator", "tasks"):
                need(getattr(run, name) == getattr(runs[0], name), path, name, f"those of {arguments.results[0]}",
                     getattr(run, name))
        if arguments.csv:
            path, command = arguments.results[0], arguments.command or runs[0].command
            need(command, path, "command", "the command that made the run, here or with --command", "none")
            write_csv(arguments.csv, runs[0], arguments.run or path.stem, command)
            return 0
        methods = summary(runs)
        if arguments.json:
            write_json(arguments.json, runs, methods)
    except (ReportError, OSError) as error:
        print(f"summarize.py: {error}", file=sys.stderr)
        return 1
    print("\n".join(markdown(methods)))
    if arguments.tasks:
        print("\n" + "\n".join(task_tables(runs)).rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

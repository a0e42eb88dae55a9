"""Prints a markdown table over several runs of the quick-start with different seeds: each method's share of policies that
succeed in all their scenes, as the mean over the runs and the lowest and highest run.
Usage: summarize.py RESULTS_JSON..."""
import pathlib
import sys

from report_files import ReportError, Results


def share(results, method, split, without_mirror_images=False):
    """Mean over the split's tasks, each having the same number of prompts; None where the method does not apply."""
    without = results.mirror_images if without_mirror_images else ()
    rows = [results.row(task, split, method) for task in results.tasks[split] if task not in without]
    return None if None in rows else sum(row["qualified"] for row in rows) / len(rows)


def cell(shares):
    if None in shares:
        return "-"
    return f"{sum(shares) / len(shares):.2f} ({min(shares):.2f} - {max(shares):.2f})"


def main(paths):
    runs = [Results(pathlib.Path(path)) for path in paths]
    if not runs:
        sys.exit(__doc__)
    print("| method | seen tasks | unseen tasks | unseen, without mirror images |")
    print("|---|---|---|---|")
    for method in runs[0].methods:
        columns = [[share(run, method, *arguments) for run in runs]
                   for arguments in (("seen",), ("unseen",), ("unseen", True))]
        print("|", method, "|", " | ".join(cell(column) for column in columns), "|")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ReportError as error:
        sys.exit(f"summarize.py: {error}")

"""Reads and checks the files that a study leaves. What is wrong is a ReportError that names the file."""
import json
import math
import zipfile
import zlib

import numpy

GENERATED = "generated"
DEMONSTRATORS = ("expert", "demonstrator")  # whoever shows the prompts, scripted or learned
# Shown beside the methods, not ranked with them: those that need the task's own policies or a simulator to try in.
REFERENCES = ("best of 10 samples by trial", "zoo (ceiling)", *DEMONSTRATORS)
SPLITS = ("seen", "new_run", "unseen")  # new_run: seen tasks, prompts of runs that no data are from
ROUNDING = 1e-12  # a bootstrap's mean of ones may end that far above 1
# Figures of a row beside `qualified` and `mean_success`, each of which may be missing.
RATES = ("top5", "top10", "top5_same_scenes", "top10_same_scenes", "rank_wise")
STEPS = "steps_to_success"


class ReportError(Exception):
    """A file that is missing or not what it should be; the message names it."""


def need(condition, path, where, expected, found):
    if not condition:
        shown = " ".join(str(found).split())
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        raise ReportError(f"{path}: {where}: expected {expected}, found {shown}")


def is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def is_names(value):
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def read_text(path):
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path}: expected a readable UTF-8 file, found {error}") from None


def parse_json(path, where, text):
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{path}: {where}: expected JSON, found {error}") from None


class Results:
    """results.json, checked: row(task, split, method) or None; `methods` in the file's order."""

    def __init__(self, path):
        data = parse_json(path, "whole file", read_text(path))
        need(isinstance(data, dict), path, "top level", "an object", type(data).__name__)
        for key in ("protocol", "seeds", "versions", "wall_seconds", "tasks"):
            need(isinstance(data.get(key), dict), path, key, "an object", data.get(key, "nothing"))
        self.protocol, self.seeds, self.versions = data["protocol"], data["seeds"], data["versions"]
        for key in ("prompts_per_task", "scenes_per_policy", "episode_steps"):
            value = self.protocol.get(key)
            need(is_count(value), path, f"protocol.{key}", "a whole number above 0", value)
        need(isinstance(self.protocol.get("success"), str), path, "protocol.success", "text",
             self.protocol.get("success"))
        self.simulator = self.protocol.get("simulator")
        need(isinstance(self.simulator, str) and self.simulator, path, "protocol.simulator", "a name", self.simulator)
        self.command = data.get("command", "")
        need(isinstance(self.command, str), path, "command", "text", self.command)
        self.wall_seconds = data["wall_seconds"]
        for stage, seconds in self.wall_seconds.items():
            need(is_number(seconds) and seconds >= 0, path, f"wall_seconds.{stage}", "seconds", seconds)
        self.tasks = {split: data["tasks"].get(split, []) for split in SPLITS}
        for split in SPLITS:
            need(is_names(self.tasks[split]), path, f"tasks.{split}", "a list of names", self.tasks[split])
        self.demonstrators = data.get("demonstrators", [])
        need(isinstance(self.demonstrators, list), path, "demonstrators", "a list", self.demonstrators)
        for index, shown in enumerate(self.demonstrators):
            where = f"demonstrators[{index}]"
            need(isinstance(shown, dict) and isinstance(shown.get("task"), str) and shown.get("split") in SPLITS
                 and isinstance(shown.get("left_out"), bool), path, where, "task, split and left_out", shown)
            for key in ("run", "demonstrations", "failed"):
                need(isinstance(shown.get(key), int), path, f"{where}.{key}", "a whole number", shown.get(key))
        self.mirror_images = data["tasks"].get("mirror_images", [])
        self.extra, self.validation = (data["tasks"].get(name, []) for name in ("extra", "validation"))
        for name, tasks in (("mirror_images", self.mirror_images), ("extra", self.extra),
                            ("validation", self.validation)):
            need(is_names(tasks), path, f"tasks.{name}", "a list of names", tasks)
        rows = data.get("rows")
        need(isinstance(rows, list) and rows, path, "rows", "a list of rows", rows)
        self.rows = {}
        for index, row in enumerate(rows):
            self.add(path, f"rows[{index}]", row)
        self.methods = list(dict.fromkeys(method for _, _, method in self.rows))
        self.compared = [method for method in self.methods if method not in REFERENCES]
        self.references = [method for method in self.methods if method in REFERENCES]
        self.splits = [split for split in SPLITS if any(key[1] == split for key in self.rows)]
        for split in self.splits:
            need(self.row("mean", split, GENERATED), path, "rows",
                 f"a row with task mean, split {split}, method {GENERATED}", "none")

    def add(self, path, where, row):
        need(isinstance(row, dict), path, where, "an object", row)
        for key in ("task", "split", "method"):
            need(isinstance(row.get(key), str) and row[key], path, f"{where}.{key}", "a name", row.get(key))
        need(row["split"] in SPLITS, path, f"{where}.split", "seen, new_run or unseen", row["split"])
        need(row["task"] in [*self.tasks[row["split"]], "mean"], path, f"{where}.task",
             f"mean or one of tasks.{row['split']}", row["task"])
        for key in ("prompts", "scenes"):
            need(is_count(row.get(key)), path, f"{where}.{key}", "a whole number above 0", row.get(key))
        interval = row.get("ci95")
        need(isinstance(interval, list) and len(interval) == 2, path, f"{where}.ci95", "[low, high]", interval)
        for key, rate in (("qualified", row.get("qualified")), ("mean_success", row.get("mean_success")),
                          ("ci95[0]", interval[0]), ("ci95[1]", interval[1]),
                          *((key, row[key]) for key in RATES if key in row)):
            need(is_number(rate) and -ROUNDING <= rate <= 1 + ROUNDING, path, f"{where}.{key}", "a rate in [0, 1]",
                 rate)
        need(interval[0] <= interval[1], path, f"{where}.ci95", "low <= high", interval)
        steps = row.get(STEPS, 0)
        need(is_number(steps) and steps >= 0, path, f"{where}.{STEPS}", "a number of steps", steps)
        key = row["task"], row["split"], row["method"]
        need(key not in self.rows, path, where, "one row per task, split and method", f"a second one for {key}")
        self.rows[key] = row

    def row(self, task, split, method):
        return self.rows.get((task, split, method))

    def figure(self, task, split, method, key):
        """A figure of a row, or None where it was not measured. Steps to success are those of episodes that succeed:
        None for a task without any, and the mean over tasks is over the others."""
        row = self.row(task, split, method) or {}
        if key != STEPS or key not in row:
            return row.get(key)
        if task != "mean":
            return row[key] if row["mean_success"] > 0 else None
        found = [self.figure(each, split, method, key) for each in self.tasks[split]]
        found = [steps for steps in found if steps is not None]
        return sum(found) / len(found) if found else None

    def best(self, task, split, methods):
        """The methods with the highest qualified rate, and that rate; ([], 0) if none is above 0."""
        rates = {m: self.row(task, split, m)["qualified"] for m in methods if self.row(task, split, m)}
        top = max(rates.values(), default=0)
        return ([m for m in rates if rates[m] == top], top) if top > 0 else ([], 0)


def read_training(path):
    """training.jsonl as {stage: [(step, loss, validation or None), ...]}, in the file's order."""
    stages = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        where = f"line {number}"
        entry = parse_json(path, where, line)
        need(isinstance(entry, dict), path, where, "an object", entry)
        need(isinstance(entry.get("stage"), str), path, f"{where}.stage", "a name", entry.get("stage"))
        need(is_number(entry.get("step")), path, f"{where}.step", "a number", entry.get("step"))
        need(is_number(entry.get("loss")), path, f"{where}.loss", "a finite number", entry.get("loss"))
        validation = entry.get("validation")
        need(validation is None or is_number(validation), path, f"{where}.validation", "a finite number or none",
             validation)
        stages.setdefault(entry["stage"], []).append((entry["step"], entry["loss"], validation))
    return stages


def read_arrays(path, names, optional=()):
    try:
        with open(path, "rb") as file, numpy.load(file, allow_pickle=False) as archive:
            found = archive.files
            need(set(names) <= set(found), path, "arrays", ", ".join(names), ", ".join(found) or "none")
            return {name: archive[name] for name in (*names, *(name for name in optional if name in found))}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, RuntimeError, MemoryError, zipfile.BadZipFile,
            zlib.error) as error:
        raise ReportError(f"{path}: expected an .npz archive of plain arrays, found {error}") from None


def read_map(folder):
    """The task names and, per panel, (points [N,D], task [N], kind [N])."""
    names_path, path = folder / "map.json", folder / "map.npz"
    names = parse_json(names_path, "whole file", read_text(names_path))
    need(is_names(names), names_path, "top level", "a list of task names", names)
    fields = ("latents", "latent_task", "latent_kind"), ("embeddings", "embedding_task", "embedding_split")
    arrays = read_arrays(path, fields[0] + fields[1])
    panels = []
    for (points_name, task_name, kind_name), kinds in zip(fields, (2, 3)):
        points = arrays[points_name]
        need(points.ndim == 2 and points.shape[1] >= 2 and points.dtype.kind == "f", path, points_name,
             "a float array [N, D] with D >= 2", f"{points.dtype} {list(points.shape)}")
        need(numpy.isfinite(points).all(), path, points_name, "finite numbers", "NaN or infinity")
        for name, limit in ((task_name, len(names)), (kind_name, kinds)):
            labels = arrays[name]
            need(labels.shape == (len(points),) and labels.dtype.kind in "iu", path, name,
                 f"an integer array [{len(points)}]", f"{labels.dtype} {list(labels.shape)}")
            need(((labels >= 0) & (labels < limit)).all(), path, name, f"integers in [0, {limit})", labels)
        panels.append((points.astype(float), arrays[task_name], arrays[kind_name]))
    return names, panels


def read_clip(path):
    """What a clip shows, as (who, frames [T,H,W,3], step of the first success, or -1): the prompt's demonstration,
    where it is there, the generated policy, and the expert in the same scene."""
    names = ("frames_expert", "frames_generated", "success_expert", "success_generated")
    arrays = read_arrays(path, names, ("frames_prompt", "success_prompt"))
    shown = []
    for who in ("prompt", "generated", "expert"):
        if f"frames_{who}" not in arrays:
            continue
        frames, success = arrays[f"frames_{who}"], arrays.get(f"success_{who}")
        need(frames.dtype == numpy.uint8 and frames.ndim == 4 and frames.shape[3] == 3 and frames.size, path,
             f"frames_{who}", "uint8 [T, H, W, 3]", f"{frames.dtype} {list(frames.shape)}")
        need(success is not None and success.size == 1 and success.dtype.kind in "iu", path, f"success_{who}",
             "one integer", "nothing" if success is None else f"{success.dtype} {list(success.shape)}")
        shown.append((who, frames, int(success.reshape(()))))
    return shown


def read_table(path):
    """An extra table, {"title", "note", "columns", "rows"}: rows of text, numbers or null, as long as the columns."""
    data = parse_json(path, "whole file", read_text(path))
    need(isinstance(data, dict), path, "top level", "an object", type(data).__name__)
    need(isinstance(data.get("title"), str) and data["title"], path, "title", "text", data.get("title"))
    need(isinstance(data.get("note"), str), path, "note", "text", data.get("note"))
    columns, rows = data.get("columns"), data.get("rows")
    need(is_names(columns) and columns, path, "columns", "a list of names", columns)
    need(isinstance(rows, list) and rows, path, "rows", "a list of rows", rows)
    for i, row in enumerate(rows):
        need(isinstance(row, list) and len(row) == len(columns), path, f"rows[{i}]", f"a list of {len(columns)} cells",
             row)
        for j, value in enumerate(row):
            need(value is None or isinstance(value, str) or is_number(value), path, f"rows[{i}][{j}]",
                 "text, a finite number or null", value)
    return data

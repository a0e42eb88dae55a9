#!/usr/bin/env python3
"""Turns the quick-start's output folder into one self-contained page, OUT_FOLDER/report.html.

Usage: report.py OUT_FOLDER

Reads results.json and training.jsonl, and where they are there map.npz with map.json and clips/*.npz. Every number on
the page comes from these files. Needs Debian's python3-matplotlib (with the numpy and Pillow it brings).
"""
import base64
import html
import io
import json
import math
import os
import re
import sys
import zipfile
import zlib
from pathlib import Path

try:
    import matplotlib
    matplotlib.use("svg")
    import numpy
    from matplotlib import pyplot
    from PIL import Image, features
except ImportError as missing:
    sys.exit(f"report.py: {missing}; install Debian's package python3-matplotlib")

GENERATED = "generated"
REFERENCES = ("zoo (ceiling)", "expert")  # shown beside the methods, not ranked with them
SPLITS = ("seen", "unseen")
# Colours of the figures; the page's style sheet gives the real ones, for light and for dark.
INK, MUTED, LINE, PAPER, ACCENT, BAR = (f"#01020{i}" for i in range(1, 7))
VARIABLES = dict(zip((INK, MUTED, LINE, PAPER, ACCENT, BAR), ("ink", "muted", "line", "paper", "accent", "bar")))
MOST_POINTS = 2500  # per map
MOST_FRAMES = 40  # per clip
CLIP_WIDTH = 240  # pixels, each of the two pictures


class ReportError(Exception):
    """A file that is missing or not what it should be; the message names it."""


def need(condition, path, where, expected, found):
    if not condition:
        shown = " ".join(str(found).split())
        shown = shown if len(shown) <= 80 else shown[:77] + "..."
        raise ReportError(f"{path}: {where}: expected {expected}, found {shown}")


# ---- reading ---------------------------------------------------------------------------------------------------------

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
        self.wall_seconds = data["wall_seconds"]
        for stage, seconds in self.wall_seconds.items():
            need(is_number(seconds) and seconds >= 0, path, f"wall_seconds.{stage}", "seconds", seconds)
        self.tasks = {split: data["tasks"].get(split, []) for split in SPLITS}
        for split in SPLITS:
            need(is_names(self.tasks[split]), path, f"tasks.{split}", "a list of names", self.tasks[split])
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
        need(row["split"] in SPLITS, path, f"{where}.split", "seen or unseen", row["split"])
        need(row["task"] in [*self.tasks[row["split"]], "mean"], path, f"{where}.task",
             f"mean or one of tasks.{row['split']}", row["task"])
        for key in ("prompts", "scenes"):
            need(is_count(row.get(key)), path, f"{where}.{key}", "a whole number above 0", row.get(key))
        interval = row.get("ci95")
        need(isinstance(interval, list) and len(interval) == 2, path, f"{where}.ci95", "[low, high]", interval)
        for key, rate in (("qualified", row.get("qualified")), ("mean_success", row.get("mean_success")),
                          ("ci95[0]", interval[0]), ("ci95[1]", interval[1])):
            need(is_number(rate) and 0 <= rate <= 1, path, f"{where}.{key}", "a rate in [0, 1]", rate)
        need(interval[0] <= interval[1], path, f"{where}.ci95", "low <= high", interval)
        key = row["task"], row["split"], row["method"]
        need(key not in self.rows, path, where, "one row per task, split and method", f"a second one for {key}")
        self.rows[key] = row

    def row(self, task, split, method):
        return self.rows.get((task, split, method))

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


def read_arrays(path, names):
    try:
        with open(path, "rb") as file, numpy.load(file, allow_pickle=False) as archive:
            found = archive.files
            need(set(names) <= set(found), path, "arrays", ", ".join(names), ", ".join(found) or "none")
            return {name: archive[name] for name in names}
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
    arrays = read_arrays(path, ("frames_expert", "frames_generated", "success_expert", "success_generated"))
    pair = []
    for who in ("expert", "generated"):
        frames, success = arrays[f"frames_{who}"], arrays[f"success_{who}"]
        need(frames.dtype == numpy.uint8 and frames.ndim == 4 and frames.shape[3] == 3 and frames.size, path,
             f"frames_{who}", "uint8 [T, H, W, 3]", f"{frames.dtype} {list(frames.shape)}")
        need(success.size == 1 and success.dtype.kind in "iu", path, f"success_{who}", "one integer",
             f"{success.dtype} {list(success.shape)}")
        pair.append((frames, int(success.reshape(()))))
    return pair


# ---- text ------------------------------------------------------------------------------------------------------------

escape = html.escape


def percent(rate, digits=0):
    return f'<data value="{rate!r}">{100 * rate:.{digits}f}&#8239;%</data>'


def interval(row, digits=0):
    low, high = (f'<data value="{rate!r}">{100 * rate:.{digits}f}</data>' for rate in row["ci95"])
    return f'<span class="ci">{low}&#8239;–&#8239;{high}</span>'


def flat(values, prefix=""):
    """A nested object as (name, text) pairs."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value if isinstance(value, str) else json.dumps(value)


def pairs(values):
    rows = "".join(f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(text)}</dd>" for name, text in flat(values))
    return f"<dl>{rows}</dl>" if rows else '<p class="skipped">Nothing recorded.</p>'


def skipped(text):
    return f'<p class="skipped">Left out: {escape(text)}</p>'


def chip(split):
    return f'<span class="chip {split}">{split}</span>'


def data_uri(kind, data):
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


# ---- figures ---------------------------------------------------------------------------------------------------------

def inline_svg(figure, name, label):
    """The figure as an <svg> element that takes its colours and its font from the page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = buffer.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', rf'\1 role="img" aria-label="{escape(label)}"', text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'id="(task-\d+)-\d+"', r'class="\1"', text)
    text = re.sub(r'((?: id|xlink:href)="#?|url\(#)', rf"\1{name}-", text)
    text = re.sub(r"font: (\w* ?)([\d.]+)px [^;\"]*", r"font: \1\2px var(--sans)", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var(--{variable})")
    return re.sub(r"\n\s*", "\n", text)


def new_figure(width, height):
    """A figure of these inches with one pair of axes, only its bottom line drawn."""
    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    return figure, axes


def set_style():
    matplotlib.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "report", "font.size": 9, "text.color": INK,
        "axes.labelcolor": MUTED, "axes.edgecolor": LINE, "xtick.color": MUTED, "ytick.color": MUTED,
        "xtick.labelcolor": MUTED, "ytick.labelcolor": INK, "grid.color": LINE, "grid.linewidth": .7,
        "axes.axisbelow": True, "legend.frameon": False, "legend.labelcolor": MUTED, "legend.fontsize": 8.5})


def rate_bars(entries, extra=None):
    """Horizontal bars of (label, row, colour), each with its 95 % interval and its value written beside it."""
    figure, axes = new_figure(4.7, .6 + .28 * len(entries))
    for place, (label, row, colour) in enumerate(entries):
        axes.barh(place, row["qualified"], height=.62, color=colour, alpha=.75)
        axes.plot(row["ci95"], [place, place], color=INK, linewidth=1.3, marker="|", markersize=5)
        axes.text(1.2, place, f"{100 * row['qualified']:.0f} %", ha="right", va="center")
    if extra:
        extra(axes)
    axes.set_yticks(range(len(entries)), [entry[0] for entry in entries])
    axes.set_xticks([0, .25, .5, .75, 1], ["0", "25", "50", "75", "100 %"])
    axes.set(xlim=(0, 1.21), ylim=(len(entries) - .4, -.6))
    axes.xaxis.grid(True)
    return figure


def method_bars(results, split):
    entries = [(method, results.row("mean", split, method),
                ACCENT if method == GENERATED else LINE if method in REFERENCES else BAR)
               for method in results.methods if results.row("mean", split, method)]
    return inline_svg(rate_bars(entries), f"methods-{split}", f"Qualified rate per method, {split} tasks")


def task_bars(results, split):
    entries = [(task, results.row(task, split, GENERATED), ACCENT) for task in results.tasks[split]
               if results.row(task, split, GENERATED)]
    if not entries:
        return skipped(f"no rows per {split} task in results.json.")

    def marks(axes):
        others = [method for method in results.compared if method != GENERATED]
        for methods, style, label in (
                (others, dict(marker="D", markersize=4.5, color=PAPER, markeredgecolor=INK), "best other method"),
                (results.references[:1], dict(marker="|", markersize=12, color=INK, markeredgewidth=2),
                 results.references[0] if results.references else "")):
            points = [(results.best(task, split, methods)[1], place) for place, (task, _, _) in enumerate(entries)
                      if any(results.row(task, split, method) for method in methods)]
            if points:
                axes.plot(*zip(*points), linestyle="", label=label, clip_on=False, zorder=4, **style)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(loc="lower center", bbox_to_anchor=(.41, 1), ncols=2)

    return inline_svg(rate_bars(entries, marks), f"tasks-{split}", f"Generated policies per {split} task")


def binned(steps, losses, most=300):
    """At most `most` points, each the mean of neighbours, with a gap where the steps start again."""
    size = -(-len(steps) // most)
    starts = [0, *(i for i in range(1, len(steps)) if steps[i] < steps[i - 1]), len(steps)]
    for low, high in zip(starts, starts[1:]):
        for at in range(low, high, size):
            yield numpy.mean(steps[at:min(at + size, high)]), numpy.mean(losses[at:min(at + size, high)])
        yield math.nan, math.nan


def loss_figure(stage, entries):
    figure, axes = new_figure(3.6, 2.15)
    kinds = [("training", BAR, [(step, loss) for step, loss, _ in entries]),
             ("validation", ACCENT, [(step, value) for step, _, value in entries if value is not None])]
    for label, colour, points in kinds:
        if points:
            marker = "o" if len(points) == 1 else None
            axes.plot(*zip(*binned(*zip(*points))), color=colour, linewidth=1.4, label=label, marker=marker)
    values = [value for _, _, points in kinds for _, value in points]
    if min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_locator(matplotlib.ticker.LogLocator(subs=(2, 5)))
        axes.yaxis.set_minor_formatter("{x:g}" if max(values) < 30 * min(values) else "")
        axes.tick_params(which="minor", length=0, labelsize=8)
    axes.yaxis.grid(True)
    axes.ticklabel_format(axis="x", useOffset=False, style="plain")
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
    axes.tick_params(axis="y", which="both", labelcolor=MUTED)
    axes.set_xlabel("step", fontsize=8.5)
    text = f"last loss {entries[-1][1]:.4g}"
    if kinds[1][2]:
        axes.legend(loc="best")
        text += f", last validation loss {kinds[1][2][-1][1]:.4g}"
    picture = inline_svg(figure, f"loss-{re.sub('[^a-z0-9]', '-', stage.lower())}", f"Loss of the stage {stage}")
    return f"<figure><h3>{escape(stage)}</h3>{picture}<figcaption>{text}</figcaption></figure>"


def principal_axes(points, fitted):
    """points [N, D] on the two main axes of fitted [M, D], and the share of the variance of fitted on each."""
    centre = fitted.mean(axis=0)
    fitted = fitted - centre
    basis = numpy.random.default_rng(0).normal(size=(fitted.shape[1], min(8, fitted.shape[1])))
    for _ in range(12):  # subspace iteration: exact enough for a picture, and fast for long vectors
        basis, _ = numpy.linalg.qr(fitted.T @ (fitted @ basis))
    _, sizes, turn = numpy.linalg.svd(fitted @ basis, full_matrices=False)
    sizes = numpy.append(sizes, [0, 0])[:2]
    total = (fitted ** 2).sum()
    return (points - centre) @ (basis @ turn[:2].T), sizes ** 2 / total if total > 0 else sizes


def task_colours(count):
    """Colours that differ in hue, and next to each other also in lightness; readable on light and on dark."""
    lightness = (.62, .42) if count > 8 else (.5,)
    return [matplotlib.colors.to_hex(matplotlib.colors.hsv_to_rgb(
        ((i / count + .01) % 1, .62 if i % 2 else .72, min(1, lightness[i % len(lightness)] * 1.45))))
        for i in range(count)]


def map_figure(name, colours, panel, styles):
    """One map: colour = task, marker = kind. styles: (label, marker, size, edge) per kind."""
    points, task, kind = panel
    fitted = points[kind == 0] if (kind == 0).sum() > 2 else points
    flat_points, share = principal_axes(points, fitted)
    every = -(-len(points) // MOST_POINTS)
    figure, axes = new_figure(4.7, 4.1)
    used = [k for k in range(len(styles)) if (kind == k).any()]
    for k in used:
        label, marker, size, edge = styles[k]
        for i, colour in enumerate(colours):
            chosen = flat_points[(kind == k) & (task == i)][::every]
            if len(chosen):
                dots = axes.scatter(*chosen.T, s=size, marker=marker, c=colour, alpha=.95 if edge else .6,
                                    edgecolors=INK if edge else "none", linewidths=.7 if edge else 0, zorder=2 + k)
                dots.set_gid(f"task-{i}-{k}")
        axes.scatter([], [], s=size + 8, marker=marker, c=BAR, edgecolors=INK if edge else "none",
                     linewidths=.7 if edge else 0, label=label)
    axes.legend(loc="lower center", bbox_to_anchor=(.5, 1), ncols=3, handletextpad=.2, columnspacing=1.2)
    axes.set(xticks=[], yticks=[], xlabel=f"first axis, {100 * share[0]:.0f} % of the variance",
             ylabel=f"second axis, {100 * share[1]:.0f} %")
    for spine in axes.spines.values():
        spine.set_visible(True)
    note = f"{len(points)} points of {points.shape[1]} numbers each" + (
        f", every {every}th of each group drawn" if every > 1 else "")
    note += f"; axes fitted on “{styles[0][0]}”" if fitted is not points else "; axes fitted on all points"
    return inline_svg(figure, name, f"Map of {name}"), note


def clip_image(pair):
    """Both clips side by side as an <picture> that loops, and stands still where less motion is wanted."""
    length = max(len(frames) for frames, _ in pair)
    height = round(max(CLIP_WIDTH * frames.shape[1] / frames.shape[2] for frames, _ in pair))
    moments = numpy.unique(numpy.linspace(0, length - 1, min(length, MOST_FRAMES)).round().astype(int))
    images = []
    for moment in moments:
        image = Image.new("RGB", (2 * CLIP_WIDTH + 4, height), "white")
        for place, (frames, _) in enumerate(pair):  # the shorter clip holds its last frame
            half = Image.fromarray(frames[min(moment, len(frames) - 1)])
            image.paste(half.resize((CLIP_WIDTH, height), Image.BILINEAR), (place * (CLIP_WIDTH + 4), 0))
        images.append(image)
    kind = "webp" if features.check("webp_anim") else "gif"
    encoding = dict(quality=60, method=2) if kind == "webp" else {}
    moving, still = io.BytesIO(), io.BytesIO()
    images[0].save(moving, kind, save_all=True, append_images=images[1:], loop=0,
                   duration=[100] * (len(images) - 1) + [1200], **encoding)
    images[-1].save(still, kind, **encoding)
    return (f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{data_uri(kind, still.getvalue())}">'
            f'<img src="{data_uri(kind, moving.getvalue())}" width="{2 * CLIP_WIDTH + 4}" height="{height}" '
            'alt="Left the expert, right the generated policy"></picture>')


# ---- sections --------------------------------------------------------------------------------------------------------

def named(results, split, methods):
    return ", ".join(f"<b>{escape(m)}</b> {percent(results.row('mean', split, m)['qualified'])} "
                     f"({interval(results.row('mean', split, m))})" for m in methods)


def verdict(results, split):
    """How generated stands against every compared method, in words; a method that is ahead is always named."""
    own = results.row("mean", split, GENERATED)
    others = [m for m in results.compared if m != GENERATED and results.row("mean", split, m)]
    if not others:
        return "No other method was measured here."
    others.sort(key=lambda m: -results.row("mean", split, m)["qualified"])
    rates = {m: results.row("mean", split, m)["qualified"] for m in others}
    ahead = [m for m in others if rates[m] > own["qualified"]]
    level = [m for m in others if rates[m] == own["qualified"]]
    text = f'<strong class="ahead">Ahead of generated:</strong> {named(results, split, ahead)}. ' if ahead else ""
    text += f"Level with generated: {named(results, split, level)}. " if level else ""
    closest = results.row("mean", split, others[0])
    apart = closest["ci95"][1] < own["ci95"][0] or own["ci95"][1] < closest["ci95"][0]
    if not ahead and not level:
        text += f"No compared method is ahead. Closest: {named(results, split, others[:1])}. "
    text += f"The intervals of {GENERATED} and {escape(others[0])} "
    return text + ("do not overlap." if apart else "overlap, so this run does not settle their order.")


def headline(results):
    main = results.splits[-1]
    rate = results.row("mean", main, GENERATED)
    what = "tasks never trained on" if main == "unseen" else "new prompts of the training tasks"
    cards = []
    for split in reversed(results.splits):
        row = results.row("mean", split, GENERATED)
        shown = [m for m in results.references if results.row("mean", split, m)]
        cards.append(
            f'<article class="card {split}"><h3>{"Unseen tasks" if split == "unseen" else "Seen tasks, new prompts"}'
            f'</h3><p class="big">{percent(row["qualified"])}</p><p>of {row["prompts"]} generated policies succeed in '
            f'all {row["scenes"]} scenes; 95&#8239;% interval {interval(row)}. Mean success over single scenes '
            f'{percent(row["mean_success"])}.</p><p>{verdict(results, split)}</p>'
            + (f'<p class="soft">For scale: {named(results, split, shown)}.</p>' if shown else "") + "</article>")
    missing = [split for split in SPLITS if split not in results.splits]
    notes = "".join(skipped(f"results.json has no rows for {split} tasks.") for split in missing)
    if ("smoke", "true") in ((name.rpartition(".")[2], text) for name, text in flat(results.protocol)):
        notes += ('<p class="skipped"><b>A shortened run:</b> it shows that everything works, its numbers mean '
                  "nothing.</p>")
    counts = " and ".join(f"{len(results.tasks[split])} {split}" for split in results.splits)
    versions = " · ".join(f"{escape(k)} {escape(v)}" for k, v in flat(results.versions) if k in ("maa", "mujoco"))
    return (f'<header><p class="over">maa quick-start · policies generated from trajectories</p>'
            f'<h1>On {what}, {percent(rate["qualified"])} of the generated policies succeed in every scene</h1>'
            f'<p class="lead">95&#8239;% interval {interval(rate, 1)}&#8239;%. One policy per prompt on {counts} '
            f'tabletop tasks in MuJoCo, no fine-tuning and no selection. {versions}.</p></header>'
            f'{notes}<div class="cards">{"".join(cards)}</div>')


def protocol(results):
    p = results.protocol
    told = ("prompts_per_task", "scenes_per_policy", "episode_steps", "success")
    rest = pairs({key: value for key, value in p.items() if key not in told})
    return (f'<p>For each task, {p["prompts_per_task"]} trajectories never used in training are prompts, and each '
            f'method answers each prompt with one policy, which acts for {p["episode_steps"]} steps in each of '
            f'{p["scenes_per_policy"]} random scenes. A policy is <em>qualified</em> if it succeeds in all its scenes '
            f'(success: {escape(p["success"])}).</p><details><summary>Other settings</summary>{rest}</details>')


def table(results):
    methods = results.compared + results.references

    def cell(task, split, method):
        row = results.row(task, split, method)
        kind = " ref" if method in REFERENCES else " own" if method == GENERATED else ""
        if not row:
            return f'<td class="{kind.strip()}">–</td>'
        best = method in results.best(task, split, results.compared)[0]
        mark = '<span class="star" title="best of the compared methods">★</span> ' if best else ""
        return (f'<td class="rate{kind}{" best" if best else ""}" style="--rate:{100 * row["qualified"]:.0f}%">'
                f'<b>{mark}{percent(row["qualified"])}</b>{interval(row)}'
                f'<span class="mean">mean {percent(row["mean_success"])}</span></td>')

    def line(task, split, title):
        row = next((results.row(task, split, m) for m in methods if results.row(task, split, m)), None)
        size = f'<span>{row["prompts"]} prompts</span>' if row else ""
        return (f'<tr{" class=all" if task == "mean" else ""}><th scope="row">{escape(title)}{size}</th>'
                + "".join(cell(task, split, method) for method in methods) + "</tr>")

    head = "".join(f'<th scope="col" class="{"ref" if m in REFERENCES else "own" if m == GENERATED else ""}">'
                   f"{escape(m)}</th>" for m in methods)
    body = "".join(f'<tbody data-split="{split}"><tr class="split"><th colspan="{len(methods) + 1}"><span>'
                   f'{chip(split)} {"whole tasks held out" if split == "unseen" else "trained on, new prompts"}'
                   "</span></th></tr>"
                   + line("mean", split, f"all {split} tasks")
                   + "".join(line(task, split, task) for task in results.tasks[split]) + "</tbody>"
                   for split in results.splits)
    return ('<p>Upper line: qualified rate; below it the 95&#8239;% interval in per cent (Wilson for one task, '
            'bootstrap over prompts for all tasks) and the mean success over single scenes. ★ marks the best qualified '
            'rate of each row; the columns on the right are references and take no part in it.</p>'
            '<div class="wide" tabindex="0">'
            f'<table><thead><tr><th scope="col">task</th>{head}</tr></thead>{body}</table></div>')


def bars(results):
    def both(heading, draw):
        figures = "".join(f"<figure><h3>{heading} {chip(split)}</h3>{draw(results, split)}</figure>"
                          for split in results.splits)
        return f'<div class="grid two">{figures}</div>'

    return ("<p>Qualified rate with its 95&#8239;% interval: first every method over all tasks, then the generated "
            "policies task by task. The best other method is picked per task after the fact, which flatters it.</p>"
            + both("Every method", method_bars) + both("Generated, by task", task_bars))


def losses(folder):
    stages = read_training(folder / "training.jsonl")
    if not stages:
        return skipped("training.jsonl is empty.")
    return f'<div class="grid three">{"".join(loss_figure(*stage) for stage in stages.items())}</div>'


def maps(folder, results):
    absent = [name for name in ("map.npz", "map.json") if not (folder / name).exists()]
    if absent:
        return skipped(f"the maps, as there is no {' and no '.join(absent)}.")
    names, panels = read_map(folder)
    colours = task_colours(len(names))
    styles = ([("zoo training run", "o", 16, False), ("generated", "D", 26, True)],
              [("training prompt", "o", 16, False), ("new prompt, seen task", "D", 26, True),
               ("unseen task", "^", 38, True)])
    figures = []
    for title, panel, style in zip(("latents of policies", "embeddings of prompts"), panels, styles):
        if len(panel[0]) < 3:
            figures.append(skipped(f"the map of {title}, as map.npz has fewer than 3 points for it."))
            continue
        picture, note = map_figure(title.split()[0], colours, panel, style)
        figures.append(f"<figure><h3>{title.capitalize()}</h3>{picture}<figcaption>{note}.</figcaption></figure>")
    unseen = set(results.tasks["unseen"])
    legend = "".join(f'<li class="key-{i}" tabindex="0"><i style="background:{colour}"></i>{escape(name)}'
                     f'{" " + chip("unseen") if name in unseen else ""}</li>'
                     for i, (name, colour) in enumerate(zip(names, colours)))
    rules = "".join(f'.maps:has(.key-{i}:is(:hover,:focus)) [class^="task-"]:not(.task-{i}){{opacity:.06}}'
                    for i in range(len(names)))
    return ("<p>Principal components: the two directions along which the points differ most. Colour is the task; "
            'point at a name to see it alone.</p>'
            f'<style>{rules}</style><div class="maps"><div class="grid two">{"".join(figures)}</div>'
            f'<ul class="legend">{legend}</ul></div>')


def clips(folder, results):
    tasks = [(task, split) for split in reversed(SPLITS) for task in results.tasks[split]]
    found = sorted((folder / "clips").glob("*.npz"))
    if not found:
        return skipped("the clips, as there is no clips/*.npz.")
    figures, absent = [], []
    for task, split in tasks:
        path = folder / "clips" / f"{task}.npz"
        if path not in found:
            absent.append(task)
            continue
        pair = read_clip(path)
        marks = "".join(f'<span class="{"good" if step >= 0 else "bad"}"><b>{who}</b> '
                        f'{f"✓ success at step {step}" if step >= 0 else "✗ no success"}</span>'
                        for who, (_, step) in zip(("Expert", "Generated"), pair))
        figures.append(f'<figure class="clip"><h3>{escape(task)} {chip(split)}</h3>{clip_image(pair)}'
                       f'<figcaption class="marks">{marks}</figcaption></figure>')
    notes = skipped(f"no clip for {', '.join(absent)}.") if absent else ""
    strange = [path.name for path in found if path.stem not in dict(tasks)]
    notes += skipped(f"clips of tasks that results.json does not name: {', '.join(strange)}.") if strange else ""
    return ("<p>Left the scripted expert, right a generated policy; each loop is one whole clip, one pair per task. "
            f'They illustrate; the table measures.</p><div class="grid three">{"".join(figures)}</div>{notes}')


def timing(results):
    total = sum(results.wall_seconds.values())
    rows = "".join(f"<tr><th>{escape(stage)}</th><td>{seconds:.1f}&#8239;s</td><td>{100 * seconds / (total or 1):.0f}"
                   f"&#8239;%</td></tr>" for stage, seconds in results.wall_seconds.items())
    return (f'<table class="plain"><tbody>{rows}<tr class="all"><th>all stages</th><td>{total:.1f}&#8239;s</td>'
            "<td></td></tr></tbody></table>")


def limits(results):
    rows = [results.row("mean", split, GENERATED) for split in results.splits]
    sizes = " and ".join(f"{row['prompts']} {split}" for row, split in zip(rows, results.splits))
    points = [
        f"The models were trained once, from the seeds above. The intervals cover the choice of prompts ({sizes}), not "
        "another training run, another zoo or other tasks.",
        "All tasks, seen and unseen, are of one tabletop family: same hand, same observations, related mechanisms. "
        "They say nothing about other robots or other simulators.",
        "The tasks are our own and not MetaWorld's, so the rates do not compare with published ones.",
        "Prompts come from the same simulator as the scenes in which the policies are measured.",
        "Success counts at any step of an episode: a policy that succeeds and then undoes it still counts.",
        "★ is the highest of several uncertain values; where intervals overlap another run may order them differently.",
        "The maps keep two directions of many: points that lie together there may be far apart in the others.",
    ]
    return "<ul>" + "".join(f"<li>{escape(point)}</li>" for point in points) + "</ul>"


STYLE = """
:root{color-scheme:light dark;--page:#f4f5f3;--paper:#fff;--ink:#18211d;--muted:#5a655f;--line:#dce1dd;
--accent:#2b5fd0;
--bar:#a3ada7;--good:#17703c;--bad:#ab3325;--unseen:#a0530b;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){:root{--page:#121614;--paper:#1a1f1d;--ink:#e6ebe8;--muted:#9ba6a0;--line:#313935;
--accent:#84a9ff;--bar:#68736d;--good:#6fcf97;--bad:#ff9284;--unseen:#f0ab62}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 var(--sans)}
main{max-width:1180px;margin:auto;padding:clamp(20px,5vw,56px) clamp(16px,4vw,40px)}
h1{font-size:clamp(1.75rem,4.6vw,2.9rem);line-height:1.12;letter-spacing:-.02em;margin:.2em 0 .4em;max-width:24em;
text-wrap:balance}h2{font-size:1.35rem;letter-spacing:-.01em;margin:0 0 .5em}h3{font-size:1rem;margin:0 0 .6em}
p{margin:0 0 .8em}section>p,.lead,li{max-width:72ch}.over{color:var(--muted);font-size:.9rem;margin:0}
.lead{font-size:1.1rem}
section{margin-top:3.2rem;padding-top:1.6rem;border-top:1px solid var(--line)}.soft,figcaption,dt{color:var(--muted)}
.ci{white-space:nowrap}data,td,dd{font-variant-numeric:tabular-nums}
.skipped{border-left:3px solid var(--unseen);padding:.3em .8em;background:var(--paper)}.ahead{color:var(--bad)}
.grid,.cards{display:grid;gap:16px;margin:1rem 0}.grid{align-items:start}
.cards,.two{grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr))}
.three{grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr))}
.card,figure{background:var(--paper);border:1px solid var(--line);border-radius:10px;margin:0;padding:18px 20px;
min-width:0}
.card p:last-child{margin:0}.big{font-size:3.4rem;font-weight:650;line-height:1;letter-spacing:-.03em;
margin:.1em 0 .25em}
.card.unseen .big{color:var(--unseen)}.card.seen .big{color:var(--accent)}
.chip{font-size:.72rem;font-weight:600;border:1px solid;border-radius:99px;padding:.05em .6em;vertical-align:.1em;
color:var(--accent);white-space:nowrap}.chip.unseen{color:var(--unseen)}
.wide{overflow-x:auto;background:var(--paper);border:1px solid var(--line);border-radius:10px}
table{border-collapse:separate;border-spacing:0;font-size:.86rem;line-height:1.3}.wide table{width:100%}
.wide th,.wide td{padding:8px 10px;border-bottom:1px solid var(--line);text-align:right;vertical-align:top;
min-width:88px}
.wide tbody:last-child tr:last-child>*{border-bottom:0}.wide thead th{vertical-align:bottom;font-weight:600}
.wide th:first-child{text-align:left;position:sticky;left:0;background:var(--paper);min-width:128px;z-index:1}
.wide th[scope=row]{font-weight:500}.wide th[scope=row]>span{display:block;color:var(--muted);font-size:.78rem;
font-weight:400}
.wide .all>*{border-bottom:2px solid var(--bar);font-weight:650}.wide .split th{padding-top:18px}
.split th>span{position:sticky;left:10px;font-weight:500}.wide .ref{color:var(--muted)}
.wide th+.ref,.wide td:not(.ref)+.ref,.wide th:not(.ref)+th.ref{border-left:2px solid var(--line)}
.rate{background:color-mix(in srgb,var(--accent) calc(var(--rate)*.2),transparent)}.rate.ref{background:none}
.rate b{display:block;font-weight:500;white-space:nowrap}.rate.best b{font-weight:750}.star{color:var(--accent)}
.rate .ci,.mean{display:block;font-size:.76rem;font-weight:400;color:var(--muted);white-space:nowrap}
th.own{color:var(--accent)}
svg,img{display:block;width:100%;height:auto}svg *{stroke-linejoin:round;stroke-linecap:butt}img{border-radius:6px}
figcaption{font-size:.86rem;margin-top:.6em}.clip{padding:14px}
.marks{display:grid;grid-template-columns:1fr 1fr;gap:8px}
.marks b{display:block;color:var(--ink)}.good{color:var(--good)}.bad{color:var(--bad)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;padding:0;font-size:.9rem}.legend li{cursor:default}
.legend i{display:inline-block;width:.75em;height:.75em;border-radius:50%;margin-right:.45em}
dl{display:grid;grid-template-columns:minmax(7em,auto) 1fr;gap:2px 20px;margin:0;font-size:.92rem}dd{margin:0;
overflow-wrap:anywhere}.plain{font-size:.95rem}.plain th{text-align:left;font-weight:500}.plain td{text-align:right}
.plain :is(th,td){padding:3px 20px 3px 0}.plain .all>*{border-top:1px solid var(--line);font-weight:650}
@media (max-width:560px){.card,figure{padding:14px 12px}}
summary{cursor:pointer;color:var(--accent);margin-bottom:.6em}@media print{section{break-inside:avoid}}
"""


def page(folder):
    results = Results(folder / "results.json")
    set_style()
    sections = (
        ("Protocol", protocol(results)), ("Results", table(results)), ("Success with intervals", bars(results)),
        ("Clips", clips(folder, results)), ("Maps of latents and embeddings", maps(folder, results)),
        ("Training", losses(folder)),
        ("Time, versions and seeds", f'<div class="grid three"><div><h3>Wall time</h3>{timing(results)}</div>'
         f"<div><h3>Versions</h3>{pairs(results.versions)}</div><div><h3>Seeds</h3>{pairs(results.seeds)}</div></div>"),
        ("What the numbers do not show", limits(results)))
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections)
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8"><title>maa quick-start: results</title>'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<style>{STYLE}</style></head><body><main>{headline(results)}{body}</main></body></html>\n")


def main(arguments):
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if arguments in (["-h"], ["--help"]) else 2
    folder = Path(arguments[0])
    target = folder / "report.html"
    try:
        need(folder.is_dir(), folder, "argument", "the folder that the quick-start wrote", "no folder")
        text = page(folder)
        unfinished = target.with_suffix(".html.part")
        unfinished.write_text(text, encoding="utf-8")
        os.replace(unfinished, target)
    except (ReportError, OSError) as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 1
    print(f"{target}: {len(text) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

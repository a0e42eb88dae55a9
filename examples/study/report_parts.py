"""Pieces of a study's page: short texts, figures and clips, as HTML."""
import base64
import html
import io
import json
import math
import re

import matplotlib
matplotlib.use("svg")
import numpy
from matplotlib import pyplot
from PIL import Image, features

from report_files import GENERATED, REFERENCES

# Colours of the figures; the page's style sheet gives the real ones, for light and for dark.
INK, MUTED, LINE, PAPER, ACCENT, BAR = (f"#01020{i}" for i in range(1, 7))
VARIABLES = dict(zip((INK, MUTED, LINE, PAPER, ACCENT, BAR), ("ink", "muted", "line", "paper", "accent", "bar")))
MOST_POINTS = 2500  # per map
CLIP_BYTES = 6_500_000  # of all clips together, before base64
# Per clip, the first of these that fits its share: width in pixels of each picture, frames, quality.
CLIP_SIZES = (240, 40, 60), (240, 32, 45), (200, 28, 40), (160, 20, 35), (120, 12, 30)

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


def split_name(split):
    return split.replace("_", " ")


def chip(split):
    return f'<span class="chip {split}">{split_name(split)}</span>'


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
        axes.annotate(f"{100 * row['qualified']:.0f} %", (1, place), xytext=(38, 0), textcoords="offset points",
                      ha="right", va="center")
    if extra:
        extra(axes)
    axes.set_yticks(range(len(entries)), [entry[0] for entry in entries])
    axes.set_xticks([0, .25, .5, .75, 1], ["0", "25", "50", "75", "100 %"])
    axes.set(xlim=(0, 1), ylim=(len(entries) - .4, -.6))
    axes.xaxis.grid(True)
    return figure


def method_bars(results, split):
    entries = [(method, results.row("mean", split, method),
                ACCENT if method == GENERATED else LINE if method in REFERENCES else BAR)
               for method in results.methods if results.row("mean", split, method)]
    return inline_svg(rate_bars(entries), f"methods-{split}", f"Qualified rate per method, {split_name(split)} tasks")


def task_bars(results, split):
    entries = [(task, results.row(task, split, GENERATED), ACCENT) for task in results.tasks[split]
               if results.row(task, split, GENERATED)]
    if not entries:
        return skipped(f"no rows per {split_name(split)} task in results.json.")

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
            axes.legend(loc="lower center", bbox_to_anchor=(.5, 1), ncols=2)

    return inline_svg(rate_bars(entries, marks), f"tasks-{split}", f"Generated policies per {split_name(split)} task")


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
            marker = "o" if len(points) <= 12 else None
            axes.plot(*zip(*binned(*zip(*points))), color=colour, linewidth=1.4, label=label, marker=marker,
                      markersize=4)
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
        step, lowest = min(kinds[1][2], key=lambda point: point[1])
        text += f"; validation: last {kinds[1][2][-1][1]:.4g}, lowest {lowest:.4g} at step {step}"
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


def encoded_clip(shown, width, most_frames, quality):
    """The clips side by side as (kind, looping picture, last picture)."""
    length = max(len(frames) for _, frames, _ in shown)
    height = round(max(width * frames.shape[1] / frames.shape[2] for _, frames, _ in shown))
    moments = numpy.unique(numpy.linspace(0, length - 1, min(length, most_frames)).round().astype(int))
    images = []
    for moment in moments:
        image = Image.new("RGB", (len(shown) * (width + 4) - 4, height), "white")
        for place, (_, frames, _) in enumerate(shown):  # a shorter clip holds its last frame
            part = Image.fromarray(frames[min(moment, len(frames) - 1)])
            image.paste(part.resize((width, height), Image.BILINEAR), (place * (width + 4), 0))
        images.append(image)
    kind = "webp" if features.check("webp_anim") else "gif"
    encoding = dict(quality=quality, method=2) if kind == "webp" else {}
    moving, still = io.BytesIO(), io.BytesIO()
    images[0].save(moving, kind, save_all=True, append_images=images[1:], loop=0,
                   duration=[4000 // most_frames] * (len(images) - 1) + [1200], **encoding)
    images[-1].save(still, kind, **encoding)
    return kind, moving.getvalue(), still.getvalue()


def clip_image(shown, most_bytes):
    """The clips side by side as a <picture> that loops, and stands still where less motion is wanted."""
    for size in CLIP_SIZES:
        kind, moving, still = encoded_clip(shown, *size)
        if len(moving) + len(still) <= most_bytes:
            break
    with Image.open(io.BytesIO(still)) as image:
        width, height = image.size
    names = ", ".join(who for who, _, _ in shown)
    return (f'<picture><source media="(prefers-reduced-motion: reduce)" srcset="{data_uri(kind, still)}">'
            f'<img src="{data_uri(kind, moving)}" width="{width}" height="{height}" alt="From the left: {names}">'
            "</picture>")

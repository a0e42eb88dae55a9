#!/usr/bin/env python3
"""Turns the quick-start's output folder into one self-contained page, OUT_FOLDER/report.html.

Usage: report.py OUT_FOLDER

Reads results.json and training.jsonl, and where they are there map.npz with map.json and clips/*.npz. Every number on
the page comes from these files. Needs Debian's python3-matplotlib (with the numpy and Pillow it brings).
"""
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # nothing beside the sources
try:
    from report_files import (GENERATED, REFERENCES, SPLITS, ReportError, Results, need, read_clip, read_map,
                              read_training)
    from report_parts import (chip, clip_image, escape, flat, interval, loss_figure, map_figure, method_bars, pairs,
                              percent, set_style, skipped, task_bars, task_colours)
except ImportError as missing:
    sys.exit(f"report.py: {missing}; install Debian's package python3-matplotlib")

STYLE = Path(__file__).resolve().with_name("report_style.css")


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
    if results.mirror_images:
        points.insert(1, f"{' and '.join(results.mirror_images)} are exact mirror images of tasks trained on, and training "
                         "mirrors its data: they are easier than “unseen” sounds.")
    return "<ul>" + "".join(f"<li>{escape(point)}</li>" for point in points) + "</ul>"


def page(folder):
    results = Results(folder / "results.json")
    style = STYLE.read_text(encoding="utf-8")
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
            f"<style>{style}</style></head><body><main>{headline(results)}{body}</main></body></html>\n")


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

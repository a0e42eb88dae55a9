#!/usr/bin/env python3
"""Turns a study's output folder into one self-contained page, OUT_FOLDER/report.html.

Usage: report.py OUT_FOLDER

Reads results.json and training.jsonl, and where they are there map.npz with map.json, clips/*.npz, and the tables
samples.json, noise.json and ablation.json. Every number on the page comes from these files, the paper's from paper_results.py. Needs
Debian's python3-matplotlib (with the numpy and Pillow it brings).
"""
import os
import sys
from pathlib import Path

sys.dont_write_bytecode = True  # nothing beside the sources
try:
    import paper_results as paper
    from report_files import (GENERATED, RATES, REFERENCES, SPLITS, STEPS, ReportError, Results, need, read_clip,
                              read_map, read_table, read_training)
    from report_parts import (CLIP_BYTES, chip, clip_image, escape, flat, interval, loss_figure, map_figure,
                              method_bars, pairs, percent, set_style, skipped, split_name, task_bars, task_colours)
except ImportError as missing:
    sys.exit(f"report.py: {missing}; install Debian's package python3-matplotlib")

STYLE = Path(__file__).resolve().with_name("report_style.css")
METAWORLD = "MetaWorld"  # as Simulator::name() gives it
# By simulator; of others "NAME tasks".
TASKS = {"tabletop": "tabletop tasks in MuJoCo", "reacher": "hidden goals of a two-link arm in MuJoCo",
         "quadruped": "commands to a walking quadruped in MuJoCo"}
CARDS = {"seen": "Seen tasks, new prompts", "new_run": "Seen tasks, runs not in the zoo", "unseen": "Unseen tasks"}
ALL = {"seen": "all seen tasks", "new_run": "all seen tasks, new runs", "unseen": "all unseen tasks"}
KINDS = {"seen": "trained on, new prompts", "new_run": "trained on, prompts of runs that no data are from",
         "unseen": "whole tasks held out"}
EXTRA_TABLES = ("samples.json", "noise.json", "ablation.json")
# Titles of the figures beside the qualified rate.
FIGURES = {"qualified": "qualified", "mean_success": "mean success", "top5": "top 5", "top10": "top 10",
           "top5_same_scenes": "top 5, same scenes*", "top10_same_scenes": "top 10, same scenes*",
           "rank_wise": "rank-wise qualified*", STEPS: "steps to success"}
assert set(FIGURES) == {"qualified", "mean_success", STEPS, *RATES}


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


def tasks_of(results):
    return TASKS.get(results.simulator, f"{results.simulator} tasks")


def headline(results):
    main = results.splits[-1]
    rate = results.row("mean", main, GENERATED)
    what = "tasks never trained on" if main == "unseen" else "new prompts of the training tasks"
    cards = []
    for split in reversed(results.splits):
        row = results.row("mean", split, GENERATED)
        shown = [m for m in results.references if results.row("mean", split, m)]
        cards.append(
            f'<article class="card {split}"><h3>{CARDS[split]}</h3><p class="big">{percent(row["qualified"])}</p><p>of {row["prompts"]} generated policies succeed in '
            f'all {row["scenes"]} scenes; 95&#8239;% interval {interval(row)}. Mean success over single scenes '
            f'{percent(row["mean_success"])}.</p><p>{verdict(results, split)}</p>'
            + (f'<p class="soft">For scale: {named(results, split, shown)}.</p>' if shown else "") + "</article>")
    missing = [split for split in ("seen", "unseen") if split not in results.splits]
    notes = "".join(skipped(f"results.json has no rows for {split} tasks.") for split in missing)
    if ("smoke", "true") in ((name.rpartition(".")[2], text) for name, text in flat(results.protocol)):
        notes += ('<p class="skipped"><b>A shortened run:</b> it shows that everything works, its numbers mean '
                  "nothing.</p>")
    counts = " and ".join(f"{len(results.tasks[split])} {split}" for split in results.splits if split != "new_run")
    versions = " · ".join(f"{escape(k)} {escape(v)}" for k, v in flat(results.versions)
                          if k in ("maa", "metaworld", "mujoco"))
    return (f'<header><p class="over">maa · {escape(results.simulator)} · policies generated from trajectories</p>'
            f'<h1>On {what}, {percent(rate["qualified"])} of the generated policies succeed in every scene</h1>'
            f'<p class="lead">95&#8239;% interval {interval(rate, 1)}&#8239;%. One policy per prompt on {counts} '
            f'{escape(tasks_of(results))}, no fine-tuning and no selection. {versions}.</p></header>'
            f'{notes}<div class="cards">{"".join(cards)}</div>')


def demonstrators(results):
    """What became of the demonstrations drawn for the prompts; by run where runs are told apart."""
    shown = results.demonstrators
    if not shown:
        return ""
    drawn, failed = (sum(each[key] for each in shown) for key in ("demonstrations", "failed"))
    runs = [f'{escape(each["task"])}, run {each["run"]} ({each["failed"]} of {each["demonstrations"]}'
            f'{"; left out" if each["left_out"] else ""})' for each in shown if each["run"] >= 0 and each["failed"]]
    return (f" Of {drawn} demonstrations drawn for prompts, {failed} failed and were rejected"
            f'{": " if runs else ""}{", ".join(runs)}.')


def protocol(results):
    p = results.protocol
    told = ("prompts_per_task", "scenes_per_policy", "episode_steps", "success")
    rest = pairs({key: value for key, value in p.items() if key not in told})
    return (f'<p>For each task, {p["prompts_per_task"]} trajectories never used in training are prompts, and each '
            f'method answers each prompt with one policy, which acts for {p["episode_steps"]} steps in each of '
            f'{p["scenes_per_policy"]} random scenes. A policy is <em>qualified</em> if it succeeds in all its scenes '
            f'(success: {escape(p["success"])}).{demonstrators(results)}</p><details><summary>Other settings</summary>{rest}</details>')


def split_line(split, columns):
    """The line of a table above the tasks of a split."""
    return f'<tr class="split"><th colspan="{columns}"><span>{chip(split)} {KINDS[split]}</span></th></tr>'


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
    body = "".join(f'<tbody data-split="{split}">{split_line(split, len(methods) + 1)}'
                   + line("mean", split, ALL[split])
                   + "".join(line(task, split, task) for task in results.tasks[split]) + "</tbody>"
                   for split in results.splits)
    return ('<p>Upper line: qualified rate; below it the 95&#8239;% interval in per cent (Wilson for one task, '
            'bootstrap over prompts for all tasks) and the mean success over single scenes. ★ marks the best qualified '
            'rate of each row; the columns on the right are references and take no part in it.</p>'
            '<div class="wide" tabindex="0">'
            f'<table><thead><tr><th scope="col">task</th>{head}</tr></thead>{body}</table></div>')


def figure_cell(value, key):
    if value is None:
        return "<td>–</td>"
    return f"<td>{value:.1f}</td>" if key == STEPS else f"<td>{percent(value)}</td>"


def figures_table(results, method):
    """All figures of one method, per task and mean; columns that were not measured are left out."""
    def measured(key):
        return any(results.figure("mean", split, method, key) is not None for split in results.splits)

    keys = [key for key in FIGURES if measured(key)]
    body = ""
    for split in results.splits:
        if not results.row("mean", split, method):
            continue
        body += split_line(split, len(keys) + 1)
        for task in ("mean", *results.tasks[split]):
            cells = "".join(figure_cell(results.figure(task, split, method, key), key) for key in keys)
            body += (f'<tr{" class=all" if task == "mean" else ""}><th scope="row">'
                     f'{ALL[split] if task == "mean" else escape(task)}</th>{cells}</tr>')
    head = "".join(f'<th scope="col">{FIGURES[key]}</th>' for key in keys)
    return ('<div class="wide" tabindex="0"><table class="figures"><thead><tr><th scope="col">task</th>'
            f"{head}</tr></thead><tbody>{body}</tbody></table></div>")


def figures(results):
    few = min(results.row("mean", split, GENERATED)["prompts"] // max(1, len(results.tasks[split]))
              for split in results.splits)
    note = "" if few > 10 else (f" Here a task has {few} policies: the “best 10” are all of them"
                                f'{", and so are the “best 5”" if few <= 5 else ""}.')
    others = "".join(f"<details><summary>{escape(method)}</summary>{figures_table(results, method)}</details>"
                     for method in results.methods if method != GENERATED)
    return ("<p><b>Qualified</b>: the same network succeeds in all its scenes. <b>Mean success</b>: over single "
            "scenes. <b>Top 5, top 10</b>: mean success of the best policies of a task, chosen by their success in "
            "separate selection scenes, not in those reported; methods not tried in those have no such columns."
            f"{note} <b>Steps to success</b>: over episodes that succeed; a task without any is left out of the mean."
            '</p><p>* As the paper does it, for comparison, both biased upwards: <b>same scenes</b> chooses the best '
            "policies in the very scenes that are reported. <b>Rank-wise</b> is the “qualified” of the paper's "
            "script: it sorts the outcomes of every scene by themselves, so that it ranks over scenes, not networks, "
            "and one “policy” may take its scenes from different networks.</p>"
            f"<h3>Generated</h3>{figures_table(results, GENERATED)}"
            + (f'<details class="fold"><summary>Every other method</summary>{others}</details>' if others else ""))


PAPER_COLUMNS = (("ours", ("qualified", "top5", "top10")),
                 ("ours, counted the paper's way*", ("rank_wise", "top5_same_scenes", "top10_same_scenes")))


def beside_paper(results):
    """The paper's rates beside ours, for the tasks of the same split that both have."""
    body, absent = "", []
    for split in results.splits:
        printed = paper.FIGURES[split]
        tasks = [task for task in results.tasks[split] if task in printed and results.row(task, split, GENERATED)]
        absent += [task for task in results.tasks[split] if task not in printed]
        if not tasks:
            continue
        lines = []
        for task in tasks:
            ours = [results.figure(task, split, GENERATED, key) for _, keys in PAPER_COLUMNS for key in keys]
            lines.append((task, [*printed[task], *ours], results.row(task, split, GENERATED)))
        body += split_line(split, 10)
        means = [None if None in column else sum(column) / len(column)
                 for column in zip(*(values for _, values, _ in lines))]
        for title, values, row in ((f"these {len(lines)} tasks", means, None), *lines):
            cells = [figure_cell(value, "") for value in values]
            if row:
                cells[3] = cells[3].replace("</td>", f" {interval(row)}</td>")
            body += (f'<tr{"" if row else " class=all"}><th scope="row">{escape(title)}</th>'
                     f'{"".join(cells)}</tr>')
    if not body:
        return skipped("the paper's numbers, as no task of this run is in its table.")
    version = f" (package {escape(str(results.versions['metaworld']))})" if "metaworld" in results.versions else ""
    prompts = results.protocol["prompts_per_task"]
    groups = "".join(f'<th scope="colgroup" colspan="3">{escape(title)}</th>'
                     for title in ("paper", *(title for title, _ in PAPER_COLUMNS)))
    missing = f"<li>Not in the paper's table: {escape(', '.join(absent))}.</li>" if absent else ""
    return (f'<p>The paper\'s numbers ({escape(paper.SOURCE)}) beside those of the generated policies. They were not '
            'measured under the same conditions: read them side by side, not as a race.</p>'
            f'<div class="wide" tabindex="0"><table class="figures paper"><thead><tr><th></th>{groups}</tr><tr><th '
            f'scope="col">task</th>{3 * "<th>qualified</th><th>top 5</th><th>top 10</th>"}</tr></thead><tbody>{body}'
            "</tbody></table></div><h3>What differs</h3><ul>"
            f"<li>Environments: the paper used MetaWorld's v2, this run v3{version}. Their "
            " physics and observations are not the same.</li>"
            "<li>Data: the paper's policies and prompts come from reinforcement learning (SAC), ours from scripted "
            "experts, which policies are cloned from.</li>"
            f"<li>Prompts: the paper made {paper.PROMPTS} policies a task, this run {prompts}. The best 5 or 10 of "
            f"{paper.PROMPTS} are a choicer selection than those of {prompts}.</li>"
            "<li>Selection: our top 5 and top 10 are chosen by scenes of their own. The columns marked * choose and "
            "count as the paper and its script do, and are biased upwards (the next section explains them). We cannot "
            f"tell whether the printed “qualified” was counted by that script.</li>{missing}</ul>")


def extra_tables(folder):
    """Sections (title, content) of the optional tables."""
    def cell(value):
        if isinstance(value, str):
            return f'<td class="text">{escape(value)}</td>'
        shown = "–" if value is None else f"{value:.4g}" if isinstance(value, float) else value
        return f"<td>{shown}</td>"

    sections = []
    for path in (folder / name for name in EXTRA_TABLES):
        if path.exists():
            data = read_table(path)
            head = "".join(f'<th scope="col">{escape(name)}</th>' for name in data["columns"])
            body = "".join(f'<tr>{"".join(map(cell, row))}</tr>' for row in data["rows"])
            sections.append((escape(data["title"]), f'<p>{escape(data["note"])}</p><div class="wide" tabindex="0">'
                             f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
                             "</div>"))
    return sections


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
    tasks = [(f"{task}_new_run" if split == "new_run" else task, task, split)
             for split in reversed(SPLITS) for task in results.tasks[split]]
    found = sorted((folder / "clips").glob("*.npz"))
    if not found:
        return skipped("the clips, as there is no clips/*.npz.")
    learned = "demonstrator" in results.methods
    figures, absent, most = [], [], 0
    for name, task, split in tasks:
        path = folder / "clips" / f"{name}.npz"
        if path not in found:
            absent.append(name)
            continue
        shown = [("demonstrator" if learned and who == "expert" else who, *rest) for who, *rest in read_clip(path)]
        most = max(most, len(shown))
        marks = "".join(f'<span class="{"good" if step >= 0 else "bad"}"><b>{who.capitalize()}</b> '
                        f'{f"✓ at step {step}" if step >= 0 else "✗ no success"}</span>'
                        for who, _, step in shown)
        picture = clip_image(shown, CLIP_BYTES / len(found))
        figures.append(f'<figure class="clip"><h3>{escape(task)} {chip(split)}</h3>{picture}'
                       f'<figcaption class="marks">{marks}</figcaption></figure>')
    notes = skipped(f"no clip for {', '.join(absent)}.") if absent else ""
    strange = [path.name for path in found if path.stem not in [name for name, _, _ in tasks]]
    notes += skipped(f"clips of tasks that results.json does not name: {', '.join(strange)}.") if strange else ""
    expert = "the learned policy that showed the prompt" if learned else "the scripted expert"
    left = "Left the demonstration that is the prompt, then" if most > 2 else "Left"
    return (f"<p>{left} the policy generated from the prompt, right {expert} in the policy's scene. Nothing "
            "is picked: of every task it is the first prompt and the first of its reported scenes. A loop is one whole "
            "episode, played faster; it illustrates, the tables measure.</p>"
            f'<div class="grid {"two" if most > 2 else "three"}">{"".join(figures)}</div>{notes}')


def timing(results):
    total = sum(results.wall_seconds.values())
    rows = "".join(f"<tr><th>{escape(stage)}</th><td>{seconds:.1f}&#8239;s</td><td>{100 * seconds / (total or 1):.0f}"
                   f"&#8239;%</td></tr>" for stage, seconds in results.wall_seconds.items())
    return (f'<table class="plain"><tbody>{rows}<tr class="all"><th>all stages</th><td>{total:.1f}&#8239;s</td>'
            "<td></td></tr></tbody></table>")


def limits(results):
    rows = [results.row("mean", split, GENERATED) for split in results.splits]
    sizes = " and ".join(f"{row['prompts']} {split_name(split)}" for row, split in zip(rows, results.splits))
    points = [
        f"The models were trained once, from the seeds above. The intervals cover the choice of prompts ({sizes}), not "
        "another training run, another zoo or other tasks.",
        f"All tasks, seen and unseen, are of one family ({results.simulator}): the same body and observations, related "
        "tasks. They say nothing about other robots or other simulators.",
        "Prompts come from the same simulator as the scenes in which the policies are measured.",
        "Success counts at any step of an episode: a policy that succeeds and then undoes it still counts.",
        "★ is the highest of several uncertain values; where intervals overlap another run may order them differently.",
        "The maps keep two directions of many: points that lie together there may be far apart in the others.",
    ]
    if results.simulator == METAWORLD:
        points.insert(2, "The paper's rates come from other environments, data and selection, as listed below "
                         "them.")
    else:
        points.insert(2, "The tasks are our own and not MetaWorld's, so the rates do not compare with published ones.")
    if results.validation:
        points.insert(1, f"Validation, by which training is watched, is on tasks of their own, in no reported set: "
                         f"{', '.join(results.validation)}.")
    if results.mirror_images:
        points.insert(1, f"{' and '.join(results.mirror_images)} are exact mirror images of tasks trained on, and "
                         "training mirrors its data: they are easier than “unseen” sounds.")
    return "<ul>" + "".join(f"<li>{escape(point)}</li>" for point in points) + "</ul>"


def page(folder):
    results = Results(folder / "results.json")
    extra = extra_tables(folder)  # first, as it fails fast
    style = STYLE.read_text(encoding="utf-8")
    set_style()
    sections = (
        ("Protocol", protocol(results)), ("Results", table(results)),
        *([("Beside the paper", beside_paper(results))] if results.simulator == METAWORLD else []),
        ("Other figures", figures(results)), ("Success with intervals", bars(results)), *extra,
        ("Clips", clips(folder, results)), ("Maps of latents and embeddings", maps(folder, results)),
        ("Training", losses(folder)),
        ("Time, versions and seeds", f'<div class="grid three"><div><h3>Wall time</h3>{timing(results)}</div>'
         f"<div><h3>Versions</h3>{pairs(results.versions)}</div><div><h3>Seeds</h3>{pairs(results.seeds)}</div></div>"),
        ("What the numbers do not show", limits(results)))
    body = "".join(f"<section><h2>{title}</h2>{content}</section>" for title, content in sections)
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8">'
            f"<title>maa on {escape(tasks_of(results))}: results</title>"
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<style>{style}</style></head><body><main>{headline(results)}{body}</main></body></html>\n")


def main(arguments):
    if len(arguments) != 1 or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0 if arguments in (["-h"], ["--help"]) else 2
    folder = Path(arguments[0])
    target = folder / "report.html"
    try:
        need(folder.is_dir(), folder, "argument", "the folder that a study wrote", "no folder")
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

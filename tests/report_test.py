#!/usr/bin/env python3
"""Tests examples/study/report.py and summarize.py, and check_results.py, on synthetic data.

Usage: report_test.py, or report_test.py --write FOLDER to look at a page made from that data.
"""
import base64
import contextlib
import copy
import csv
import html
import importlib.util
import io
import json
import math
import random
import re
import subprocess
import sys
import tempfile
import unittest
from html.parser import HTMLParser
from pathlib import Path

REPORT = Path(__file__).resolve().parent.parent / "examples" / "study" / "report.py"
if not all(importlib.util.find_spec(name) for name in ("matplotlib", "numpy", "PIL")):
    print("skipped: needs Debian's package python3-matplotlib")
    sys.exit(77)  # SKIP_RETURN_CODE
import numpy
from PIL import Image, ImageDraw

sys.path[:0] = [str(REPORT.parent), str(Path(__file__).resolve().parent)]
import check_results
import paper_results
import report
import report_files
import report_parts
import summarize

SEEN = ["reach", "push", "plate-slide", "drawer-open", "drawer-close", "door-open", "door-close", "button-press",
        "button-press-topdown", "handle-press", "faucet-open", "window-open"]
# Of MetaWorld's tasks: the last of each is not in the paper's table.
SEEN_METAWORLD, UNSEEN_METAWORLD = ["window-open", "dial-turn", "reach"], ["drawer-close", "door-close"]
UNSEEN = ["button-press-wall", "dial-turn", "faucet-close", "window-close"]
# Chance of one scene on seen and on unseen tasks; one baseline is ahead of "generated" on seen tasks.
METHODS = {"generated": (.97, .9), "nearest training policy": (.98, .45), "mean of 5 nearest": (.9, .4),
           "nearest + noise": (.8, .3), "cloned from random start": (.6, .5), "cloned from zoo mean": (.85, .7),
           "untrained policy": (.02, .02), "zoo (ceiling)": (.985, .96), "expert": (.998, .998)}


def wilson(successes, count):
    z, rate = 1.959964, successes / count
    middle = (rate + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(rate * (1 - rate) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return [max(0.0, middle - half), min(1.0, middle + half)]


def figures(policies, draw):
    """The figures of a row for policies of scenes (True for success)."""
    prompts, scenes = len(policies), len(policies[0])
    best = sorted((sum(policy) / scenes for policy in policies), reverse=True)
    return {"qualified": sum(map(all, policies)) / prompts, "mean_success": sum(best) / prompts,
            "rank_wise": min(map(sum, zip(*policies))) / prompts, "top5_same_scenes": sum(best[:5]) / 5,
            "top10_same_scenes": sum(best[:10]) / 10,
            "steps_to_success": draw.uniform(30, 90) if any(map(any, policies)) else 0}


def synthetic_results(seen, unseen, methods=METHODS, simulator="tabletop"):
    draw = random.Random(5)
    prompts, scenes, rows = 20, 5, []
    for split, tasks in (("seen", seen), ("unseen", unseen)):
        for method, chances in methods.items():
            of_tasks = []
            for task in tasks:
                chance = min(.999, max(0, chances[split == "unseen"] + draw.uniform(-.06, .04)))
                policies = [[draw.random() < chance for _ in range(scenes)] for _ in range(prompts)]
                own = figures(policies, draw)
                if method == "generated":
                    own |= {"top5": draw.uniform(.9, 1), "top10": draw.uniform(.8, .9)}
                of_tasks.append(own)
                rows.append({"task": task, "split": split, "method": method, "prompts": prompts, "scenes": scenes,
                             **own, "ci95": wilson(own["qualified"] * prompts, prompts)})
            count = prompts * len(tasks)
            means = {key: sum(own[key] for own in of_tasks) / len(of_tasks) for key in of_tasks[0]}
            rows.append({"task": "mean", "split": split, "method": method, "prompts": count, "scenes": scenes, **means,
                         "ci95": wilson(means["qualified"] * count, count)})
    return {
        "protocol": {"simulator": simulator, "prompts_per_task": prompts, "scenes_per_policy": scenes,
                     "episode_steps": 150, "success": "any step, joint over all scenes", "prompt_trajectories": 1,
                     "ddim_steps": 10, "neighbours": 5},
        "seeds": {"master": 7, "collect": 101, "zoo": 102, "fit": 103, "evaluate": 104},
        "versions": {"maa": "0.1.0", "mujoco": "2.2.2", "compiler": "g++ 12.2.0", "isa": "avx512"},
        "wall_seconds": {"collect": 11.4, "zoo": 84.2, "fit": 63.9, "evaluate": 41.3, "render": 9.7},
        "tasks": {"seen": seen, "unseen": unseen, "mirror_images": unseen[:1]}, "rows": rows}


def synthetic_training():
    draw, lines = random.Random(6), []
    for stage, steps, floor in (("zoo", 400, .02), ("autoencoder", 900, .001), ("embedder", 600, .3),
                                ("diffusion", 1500, .08), ("behavior", 300, .04)):
        for step in range(5, steps + 1, 5):
            loss = (floor + math.exp(-8 * step / steps)) * math.exp(draw.gauss(0, .12))
            entry = {"stage": stage, "step": step, "steps": steps, "loss": loss}
            if step % 50 == 0 and stage != "zoo":
                entry["validation"] = loss * 1.15
            lines.append(json.dumps(entry))
    return "\n".join(lines) + "\n"


def synthetic_frames(task, steps, reached):
    """A disc that walks to a goal, or past it."""
    width, height, frames = 160, 120, []
    for step in range(steps):
        part = step / (steps - 1)
        image = Image.new("RGB", (width, height), (216, 172, 130))
        pen = ImageDraw.Draw(image)
        pen.rectangle((0, 0, width, 30), fill=(196, 205, 214))
        pen.ellipse((118, 60, 130, 72), fill=(40, 190, 90))
        x, y = 20 + 104 * part, 100 - (34 if reached else 70 * part) * part
        pen.ellipse((x - 9, y - 9, x + 9, y + 9), fill=(50, 60, 80))
        pen.text((4, 4), task, fill=(30, 30, 30))
        frames.append(numpy.asarray(image))
    return numpy.stack(frames)


def write_folder(folder, seen=tuple(SEEN), unseen=tuple(UNSEEN), frames=60):
    seen, unseen = list(seen), list(unseen)
    (folder / "clips").mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(synthetic_results(seen, unseen)))
    (folder / "training.jsonl").write_text(synthetic_training())
    tasks, draw = seen + unseen, numpy.random.default_rng(8)
    (folder / "map.json").write_text(json.dumps(tasks))
    centres = draw.normal(size=(len(tasks), 256))
    latent_task = numpy.concatenate([numpy.repeat(numpy.arange(len(seen)), 40),
                                     numpy.repeat(numpy.arange(len(tasks)), 20)])
    latent_kind = (numpy.arange(len(latent_task)) >= 40 * len(seen)).astype(numpy.int64)
    embedding_task = numpy.repeat(numpy.arange(len(tasks)), 60)
    embedding_split = numpy.where(embedding_task >= len(seen), 2, (numpy.arange(len(embedding_task)) % 60 >= 40) * 1)
    numpy.savez(folder / "map.npz",
                latents=(centres[latent_task] + .4 * draw.normal(size=(len(latent_task), 256))).astype(numpy.float32),
                latent_task=latent_task, latent_kind=latent_kind, embedding_task=embedding_task,
                embeddings=(centres[embedding_task, :64] + .3 * draw.normal(size=(len(embedding_task), 64))
                            ).astype(numpy.float32), embedding_split=embedding_split)
    for index, task in enumerate(tasks):
        reached = index % 5 != 4
        prompt = {} if index % 2 else dict(frames_prompt=synthetic_frames(task, frames + 5, True), success_prompt=[50])
        numpy.savez(folder / "clips" / f"{task}.npz", **prompt, frames_expert=synthetic_frames(task, frames, True),
                    frames_generated=synthetic_frames(task, frames - 5, reached), success_expert=numpy.int64(48),
                    success_generated=numpy.int64(52 if reached else -1))


class Table(HTMLParser):
    """The rows of the results table: {(split, row title): [cell, ...]}, a cell as (is best, [values of its <data>])."""

    def __init__(self, text):
        super().__init__()
        self.split, self.title, self.in_title, self.columns, self.rows = None, "", False, [], {}
        self.feed(text[text.index("<thead>"):text.index("</table>")])

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "tbody":
            self.split = attributes["data-split"]
        elif tag == "th":
            self.in_title, self.title = True, ""
        elif tag == "span":
            self.in_title = False
        elif tag == "td":
            self.rows.setdefault((self.split, self.title), []).append(("best" in attributes.get("class", ""), []))
        elif tag == "data" and self.rows:
            self.rows[self.split, self.title][-1][1].append(float(attributes["value"]))

    def handle_endtag(self, tag):
        if tag == "th" and self.split is None:
            self.columns.append(self.title)
        self.in_title = self.in_title and tag != "th"

    def handle_data(self, data):
        if self.in_title:
            self.title += data


def run_report(folder):
    """report.py in this process: (exit code, standard output, standard error)."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = report.main([str(folder)])
    return code, out.getvalue(), err.getvalue()


def lines_of(table):
    """The text of each cell of a table's lines."""
    return [[visible(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", line)]
            for line in re.findall(r"<tr.*?</tr>", table, re.S)]


def figure_tables(page):
    """The tables of the section "Other figures"."""
    section = page[page.index("<h2>Other figures</h2>"):]
    return [lines_of(table)
            for table in re.findall(r"<table.*?</table>", section[:section.index("</section>")], re.S)]


def visible(text):
    return " ".join(re.sub(r"<[^>]*>", "", re.sub(r"(?s)<style>.*?</style>", "", text)).replace("&#8239;", " ").split())


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.temporary.name) / "run"
        write_folder(cls.folder, SEEN[:4], UNSEEN[:2], frames=12)
        cls.results = json.loads((cls.folder / "results.json").read_text())
        program = subprocess.run([sys.executable, str(REPORT), str(cls.folder)], capture_output=True, text=True)
        assert program.returncode == 0, program.stderr
        cls.page = (cls.folder / "report.html").read_text(encoding="utf-8")

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def test_table_holds_every_row_and_no_other(self):
        table = Table(self.page)
        self.assertEqual(table.columns[1:], list(METHODS))
        rows = {(row["split"], row["task"], row["method"]): row for row in self.results["rows"]}
        shown = {}
        for (split, title), cells in table.rows.items():
            task = "mean" if title == f"all {split} tasks" else title
            self.assertEqual(len(cells), len(METHODS))
            for method, (best, values) in zip(METHODS, cells):
                shown[split, task, method] = values
        self.assertEqual(set(shown), set(rows))
        for key, row in rows.items():
            self.assertEqual(shown[key], [row["qualified"], *row["ci95"], row["mean_success"]], key)

    def test_visible_numbers_round_the_exact_ones(self):
        found = re.findall(r'<data value="([^"]+)">([\d.]+)', self.page)
        self.assertGreater(len(found), 4 * len(self.results["rows"]))
        for exact, shown in found:
            digits = len(shown.partition(".")[2])
            self.assertAlmostEqual(100 * float(exact), float(shown), delta=.5 * 10 ** -digits + 1e-9)

    def test_figures_of_every_method_are_shown(self):
        tables = dict(zip(("generated", *(m for m in METHODS if m != "generated")), figure_tables(self.page)))
        self.assertEqual(list(tables), ["generated", *list(METHODS)[1:]])
        keys = ("qualified", "mean_success", "top5", "top10", "top5_same_scenes", "top10_same_scenes", "rank_wise",
                "steps_to_success")
        for method, table in tables.items():
            shown = [key for key in keys if method == "generated" or key not in ("top5", "top10")]
            self.assertEqual([cell for cell in table[0][1:]], [report.FIGURES[key] for key in shown])
            for row in self.results["rows"]:
                if row["method"] == method:
                    title = f"all {row['split']} tasks" if row["task"] == "mean" else row["task"]
                    self.assertEqual(next(line for line in table if line[0] == title)[1:-1],
                                     [f"{100 * row[key]:.0f} %" for key in shown[:-1]])

    def test_the_simulator_is_named(self):
        self.assertIn("<title>maa on tabletop tasks in MuJoCo: results</title>", self.page)
        self.assertIn("The tasks are our own and not MetaWorld", visible(self.page))
        self.assertNotIn("Beside the paper", self.page)

    def test_best_of_each_row_is_marked_among_compared_methods(self):
        compared = [method for method in METHODS if method not in ("zoo (ceiling)", "expert")]
        for cells in Table(self.page).rows.values():
            rates = {method: values[0] for method, (_, values) in zip(METHODS, cells)}
            top = max(rates[method] for method in compared)
            for method, (best, _) in zip(METHODS, cells):
                self.assertEqual(best, method in compared and rates[method] == top > 0)

    def test_headline_is_the_unseen_mean(self):
        row = next(r for r in self.results["rows"]
                   if (r["task"], r["split"], r["method"]) == ("mean", "unseen", "generated"))
        title = re.search(r"<h1>(.*?)</h1>", self.page).group(1)
        self.assertIn(f'value="{row["qualified"]!r}"', title)
        lead = re.search(r'class="lead">(.*?)</p>', self.page).group(1)
        self.assertEqual([float(v) for v in re.findall(r'value="([^"]+)"', lead)], row["ci95"])

    def test_page_needs_no_network_and_no_script(self):
        self.assertNotIn("<script", self.page)
        self.assertNotIn("<link", self.page)
        for address in re.findall(r'(?:src|srcset|href)="([^"]*)"', self.page):
            self.assertRegex(address, r"^(data:image/(webp|gif);base64,|#)")
        self.assertNotRegex(self.page, r"url\((?!#)")

    def test_ids_are_unique_and_references_resolve(self):
        ids = re.findall(r'\bid="([^"]*)"', self.page)
        self.assertEqual(len(ids), len(set(ids)))
        for target in re.findall(r'(?:href="|url\()#([^")]*)', self.page):
            self.assertIn(target, ids)

    def test_clips_are_animated_and_marked(self):
        self.assertEqual(self.page.count("<picture>"), 6)
        text = visible(self.page)
        self.assertEqual(text.count("✗ no success"), 1)
        self.assertEqual(text.count("✓ at step 52"), 5)
        self.assertEqual(text.count("✓ at step 50"), 3)  # every second task has its prompt's clip
        self.assertEqual(self.page.count('alt="From the left: prompt, generated, expert"'), 3)
        self.assertEqual(self.page.count('alt="From the left: generated, expert"'), 3)
        self.assertIn("Nothing is picked: of every task it is the first prompt", text)
        data = re.search(r'<img src="data:image/\w+;base64,([^"]*)"', self.page).group(1)
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            self.assertEqual(image.n_frames, 17)  # of the longest of the three
            self.assertEqual(image.size, (3 * 240 + 2 * 4, 180))

    def test_provenance_comes_from_the_file(self):
        text = visible(self.page)
        for values in (self.results["seeds"], self.results["versions"]):
            for name, value in values.items():
                self.assertIn(f"{name}{value}", text.replace(" ", "").replace("g++12.2.0", "g++ 12.2.0"))
        for stage, seconds in self.results["wall_seconds"].items():
            self.assertIn(f"{stage}{seconds:.1f}", text)
        self.assertIn("last loss", text)


class Variants(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.results = synthetic_results(SEEN[:2], UNSEEN[:2])
        self.write()
        (self.folder / "training.jsonl").write_text('{"stage":"zoo","step":1,"steps":9,"loss":-0.5}\n')

    def write(self):
        (self.folder / "results.json").write_text(json.dumps(self.results))

    def page(self):
        code, _, err = run_report(self.folder)
        self.assertEqual((code, err), (0, ""))
        return (self.folder / "report.html").read_text(encoding="utf-8")

    def mean(self, split, method):
        return next(row for row in self.results["rows"]
                    if (row["task"], row["split"], row["method"]) == ("mean", split, method))

    def fails(self, *words):
        code, out, err = run_report(self.folder)
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(err.count("\n"), 1, err)
        for word in words:
            self.assertIn(word, err)
        self.assertFalse((self.folder / "report.html").exists())

    def test_missing_clips_and_map_are_named(self):
        text = visible(self.page())
        self.assertIn("Left out: the clips, as there is no clips/*.npz.", text)
        self.assertIn("Left out: the maps, as there is no map.npz and no map.json.", text)

    def test_a_method_that_is_ahead_is_named(self):
        self.mean("unseen", "generated").update(qualified=.5, ci95=[.4, .6])
        for method in METHODS:
            if method not in ("generated", "zoo (ceiling)", "expert"):
                self.mean("unseen", method).update(qualified=.25, ci95=[.2, .3])
        self.write()
        card = self.card()
        self.assertIn("No compared method is ahead. Closest:", card)
        self.assertIn("do not overlap.", card)
        self.mean("unseen", "nearest + noise").update(qualified=.75, ci95=[.55, .85])
        self.write()
        card = self.card()
        self.assertIn("Ahead of generated: nearest + noise 75", card)
        self.assertIn("The intervals of generated and nearest + noise overlap", card)

    def card(self):
        return visible(re.search(r'<article class="card unseen">(.*?)</article>', self.page(), re.S).group(1))

    def test_one_split_alone(self):
        self.results["rows"] = [row for row in self.results["rows"] if row["split"] == "seen"]
        self.results["tasks"]["unseen"] = []
        self.write()
        text = visible(self.page())
        self.assertIn("On new prompts of the training tasks", text)
        self.assertIn("results.json has no rows for unseen tasks", text)

    def test_a_method_measured_on_one_split_only(self):
        self.results["rows"] = [row for row in self.results["rows"]
                                if (row["split"], row["method"]) != ("unseen", "zoo (ceiling)")]
        self.write()
        table = Table(self.page())
        column = list(METHODS).index("zoo (ceiling)")
        for (split, _), cells in table.rows.items():
            self.assertEqual(len(cells[column][1]), 0 if split == "unseen" else 4)

    def test_prompts_of_runs_that_no_data_are_from(self):
        copies = [dict(row, split="new_run") for row in self.results["rows"]
                  if row["split"] == "seen" and row["method"] != "zoo (ceiling)"]
        self.results["rows"] = [dict(row, method=row["method"].replace("expert", "demonstrator"))
                                for row in self.results["rows"] + copies]
        self.results["tasks"]["new_run"] = self.results["tasks"]["seen"]
        self.results["demonstrators"] = [
            {"task": task, "split": "new_run", "run": 3, "demonstrations": 10, "failed": failed, "left_out": failed == 10}
            for task, failed in zip(self.results["tasks"]["seen"], (0, 4, 10))]
        self.write()
        page = self.page()
        self.assertIn("all seen tasks, new runs", page)
        text = visible(page)
        self.assertIn("failed and were rejected: push, run 3 (4 of 10)", text)
        self.assertIn("Seen tasks, runs not in the zoo", text)
        table = Table(page)
        self.assertEqual({split for split, _ in table.rows}, {"seen", "new_run", "unseen"})
        lines = list(summarize.markdown(summarize.summary([report_files.Results(self.folder / "results.json")])))
        self.assertTrue(lines[0].startswith("| method | seen tasks | runs not in the zoo | unseen tasks |"), lines[0])

    def test_a_shortened_run_says_so(self):
        self.results["protocol"]["options"] = {"smoke": False}
        self.write()
        self.assertNotIn("A shortened run", self.page())
        self.results["protocol"]["options"] = {"smoke": True}
        self.write()
        self.assertIn("A shortened run", self.page())

    def test_steps_leave_out_tasks_without_success(self):
        for row in self.results["rows"]:
            if (row["split"], row["method"]) == ("seen", "generated"):
                row["steps_to_success"] = {"reach": 41.5, "push": 0, "mean": 20.75}[row["task"]]
                row["mean_success"] = row["mean_success"] if row["task"] != "push" else 0
        self.write()
        steps = {line[0]: line[-1] for line in figure_tables(self.page())[0]}
        self.assertEqual((steps["reach"], steps["push"], steps["all seen tasks"]), ("41.5", "–", "41.5"))

    def test_metaworld_stands_beside_the_paper(self):
        methods = {**METHODS, "a method of <tomorrow>": (.5, .5)}
        self.results = synthetic_results(SEEN_METAWORLD, UNSEEN_METAWORLD, methods, "MetaWorld")
        self.results["tasks"]["validation"] = ["sweep"]
        for row in self.results["rows"]:
            if row["method"] == "generated" and row["task"] in ("window-open", "dial-turn"):
                row.update(qualified=.75, ci95=[.5, .9], rank_wise=.8, top5=.95, top10=.9, top5_same_scenes=1,
                           top10_same_scenes=.97)
        self.write()
        page = self.page()
        self.assertIn("<title>maa on MetaWorld tasks: results</title>", page)
        section = page[page.index("<h2>Beside the paper</h2>"):page.index("<h2>Other figures</h2>")]
        lines = {line[0]: line[1:] for line in lines_of(section)}
        self.assertEqual(lines["window-open"], ["33 %", "100 %", "100 %", "75 % 50 – 90", "95 %", "90 %", "80 %",
                                                "100 %", "97 %"])
        self.assertEqual(lines["these 2 tasks"][:4], ["28 %", "91 %", "86 %", "75 %"])  # .28 .91 .865 .75
        self.assertIn("drawer-close", lines)
        self.assertFalse({"reach", "door-close"} & set(lines))
        self.assertIn("Not in the paper's table: reach, door-close.", visible(section))
        self.assertIn("the paper made 100 policies a task, this run 20.", visible(section))
        text = visible(page)
        self.assertIn("a method of &lt;tomorrow&gt;", text)
        self.assertIn("in no reported set: sweep.", text)
        self.assertNotIn("The tasks are our own", text)

    def test_metaworld_tasks_that_the_paper_does_not_print(self):
        self.results = synthetic_results(["reach"], ["door-close"], METHODS, "MetaWorld")
        self.write()
        self.assertIn("Left out: the paper's numbers, as no task of this run is in its table.",
                      visible(html.unescape(self.page())))

    def test_extra_tables(self):
        good = {"title": "Noise <1>", "note": "How it was made.", "columns": ["method", "0", "0.5"],
                "rows": [["generated", .91234, None], ["a & b", 1, "-"]]}
        path = self.folder / "noise.json"
        path.write_text(json.dumps(good))
        page = self.page()
        section = page[page.index("<h2>Noise &lt;1&gt;</h2>"):]
        self.assertEqual(lines_of(section[:section.index("</section>")]),
                         [good["columns"], ["generated", "0.9123", "–"], ["a &amp; b", "1", "-"]])
        (self.folder / "report.html").unlink()
        for key, value, words in (
                ("title", "", ("title",)), ("note", None, ("note",)), ("columns", [], ("columns",)),
                ("columns", ["one", 2], ("columns", "a list of names")), ("rows", [], ("rows",)),
                ("rows", [["generated", 1]], ("rows[0]", "a list of 3 cells")),
                ("rows", [["generated", 1, [2]]], ("rows[0][2]", "text, a finite number or null", "[2]")),
                ("rows", [["generated", 1, math.nan]], ("rows[0][2]", "finite"))):
            with self.subTest(key=key, value=value):
                path.write_text(json.dumps({**good, key: value}))
                self.fails("noise.json", "expected", *words)
        path.write_text("[1]")
        self.fails("noise.json", "expected an object, found list")
        path.rename(self.folder / "ablation.json")
        self.fails("ablation.json", "expected an object, found list")

    def test_validation_is_shown(self):
        (self.folder / "training.jsonl").write_text("".join(
            json.dumps({"stage": stage, "step": step, "loss": loss, **more}) + "\n"
            for stage, step, loss, more in (
                ("behavior", 10, .5, {"validation": .25}), ("behavior", 20, .4, {"validation": .75}),
                ("autoencoder", 1, .1, {}))))
        text = visible(self.page())
        self.assertIn("last loss 0.4; validation: last 0.75, lowest 0.25 at step 10", text)
        self.assertLess(text.index("last loss 0.4"), text.index("last loss 0.1"))  # stages in the file's order

    def test_names_are_escaped(self):
        self.results["seeds"]["<script>"] = "<b>&"
        self.write()
        self.assertIn("&lt;script&gt;</dt><dd>&lt;b&gt;&amp;", self.page())

    def test_bad_results_fail_in_one_line(self):
        def change(*keys_and_value):
            *keys, last, value = keys_and_value
            place = self.results
            for key in keys:
                place = place[key]
            place[last] = value

        good = self.results
        for keys, words in (
                (("rows", 0, "qualified", 1.5), ("rows[0].qualified", "rate in [0, 1]", "1.5")),
                (("rows", 0, "qualified", True), ("rows[0].qualified", "True")),
                (("rows", 1, "mean_success", None), ("rows[1].mean_success", "None")),
                (("rows", 0, "top5", 2), ("rows[0].top5", "rate in [0, 1]")),
                (("rows", 0, "rank_wise", "all"), ("rows[0].rank_wise", "all")),
                (("rows", 0, "steps_to_success", -1), ("rows[0].steps_to_success", "-1")),
                (("rows", 0, "ci95", [.5, 1 + 1e-6]), ("rows[0].ci95[1]", "rate in [0, 1]")),
                (("protocol", "simulator", None), ("protocol.simulator", "a name")),
                (("rows", 2, "ci95", [.5]), ("rows[2].ci95", "[low, high]")),
                (("rows", 2, "ci95", [.9, .1]), ("rows[2].ci95", "low <= high")),
                (("rows", 3, "split", "new"), ("rows[3].split", "seen, new_run or unseen", "new")),
                (("rows", 3, "task", "juggle"), ("rows[3].task", "juggle")),
                (("rows", 3, "prompts", 0), ("rows[3].prompts", "above 0")),
                (("rows", 1, good["rows"][0]), ("rows[1]", "one row per task")),
                (("rows", []), ("rows",)),
                (("rows", [row for row in good["rows"] if row["method"] != "generated"]), ("method generated",)),
                (("seeds", 7), ("seeds", "an object")),
                (("tasks", "seen", "reach"), ("tasks.seen", "a list of names")),
                (("protocol", "episode_steps", "many"), ("protocol.episode_steps", "many")),
                (("wall_seconds", "fit", -1), ("wall_seconds.fit", "-1"))):
            with self.subTest(keys=keys):
                self.results = copy.deepcopy(good)
                change(*keys)
                self.write()
                self.fails("results.json", "expected", *words)
        self.results = good

    def test_broken_files_fail_in_one_line(self):
        path = self.folder / "results.json"
        whole = path.read_text()
        path.write_text(whole[:len(whole) // 2])
        self.fails("results.json", "expected JSON")
        path.write_text("[]")
        self.fails("results.json", "expected an object, found list")
        path.unlink()
        self.fails("results.json", "expected a readable UTF-8 file")
        path.write_text(whole)
        for line, words in (('{"stage":"zoo","step":2,"loss":NaN}', ("line 2.loss", "finite")),
                            ('{"stage":"zoo","step":2,"lo', ("line 2", "expected JSON")),
                            ('{"step":2,"loss":1}', ("line 2.stage",))):
            (self.folder / "training.jsonl").write_text('{"stage":"zoo","step":1,"loss":1}\n' + line + "\n")
            self.fails("training.jsonl", *words)
        (self.folder / "training.jsonl").unlink()
        self.fails("training.jsonl")

    def test_bad_arrays_fail_in_one_line(self):
        points = numpy.zeros((4, 3), numpy.float32)
        labels = numpy.zeros(4, numpy.int64)
        good = dict(latents=points, latent_task=labels, latent_kind=labels, embeddings=points, embedding_task=labels,
                    embedding_split=labels)
        (self.folder / "map.json").write_text('["reach"]')
        for name, value, word in (("latents", points[0], "[N, D]"), ("latents", points * math.nan, "finite"),
                                  ("latent_task", labels[:2], "integer array [4]"),
                                  ("latent_task", labels - 1, "[0, 1)"), ("latent_kind", labels + 2, "[0, 2)"),
                                  ("embedding_task", labels + 1, "[0, 1)"), ("embeddings", labels, "float")):
            numpy.savez(self.folder / "map.npz", **{**good, name: value})
            self.fails("map.npz", name, word)
        (self.folder / "map.npz").write_bytes((self.folder / "map.npz").read_bytes()[:200])
        self.fails("map.npz", "expected an .npz archive")
        with open(self.folder / "map.npz", "wb") as file:
            numpy.save(file, points)
        self.fails("map.npz", "expected an .npz archive")
        (self.folder / "map.npz").unlink()

        (self.folder / "clips").mkdir()
        clip = self.folder / "clips" / "reach.npz"
        frames = numpy.zeros((2, 8, 8, 3), numpy.uint8)
        good = dict(frames_expert=frames, frames_generated=frames, success_expert=1, success_generated=-1)
        numpy.savez(clip, **{**good, "frames_generated": frames.astype(float)})
        self.fails("reach.npz", "frames_generated", "uint8 [T, H, W, 3]")
        numpy.savez(clip, **{**good, "frames_prompt": frames})
        self.fails("reach.npz", "success_prompt", "nothing")
        numpy.savez(clip, **{**good, "frames_prompt": frames[0], "success_prompt": 1})
        self.fails("reach.npz", "frames_prompt", "uint8 [T, H, W, 3]")
        numpy.savez(clip, **{**good, "success_expert": [1, 2]})
        self.fails("reach.npz", "success_expert")
        del good["success_expert"]
        numpy.savez(clip, **good)
        self.fails("reach.npz", "expected frames_expert, frames_generated, success_expert")

    def test_no_folder(self):
        program = subprocess.run([sys.executable, str(REPORT), str(self.folder / "nowhere")], capture_output=True,
                                 text=True)
        self.assertEqual(program.returncode, 1)
        self.assertRegex(program.stderr, r"^report.py: .*nowhere: .*\n$")


class Clips(unittest.TestCase):
    def test_a_clip_keeps_to_its_share(self):
        draw = numpy.random.default_rng(1)  # noise is what an encoder can do least with
        frames = draw.integers(0, 255, (12, 60, 80, 3), dtype=numpy.uint8)
        shown = [(who, frames, 1) for who in ("prompt", "generated", "expert")]
        free = report_parts.clip_image(shown, math.inf)
        share = len(free) // 3  # base64 and all
        self.assertLess(len(report_parts.clip_image(shown, .75 * share)), share + 1000)

    def test_rates_may_miss_one_by_rounding(self):
        data = synthetic_results(SEEN[:1], UNSEEN[:1])
        data["rows"][0]["ci95"] = [.5, 1.0000000000000002]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "results.json"
            path.write_text(json.dumps(data))
            report_files.Results(path)


class Programs(unittest.TestCase):
    """summarize.py and check_results.py."""

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def write(self, name, data):
        path = self.folder / name
        path.write_text(json.dumps(data))
        return path

    def test_summary_over_seeds(self):
        runs = []
        for number, rates in enumerate(((.5, 1), (.6, .4), (1, .7))):  # of the two unseen tasks, the first mirrored
            data = synthetic_results(SEEN_METAWORLD, UNSEEN_METAWORLD, METHODS, "MetaWorld")
            data["rows"] = [row for row in data["rows"] if (row["split"], row["method"]) != ("unseen", "zoo (ceiling)")]
            data["seeds"] = {"seed": number}
            for row in data["rows"]:
                if (row["split"], row["method"]) == ("unseen", "generated") and row["task"] != "mean":
                    row["qualified"] = rates[UNSEEN_METAWORLD.index(row["task"])]
            runs.append(str(self.write(f"{number}.json", data)))
        out, path = io.StringIO(), self.folder / "summary.json"
        with contextlib.redirect_stdout(out):
            self.assertEqual(summarize.main([*runs, "--json", str(path)]), 0)
        lines = out.getvalue().splitlines()
        self.assertEqual(lines[0], "| method | seen tasks | unseen tasks | unseen, without mirror images |")
        self.assertEqual(len(lines), 2 + len(METHODS))
        self.assertTrue(lines[2].endswith("| 0.70 (0.50 - 0.85) | 0.70 (0.40 - 1.00) |"), lines[2])
        ceiling = next(line for line in lines if "zoo (ceiling)" in line)
        self.assertRegex(ceiling, r"\(.*\) \| - \| - \|$")
        data = json.loads(path.read_text())
        self.assertEqual((data["simulator"], [run["seeds"] for run in data["runs"]]),
                         ("MetaWorld", [{"seed": 0}, {"seed": 1}, {"seed": 2}]))
        self.assertEqual(list(data["qualified"]), list(METHODS))
        found = data["qualified"]["generated"]["unseen"]
        for key, value in (("mean", .7), ("lowest", .5), ("highest", .85)):
            self.assertAlmostEqual(found[key], value)
        self.assertIsNone(data["qualified"]["zoo (ceiling)"]["unseen"])
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            self.assertEqual(summarize.main([*runs, "--tasks"]), 0)
        tables = out.getvalue().splitlines()[len(lines) + 1:]
        self.assertEqual(tables[0], f"| seen task | {' | '.join(METHODS)} |")
        self.assertEqual([line.split(" | ")[0][2:] for line in tables[2:2 + len(SEEN_METAWORLD)]], SEEN_METAWORLD)
        row = dict(zip(METHODS, tables[-1].strip("| ").split(" | ")[1:]))  # the last unseen task
        self.assertEqual((row["generated"], row["zoo (ceiling)"]), ("0.70", "-"))

    def test_table_of_runs(self):
        data = synthetic_results(SEEN[:2], UNSEEN[:1])
        data["rows"] = [row for row in data["rows"] if (row["split"], row["method"]) != ("unseen", "zoo (ceiling)")]
        path, table = self.write("one.json", data), self.folder / "runs.csv"

        def add(*options):
            self.assertEqual(summarize.main([str(path), "--csv", str(table), *options]), 0)
            return list(csv.DictReader(table.read_text().splitlines()))

        rows = add("--run", "first", "--command", "bash study.sh --tasks \"a, b\"")
        self.assertEqual(len(rows), 2 * len(METHODS) - 1)
        self.assertEqual(tuple(rows[0]), summarize.COLUMNS)
        mean = next(row for row in data["rows"] if row["task"] == "mean" and row["split"] == "seen")
        self.assertEqual((rows[0]["run"], rows[0]["command"], rows[0]["split"], rows[0]["method"], rows[0]["policies"]),
                         ("first", "bash study.sh --tasks \"a, b\"", "seen", "generated", str(mean["prompts"])))
        self.assertAlmostEqual(float(rows[0]["qualified"]), mean["qualified"], places=3)
        self.assertAlmostEqual(float(rows[0]["low"]), mean["ci95"][0], places=3)
        self.assertEqual(next(row for row in rows if row["method"] == "expert")["top5"], "")
        # Another run joins it, with the command that is on record; the same one takes its own place.
        data["command"] = "study all"
        path = self.write("two.json", data)
        both = add()
        self.assertEqual((both[:len(rows)], {row["run"] for row in both[len(rows):]}), (rows, {"two"}))
        self.assertEqual(both[-1]["command"], "study all")
        self.assertEqual(len(add()), len(both))
        # Without any command, and with a table of other columns.
        for text, options in ((table.read_text(), ()), ("run,method\na,b\n", ("--command", "c"))):
            table.write_text(text)
            path = self.write("three.json", {key: value for key, value in data.items() if key != "command"})
            err = io.StringIO()
            with contextlib.redirect_stderr(err):
                self.assertEqual(summarize.main([str(path), "--csv", str(table), *options]), 1)
            self.assertRegex(err.getvalue(), r"^summarize.py: .*: (command|columns): expected .*\n$")
            self.assertEqual(table.read_text(), text)

    def test_summary_of_unlike_runs(self):
        one = self.write("one.json", synthetic_results(SEEN[:1], UNSEEN[:1]))
        for other in (synthetic_results(SEEN[:1], UNSEEN[:1], METHODS, "MetaWorld"),
                      synthetic_results(SEEN[:2], UNSEEN[:1])):
            err = io.StringIO()
            with contextlib.redirect_stderr(err):
                self.assertEqual(summarize.main([str(one), str(self.write("other.json", other))]), 1)
            self.assertRegex(err.getvalue(), r"^summarize.py: .*other.json: (simulator|tasks): expected .*\n$")

    def test_check_of_a_complete_run(self):
        methods = {**METHODS, **{method: (.5, .5) for method in check_results.BASELINES}}

        def smoke():
            return synthetic_results(["button-press", "drawer-open", "reach"], ["drawer-close"], methods, "MetaWorld")

        def fails(data, *words):
            with self.assertRaises(report_files.ReportError) as caught:
                check_results.check(self.write("results.json", data))
            for word in words:
                self.assertIn(word, str(caught.exception))

        with contextlib.redirect_stdout(io.StringIO()):
            check_results.check(self.write("results.json", smoke()))
        for method in ("multi-task cloning", "expert"):
            data = smoke()
            data["rows"] = [row for row in data["rows"] if row["method"] != method]
            fails(data, f"also {method}")
        data = smoke()
        data["rows"] = [row for row in data["rows"] if (row["task"], row["method"]) != ("reach", "generated")]
        fails(data, "a row for reach, seen, generated")
        for key, value, word in (("rank_wise", 0, "no less than qualified"), ("qualified", 1, "an interval around"),
                                 ("top5_same_scenes", 0, "top5_same_scenes >=")):
            data = smoke()
            data["rows"][0][key] = value
            fails(data, word)
        data = smoke()
        del data["rows"][0]["top5"]
        fails(data, "the figure top5")
        data = smoke()
        data["tasks"]["validation"] = ["reach"]
        fails(data, "each task in one of")

    def test_the_papers_table(self):
        self.assertEqual([len(tasks) for tasks in paper_results.FIGURES.values()], [8, 8])
        for tasks in paper_results.FIGURES.values():
            for qualified, top5, top10 in tasks.values():
                self.assertLess(0, qualified)
                self.assertLessEqual(qualified, top10)
                self.assertLessEqual(top10, top5)
                self.assertLessEqual(top5, 1)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"] and len(sys.argv) == 3:
        write_folder(Path(sys.argv[2]))
        sys.exit(report.main(sys.argv[2:]))
    unittest.main()

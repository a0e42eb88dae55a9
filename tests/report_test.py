#!/usr/bin/env python3
"""Tests examples/quickstart/report.py on synthetic data.

Usage: report_test.py, or report_test.py --write FOLDER to look at a page made from that data.
"""
import base64
import contextlib
import copy
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

REPORT = Path(__file__).resolve().parent.parent / "examples" / "quickstart" / "report.py"
if not all(importlib.util.find_spec(name) for name in ("matplotlib", "numpy", "PIL")):
    print("skipped: needs Debian's package python3-matplotlib")
    sys.exit(77)  # SKIP_RETURN_CODE
import numpy
from PIL import Image, ImageDraw

sys.path.insert(0, str(REPORT.parent))
import report

SEEN = ["reach", "push", "plate-slide", "drawer-open", "drawer-close", "door-open", "door-close", "button-press",
        "button-press-topdown", "handle-press", "faucet-open", "window-open"]
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


def synthetic_results(seen, unseen):
    draw = random.Random(5)
    prompts, scenes, rows = 20, 5, []
    for split, tasks in (("seen", seen), ("unseen", unseen)):
        for method, chances in METHODS.items():
            of_tasks = []
            for task in tasks:
                chance = min(.999, max(0, chances[split == "unseen"] + draw.uniform(-.06, .04)))
                policies = [sum(draw.random() < chance for _ in range(scenes)) for _ in range(prompts)]
                qualified = sum(count == scenes for count in policies)
                of_tasks.append((qualified, sum(policies)))
                rows.append({"task": task, "split": split, "method": method, "prompts": prompts, "scenes": scenes,
                             "qualified": qualified / prompts, "ci95": wilson(qualified, prompts),
                             "mean_success": sum(policies) / (prompts * scenes)})
            qualified, successes = map(sum, zip(*of_tasks))
            count = prompts * len(tasks)
            rows.append({"task": "mean", "split": split, "method": method, "prompts": count, "scenes": scenes,
                         "qualified": qualified / count, "ci95": wilson(qualified, count),
                         "mean_success": successes / (count * scenes)})
    return {
        "protocol": {"prompts_per_task": prompts, "scenes_per_policy": scenes, "episode_steps": 150,
                     "success": "any step, joint over all scenes", "prompt_trajectories": 1, "ddim_steps": 10,
                     "neighbours": 5},
        "seeds": {"master": 7, "collect": 101, "zoo": 102, "fit": 103, "evaluate": 104},
        "versions": {"maa": "0.1.0", "mujoco": "2.2.2", "compiler": "g++ 12.2.0", "isa": "avx512"},
        "wall_seconds": {"collect": 11.4, "zoo": 84.2, "fit": 63.9, "evaluate": 41.3, "render": 9.7},
        "tasks": {"seen": seen, "unseen": unseen}, "rows": rows}


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
        numpy.savez(folder / "clips" / f"{task}.npz", frames_expert=synthetic_frames(task, frames, True),
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


def visible(text):
    return " ".join(re.sub(r"<[^>]*>", "", re.sub(r"(?s)<style>.*?</style>", "", text)).split())


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
        self.assertEqual(text.count("✓ success at step 52"), 5)
        data = re.search(r'<img src="data:image/\w+;base64,([^"]*)"', self.page).group(1)
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            self.assertEqual(image.n_frames, 12)

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

    def test_a_shortened_run_says_so(self):
        self.results["protocol"]["options"] = {"smoke": False}
        self.write()
        self.assertNotIn("A shortened run", self.page())
        self.results["protocol"]["options"] = {"smoke": True}
        self.write()
        self.assertIn("A shortened run", self.page())

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
                (("rows", 2, "ci95", [.5]), ("rows[2].ci95", "[low, high]")),
                (("rows", 2, "ci95", [.9, .1]), ("rows[2].ci95", "low <= high")),
                (("rows", 3, "split", "new"), ("rows[3].split", "seen or unseen", "new")),
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


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"] and len(sys.argv) == 3:
        write_folder(Path(sys.argv[2]))
        sys.exit(report.main(sys.argv[2:]))
    unittest.main()

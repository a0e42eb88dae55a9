"""Checks the page of `fit --report`: that it is whole and self-contained, and that its medians are those of its prompts.
Usage: check_fit_report.py PAGE"""
import html.parser
import pathlib
import statistics
import sys

VOID = {"meta", "link", "br", "img", "hr", "input"}
text = pathlib.Path(sys.argv[1]).read_text()


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.tables, self.seen, self.words = [], [], {}, []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.seen[tag] = self.seen.get(tag, 0) + 1
        assert "src" not in attributes and "href" not in attributes, "self-contained"
        assert not any("nan" in (value or "") or "inf" in (value or "") for key, value in attributes.items()
                       if key not in ("aria-label", "content")), attributes
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "data":
            self.tables and self.open.count("table") and self.tables[-1][-1].__setitem__(-1, float(attributes["value"]))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.open and self.open[-1] == tag and self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"closes {tag}"

    def handle_data(self, data):
        self.words.append(data)
        if self.open and self.open[-1] in ("td", "th", "span") and self.tables and self.open.count("table"):
            cells = self.tables[-1][-1]
            if isinstance(cells[-1], str):
                cells[-1] += data


page = Page()
page.feed(text)
assert not page.open, page.open
words = " ".join(" ".join(page.words).split())
for expected in ("They are not success", "Held-out runs", "Held-out tasks", "Does the generator know when it errs?",
                 "exceed two predicted deviations", "How it was measured",
                 "6 policies, 16 trajectories, 3 tasks"):  # of 12, 34 and 4: a task, and a run of each other
    assert expected in words, expected
*summaries, prompts = page.tables
head, *rows = prompts
assert head[:4] == ["task", "run", "steps compared", "novelty"] and len(rows) >= 3 and len(summaries) == 2
for unseen, summary in zip((False, True), summaries):
    own = [row for row in rows if ("held-out task" in row[0]) == unseen]
    assert own
    for method, median, *_ in summary[1:]:
        errors = [row[head.index(method)] for row in own]
        assert abs(median - statistics.median(errors)) <= 1e-4 * max(errors), method
    methods = [row[0] for row in summary[1:]]
    assert methods == head[4:9] == ["generated", "nearest by action", "cloned", "mean action", "own policy"]
    values = {row[0]: row[1] for row in summary[1:]}
    assert values["own policy"] < 1e-3 and 0.5 < values["mean action"] < 2  # the trajectories are the own policies'
assert page.seen["svg"] == 4 and page.seen["circle"] >= 5 * len(rows)
print(f"{len(rows)} prompts")

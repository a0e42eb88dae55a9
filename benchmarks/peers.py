"""Compares maa with its peers, taking turns on one machine, and writes results.json and table.md. See peers.sh, which
builds everything and calls this.

A case is run A B A B ...: maa, then one way of one peer, pinned to the same cores with as many threads, one process
waiting while the other works. Every peer first shows that it computes the same numbers. The machine's limits are
measured before and after every case; if they vary, the run is flagged.
"""
import argparse
import dataclasses
import json
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


class PeerFailure(Exception):
    pass


class Process:
    """One side: a program that answers each line with one line of JSON (peer_server.hpp, peers_torch.py)."""

    def __init__(self, name, command, cores, environment=None):
        self.name = name
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **(environment or {})},
                                        preexec_fn=lambda: os.sched_setaffinity(0, cores))

    def ask(self, *words):
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerFailure(f"{self.name} ended (exit code {self.process.wait()}) on: {' '.join(map(str, words))}")
        return json.loads(line)

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(timeout=60)


@dataclasses.dataclass
class Goal:
    against: str  # "torch", "torch eager", "torch three-products", "eigen", "rtneural"; or "flops", "read", "updated"
    factor: float  # times faster; or the share of the machine's limit


@dataclasses.dataclass
class Case:
    title: str
    name: str
    threads: int = 2
    goals: tuple = ()
    quick: bool = False  # part of a quick run
    tolerance: float = 1e-4


GOAL_CASES = [
    Case("10-step sampling, 100 policies", "sample/paper/100",
         goals=(Goal("torch eager", 6), Goal("torch three-products", 1.8), Goal("flops", 0.75))),
    Case("10-step sampling, 1 policy", "sample/paper/1", goals=(Goal("torch", 2.7), Goal("read", 0.85))),
    Case("10-step sampling, 1 policy, bf16 storage", "sample_bf16/paper/1", goals=(Goal("torch eager", 5),),
         tolerance=0.05),
    Case("denoiser training step, B = 128", "train/paper/128", goals=(Goal("torch", 6.4),)),
    Case("denoiser training step, B = 16", "train/paper/16", goals=(Goal("torch", 7),)),
    Case("AdamW + EMA, 163 M parameters", "adamw/paper", goals=(Goal("torch", 5), Goal("updated", 0.95))),
    Case("autoencoder training step, B = 32", "autoencoder_train/paper/32", goals=(Goal("torch", 4.5),)),
    Case("embedder training step, B = 16", "embedder_train/paper/16", goals=(Goal("torch", 3.1),), quick=True),
    Case("one policy, 1 observation", "act", 1, (Goal("rtneural", 1.3), Goal("eigen", 2.2), Goal("torch", 1)), True),
    Case("one policy, 1 observation, bf16 pairs", "act_bf16", 1, (Goal("eigen", 3),), True, tolerance=5e-3),
    Case("one policy, 64 observations", "act_rows/64", 1, (Goal("torch", 3.2),), True),
    Case("100 policies, 1 observation each", "policies/100", 1, (Goal("torch", 2.1),), True),
    Case("loss on behaviour, 24 policies x 96 observations", "behavior/24/96", 2, (Goal("torch", 3),), True),
    Case("small UNet: 10-step sampling, 100 policies", "sample/small/100", goals=(Goal("torch", 6),)),
    Case("small UNet: training step, B = 128", "train/small/128", goals=(Goal("torch", 5.3),)),
]
OTHER_CASES = [
    Case("default UNet: 10-step sampling, 100 policies", "sample/default/100", quick=True),
    Case("default UNet: training step, B = 128", "train/default/128", quick=True),
    Case("decode 100 policies", "autoencoder_decode/paper/100"),
    Case("10-step sampling, 100 policies, bf16 units", "sample_bf16_units/paper/100", tolerance=0.1),
    Case("10-step sampling, 1 policy, bf16 units", "sample_bf16_units/paper/1", tolerance=0.1),
    *(Case(f"product {rows} x {size} x {size}", f"product/{rows}/{size}/{size}", threads, quick=size == 1024)
      for rows, size in ((1, 2048), (128, 1024), (100, 2048)) for threads in (1, 2)),
]


def chosen_cases(options):
    """Those of a quick run, or all, whose title or name contains --only."""
    text = (options.only or "").lower()
    return [case for case in (*GOAL_CASES, *OTHER_CASES)
            if (case.quick or not options.quick) and (text in case.title.lower() or text in case.name.lower())]


LIMITS = {"flops": "FMA peak", "read": "memory read", "updated": "memory read + write"}
GROWTH_WAYS = ("eager", "three-products")


def busy_cores(seconds):
    """How many cores were busy, while nothing here runs."""
    def ticks():
        line = pathlib.Path("/proc/stat").read_text().split("\n")[0]
        user, nice, system, idle, wait, *rest = map(int, line.split()[1:9])
        return user + nice + system + sum(rest), idle + wait
    busy, idle = ticks()
    time.sleep(seconds)
    later_busy, later_idle = ticks()
    return os.cpu_count() * (later_busy - busy) / max(1, later_busy - busy + later_idle - idle)


class Comparison:
    def __init__(self, options):
        self.options = options
        self.exchange = options.out / "exchange"
        self.exchange.mkdir(parents=True, exist_ok=True)
        for old in self.exchange.iterdir():
            old.unlink()
        self.cores = sorted(os.sched_getaffinity(0))[:max(2, options.threads)]
        build = options.build
        self.maa = Process("maa", [str(build / "peers_maa")], self.cores)
        threads = {"OMP_PROC_BIND": "false", "OPENBLAS_CORETYPE": "SkylakeX", "TORCHINDUCTOR_CACHE_DIR":
                   str(options.out / "inductor"), "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}
        self.torch = Process("torch", [sys.executable, str(HERE / "peers_torch.py")], self.cores, threads)
        # Peers in C++, peers_<what>_<name>; those that were not built are left out.
        self.programs = {}
        for path in sorted(build.glob("peers_*_*")):
            _, what, name = path.name.split("_")
            self.programs[what, name] = Process(path.name, [str(path)], self.cores, threads)
        self.calibrations = []
        self.failures = []

    def close(self):
        for process in (self.maa, self.torch, *self.programs.values()):
            process.close()

    # ------------------------------------------------------------------------------------------------ the machine

    def calibrate(self, threads):
        busy = busy_cores(0.2)  # peers wait for questions meanwhile
        limits = self.maa.ask("calibrate", threads)
        self.calibrations.append({"time": time.time(), "threads": threads, "busy": busy, **limits})
        return limits

    def noise(self, calibrations):
        """By how much the limits varied: (largest - smallest) / largest, for the worst of them."""
        worst = 0.0
        for threads in {c["threads"] for c in calibrations}:
            for key in ("flops", "read", "update"):
                values = [c[key] for c in calibrations if c["threads"] == threads]
                if max(values) > 0:
                    worst = max(worst, 1 - min(values) / max(values))
        return worst

    # ------------------------------------------------------------------------------------------------- measuring

    def ways(self, name, only=None):
        """(process, way, label) of every peer that may know a case."""
        found = [(self.torch, way, f"torch {way}") for way in self.torch.ask("variants", name)["variants"]
                 if (only is None or way in only) and not (self.options.no_compile and "compile" in way)]
        what = {"act": "policy", "act_bf16": "policy", "product": "product"}.get(name.split("/")[0])
        if only is None:
            found += [(process, "", label) for (kind, label), process in self.programs.items() if kind == what]
        return found

    def take_turns(self, peer, rounds):
        """Seconds of both sides; maa's alone without a peer."""
        ours, theirs = [], []
        for _ in range(rounds):
            ours += self.turn(self.maa)
            if peer is not None:
                theirs += self.turn(peer)
        return ours, theirs

    def turn(self, process):
        time.sleep(0.05)  # the other's threads go to sleep
        answer = process.ask("run", 1)
        if "error" in answer:
            raise PeerFailure(f"{process.name}: {answer['error']}")
        return answer["seconds"]

    def rounds(self, seconds):
        most = self.options.rounds
        return max(min(most, 3), min(most, math.ceil(self.options.seconds / max(seconds, 1e-3))))

    def measure(self, case, only=None):
        """All ways of doing a case, each in turns with maa."""
        result = {"title": case.title, "case": case.name, "threads": case.threads, "peers": [],
                  "goals": [dataclasses.asdict(goal) for goal in case.goals]}
        first = len(self.calibrations)
        self.calibrate(case.threads)
        loaded = self.maa.ask("load", case.name, case.threads, self.exchange)
        if "missing" in loaded:
            return {**result, "missing": "not in the library"}
        if "error" in loaded:
            raise PeerFailure(f"maa, {case.name}: {loaded['error']}")
        result["work"] = loaded["work"]
        seconds = self.turn(self.maa)[0]
        result["maa"] = self.take_turns(None, self.rounds(seconds))[0]
        for process, way, label in self.ways(case.name, only):
            self.say(f"  {case.name}, {case.threads} threads: {label}")
            peer = {"label": label}
            result["peers"].append(peer)
            try:
                answer = process.ask("load", case.name, case.threads, self.exchange, way)
                if "error" in answer or "missing" in answer:
                    peer["error"] = answer.get("error") or answer["missing"]
                    continue
                peer["difference"] = answer["difference"]
                if not answer["difference"] <= case.tolerance:  # also if not a number
                    self.failures.append(f"{case.name}, {label}: results differ by {answer['difference']:.2g} of the "
                                         f"largest, allowed are {case.tolerance:.2g}")
                    continue
                rounds = self.rounds(max(seconds, self.turn(process)[0]))
                peer["maa"], peer["seconds"] = self.take_turns(process, rounds)
                result["maa"] += peer["maa"]
                process.ask("drop")
                self.calibrate(case.threads)
            except PeerFailure as failure:
                peer["error"] = str(failure)
                if process.process.poll() is not None:
                    raise
        self.maa.ask("drop")
        self.calibrate(case.threads)
        around = self.calibrations[first:]
        result["noise"] = self.noise(around)
        (self.exchange / f"{case.name.replace('/', '.')}.safetensors").unlink()
        return result

    def growth(self):
        """Time of one denoiser pass against batch and threads, and of sampling against the model's size."""
        quick = self.options.quick
        model = "default" if quick else "paper"
        batches = [1, 8, 64] if quick else [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
        plots = {"batch": [], "threads": [], "size": []}
        for batch in batches:
            plots["batch"].append(self.measure(Case(f"B = {batch}", f"forward/{model}/{batch}"), GROWTH_WAYS))
        for threads in range(1, len(self.cores) + 1):
            plots["threads"].append(self.measure(Case(f"{threads}", f"forward/{model}/100", threads), GROWTH_WAYS))
        for size in ("default",) if quick else ("default", "small", "medium", "paper"):
            plots["size"].append(self.measure(Case(size, f"sample/{size}/100"), GROWTH_WAYS))
        return {"model": model, **plots}

    @staticmethod
    def say(text):
        print(text, file=sys.stderr, flush=True)


# --------------------------------------------------------------------------------------------------------- evaluation


def ratio(peer):
    """How many times faster maa is: by the best of each, and by the medians."""
    return min(peer["seconds"]) / min(peer["maa"]), statistics.median(peer["seconds"]) / statistics.median(peer["maa"])


def best_peer(result, against):
    """The fastest way that a goal speaks of, or None. "torch" means any, also a rewrite; a product's way is by name."""
    def fits(label):
        if against == "torch eager":
            return label.startswith(("torch eager", "torch fused", "torch foreach"))
        return label.startswith(against)
    timed = [peer for peer in result["peers"] if "seconds" in peer and fits(peer["label"])]
    return min(timed, key=lambda peer: min(peer["seconds"]), default=None)


def judge(result, goal):
    """(against whom, goal, best, median, verdict) as text."""
    against, factor = goal["against"], goal["factor"]
    limit = against in LIMITS
    name = f"{LIMITS[against]} (share)" if limit else against
    wanted = f">= {factor:.0%}" if limit else f">= {factor:g}x"
    if "missing" in result:
        return name, wanted, "-", "-", result["missing"]
    if limit:
        machine = result["limits"]["update" if against == "updated" else against]
        if machine <= 0:
            return name, wanted, "-", "-", "not measured on this machine"
        values = [result["work"][against] / seconds / machine
                  for seconds in (min(result["maa"]), statistics.median(result["maa"]))]
        shown = [f"{value:.0%}" for value in values]
    else:
        peer = best_peer(result, against)
        if peer is None:
            errors = [p["error"] for p in result["peers"] if p["label"].startswith(against) and "error" in p]
            return name, wanted, "-", "-", errors[0] if errors else "not run"
        values = ratio(peer)
        shown = [f"{value:.2f}x" for value in values]
        name = peer["label"]
    met = [value >= factor for value in values]
    verdict = "met" if all(met) else "not met" if not any(met) else "met by the best" if met[0] else "met by the median"
    return name, wanted, *shown, verdict


def time_text(seconds):
    for unit, scale in (("s", 1), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def both(seconds):
    return f"{time_text(min(seconds))} .. {time_text(statistics.median(seconds))}"


def floor(result):
    work, limits = result["work"], result["limits"]
    memory = work["read"] / limits["read"] + work["updated"] / limits["update"]
    return max(memory, work["flops"] / limits["flops"] if limits["flops"] > 0 else 0.0)


def table(rows):
    header, *rest = rows
    return "\n".join(["| " + " | ".join(map(str, row)) + " |" for row in (header, ["---"] * len(header), *rest)])


def write_table(report, path):
    machine = report["machine"]
    text = ["# maa and its peers", "",
            f"{machine['processor']}, {machine['cores']} cores used, {machine['system']}. {machine['versions']}. "
            f"Made on {report['date']} by {report['command']}.", ""]
    if report["noisy"]:
        text += [f"**This run is noisy**: {'; '.join(report['noisy'])}. Ratios of two-thread cases mean little then.", ""]
    if report["failures"]:
        text += ["**Peers that computed something else** (not timed):", *[f"- {f}" for f in report["failures"]], ""]
    text += ["## Goals", "", "Ratios are against the fastest way of the peer in the same turns: by the best times, and by "
             "the medians.", ""]
    rows = [["case", "against", "goal", "best", "median", ""]]
    for result in report["cases"]:
        rows += [[result["title"], *judge(result, goal)] for goal in result["goals"]]
    text += [table(rows), "", "## Times", "", "Best .. median. Floor: the time at the machine's measured limits.", ""]
    rows = [["case", "threads", "maa", "peer", "best ratio", "median ratio", "difference", "floor / maa"]]
    for result in report["cases"]:
        if "missing" in result:
            continue
        share = f"{floor(result) / min(result['maa']):.0%}"
        noisy = " (noisy)" if result["noise"] > 0.1 else ""
        rows.append([result["title"] + noisy, result["threads"], both(result["maa"]), "", "", "", "", share])
        for peer in result["peers"]:
            if "seconds" in peer:
                best, median = ratio(peer)
                rows.append(["", "", both(peer["maa"]), f"{peer['label']}: {both(peer['seconds'])}", f"{best:.2f}",
                             f"{median:.2f}", f"{peer['difference']:.1g}", ""])
            else:
                rows.append(["", "", "", f"{peer['label']}: {peer.get('error', 'computes something else')}", "", "", "",
                             ""])
    text += [table(rows), "", "## The machine", "", "Smallest .. largest of the calibrations during the run.", ""]
    rows = [["threads", "FMA, GFLOP/s", "read, GB/s", "read + write, GB/s", "cores busy with other work"]]
    for threads in sorted({c["threads"] for c in report["calibrations"]}):
        these = [c for c in report["calibrations"] if c["threads"] == threads]
        rows.append([threads, *(f"{min(c[k] for c in these) * scale:.1f} .. {max(c[k] for c in these) * scale:.1f}"
                                for k, scale in (("flops", 1e-9), ("read", 1e-9), ("update", 1e-9), ("busy", 1)))])
    text += [table(rows), ""]
    if report["compile"]:
        text += ["## Compile cost", "", "User seconds and peak memory of the compiler, -O2.", ""]
        rows = [["file", "way", "compiler", "seconds", "MB", ""]]
        for entry in report["compile"]:
            rows.append([entry["file"], entry["way"], entry["compiler"], f"{entry['seconds']:.1f}",
                         f"{entry['megabytes']:.0f}", entry.get("verdict", "")])
        text += [table(rows), ""]
    path.write_text("\n".join(text))


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def list_text(cases):
    return "\n".join(f"  {case.title} ({case.name})" for case in cases)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("out", nargs="?", type=pathlib.Path, default=pathlib.Path("build/peers"))
    parser.add_argument("--build", type=pathlib.Path, required=True, help="folder of peers_maa and the C++ peers")
    parser.add_argument("--quick", action="store_true", help="few repetitions, small cases only")
    parser.add_argument("--only", help="cases whose title or name contains this")
    parser.add_argument("--list", action="store_true", help="print the chosen cases and stop")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out (it takes minutes)")
    parser.add_argument("--no-growth", action="store_true", help="leave the growth plot out")
    parser.add_argument("--strict", action="store_true", help="stop when the machine is busy or its limits vary")
    parser.add_argument("--rounds", type=int, help="turns per peer, at most")
    parser.add_argument("--seconds", type=float, help="stop taking turns after about so long (three turns at least)")
    parser.add_argument("--threads", type=int, default=2, help="cores to use, at most")
    options = parser.parse_args()
    options.cases = chosen_cases(options)
    if not options.cases:
        options.only = None
        parser.error("no such case, of\n" + list_text(chosen_cases(options)))
    words = sys.argv[1:]
    del words[words.index("--build"):words.index("--build") + 2]
    options.command = " ".join(["bash benchmarks/peers.sh", *words])
    options.out, options.build = options.out.resolve(), options.build.resolve()
    options.rounds = options.rounds or (5 if options.quick else 15)
    options.seconds = options.seconds or (1 if options.quick else 20)
    return options


def main():
    options = parse_arguments()
    if options.list:
        print(list_text(options.cases))
        return
    busy = busy_cores(2)
    noisy = [f"{busy:.1f} cores were busy with other work before the start"] if busy > 0.2 else []
    if noisy and options.strict:
        sys.exit(f"peers: {noisy[0]}; wait until the machine is idle")
    comparison = Comparison(options)
    report = {"date": time.strftime("%Y-%m-%d"), "command": options.command, "quick": options.quick, "cases": [],
              "growth": None,
              "machine": {"processor": processor(), "cores": len(comparison.cores), "system": platform.platform(),
                          "versions": comparison.torch.ask("versions")["versions"]}}
    for threads in (1, 2, 1, 2, 1, 2):
        comparison.calibrate(threads)
    if options.strict and comparison.noise(comparison.calibrations) > 0.1:
        sys.exit(f"peers: the machine's limits vary by {comparison.noise(comparison.calibrations):.0%} in a row")
    for case in options.cases:
        comparison.say(case.title)
        report["cases"].append(comparison.measure(case))
    if not options.no_growth:
        comparison.say("growth")
        report["growth"] = comparison.growth()
    comparison.close()
    # A share of what the machine can do: the best that was seen of it, whatever disturbed it meanwhile.
    growth = report["growth"] or {}
    for result in [*report["cases"], *(r for kind in ("batch", "threads", "size") for r in growth.get(kind, []))]:
        result["limits"] = {key: max(c[key] for c in comparison.calibrations if c["threads"] == result["threads"])
                            for key in ("flops", "read", "update")}
    for path in comparison.exchange.iterdir():
        path.unlink()
    comparison.exchange.rmdir()

    for threads in (1, 2):
        here = [c for c in comparison.calibrations if c["threads"] == threads]
        if comparison.noise(here) > 0.1:
            noisy.append(f"the limits for {threads} threads varied by {comparison.noise(here):.0%}")
    compile_cost = options.out / "compile_cost.json"
    report["compile"] = json.loads(compile_cost.read_text()) if compile_cost.exists() else []
    report["noisy"] = noisy
    report["failures"] = comparison.failures
    report["calibrations"] = comparison.calibrations
    (options.out / "results.json").write_text(json.dumps(report, indent=1))
    write_table(report, options.out / "table.md")
    print(f"{options.out / 'table.md'}" + ("  (noisy machine)" if noisy else ""))
    if comparison.failures:
        sys.exit("peers: " + "\n".join(comparison.failures))


if __name__ == "__main__":
    main()

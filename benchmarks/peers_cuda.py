"""Compares maa with PyTorch on one CUDA device, taking turns, and writes results.json and table.md. See peers_cuda.sh,
which builds peers_cuda and calls this.

A case is run A B A B ...: maa, then one way of PyTorch, one process waiting while the other works. Every way first
shows that it computes the same numbers. A run ends when the device has done everything.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

from peers import PeerFailure, Process, both, processor, ratio, table, time_text

HERE = pathlib.Path(__file__).resolve().parent
TOLERANCES = {"fp32": 5e-4, "tf32": 2e-2, "bf16": 0.15}  # of the largest number
GOALS_ON = "H200"
# Ways for --all-ways: compiled with products timed and chosen, which takes minutes each.
SLOW_WAYS = "autotune"


@dataclasses.dataclass
class Case:
    title: str
    kind: str
    rest: str
    arithmetics: tuple = ("fp32", "tf32")
    goals: dict = dataclasses.field(default_factory=dict)  # seconds by arithmetic, on an H200

    def tolerance(self, arithmetic):
        """Steps of the optimizer alone are small beside the weights."""
        return 1e-6 if self.kind == "adamw" else TOLERANCES[arithmetic]

    def name(self, arithmetic):
        return self.kind + ("" if arithmetic == "fp32" else f"_{arithmetic}") + self.rest


ALL = ("bf16", "tf32", "fp32")
CASES = [
    Case("training step, B = 128", "train", "/paper/128", ("tf32", "fp32"), {"tf32": 3.0e-3}),
    Case("10-step sampling, 100 policies", "sample", "/paper/100", ALL, {"bf16": 2.5e-3, "tf32": 4e-3}),
    Case("10-step sampling, 1 policy", "sample", "/paper/1", ALL, {"bf16": 2.0e-3, "tf32": 2.8e-3}),
    Case("10-step sampling, 1000 policies", "sample", "/paper/1000", ALL, {"bf16": 9e-3, "tf32": 17e-3}),
    # 90 % of 4.3 TB/s for 36 bytes each of 163 M parameters
    Case("AdamW + EMA, 163 M parameters", "adamw", "/paper", ("fp32",), {"fp32": 1.52e-3}),
    Case("training step, B = 16", "train", "/paper/16", ("tf32", "fp32")),
    Case("autoencoder training step, B = 32", "autoencoder_train", "/paper/32", ("tf32", "fp32")),
    Case("embedder training step, B = 16", "embedder_train", "/paper/16", ("tf32", "fp32")),
    Case("default UNet: 10-step sampling, 100 policies", "sample", "/default/100", ALL),
    Case("default UNet: training step, B = 128", "train", "/default/128", ("tf32", "fp32")),
    Case("decode 100 policies", "autoencoder_decode", "/paper/100", ("tf32", "fp32")),
    Case("loss on behaviour, 24 policies x 96 observations", "behavior", "/24/96", ("tf32", "fp32")),
    Case("100 policies, 1 observation each", "policies", "/100", ("fp32",)),
]
SMOKE_CASES = [
    Case("training step", "train", "/tiny/3", ("tf32", "fp32"), {"tf32": 1}),
    Case("training step, clipped", "train", "/tiny_default/3", ("fp32",)),
    Case("sampling", "sample", "/tiny/3", ALL),
    Case("AdamW + EMA", "adamw", "/tiny", ("fp32",)),
    Case("autoencoder training step", "autoencoder_train", "/tiny/3", ("tf32", "fp32")),
    Case("embedder training step", "embedder_train", "/tiny/4", ("tf32", "fp32")),
    Case("a pass", "forward", "/tiny/3", ("tf32", "fp32")),
    Case("decoding", "autoencoder_decode", "/tiny/3", ("tf32",)),
    Case("loss on behaviour", "behavior", "/2/5", ("tf32", "fp32")),
    Case("policies", "policies", "/5", ("fp32",)),
]


def say(text):
    print(text, file=sys.stderr, flush=True)


def device_state():
    """What nvidia-smi says of clocks, temperature and load, as text; empty without it."""
    if not shutil.which("nvidia-smi"):
        return ""
    query = "name,driver_version,clocks.sm,clocks.max.sm,clocks.mem,temperature.gpu,power.draw,utilization.gpu"
    done = subprocess.run(["nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader"], capture_output=True,
                          text=True, check=False)
    return done.stdout.strip()


class Comparison:
    def __init__(self, options):
        self.options = options
        self.exchange = options.out / "exchange"
        self.exchange.mkdir(parents=True, exist_ok=True)
        self.clear_exchange()
        cores = os.sched_getaffinity(0)
        ours = [str(options.build / "peers_cuda"), *(["--tune"] if options.tune else []),
                *(["--emulated"] if options.smoke else [])]
        self.maa = Process("maa", ours, cores)
        self.torch = Process("torch", [sys.executable, "-B", str(HERE / "peers_torch.py"), "--device",
                                       "cpu" if options.smoke else "cuda"], cores,
                             {"TORCHINDUCTOR_CACHE_DIR": str(options.out / "inductor")})
        self.failures = []

    def clear_exchange(self):
        for path in self.exchange.iterdir():
            path.unlink()

    def close(self):
        self.maa.close()
        self.torch.close()
        self.clear_exchange()
        self.exchange.rmdir()

    def ways(self, name):
        for way in self.torch.ask("variants", name)["variants"]:
            slow = SLOW_WAYS in way and not self.options.all_ways
            if slow or ("compile" in way and self.options.no_compile):
                continue
            if self.options.ways and not any(part in way for part in self.options.ways.split(",")):
                continue
            yield way

    def turn(self, process):
        answer = process.ask("run", 1)
        if "error" in answer:
            raise PeerFailure(f"{process.name}: {answer['error']}")
        return answer["seconds"][0]

    def measure(self, case, arithmetic):
        name = case.name(arithmetic)
        result = {"title": case.title, "case": name, "arithmetic": arithmetic, "goal": case.goals.get(arithmetic),
                  "peers": []}
        loaded = self.maa.ask("load", name, 2, self.exchange)
        if "work" not in loaded:
            self.failures.append(f"maa, {name}: {loaded.get('error') or loaded['missing']}")
            return {**result, "error": self.failures[-1]}
        result["work"] = loaded["work"]
        result["maa"] = [self.turn(self.maa) for _ in range(self.options.rounds)]
        for way in self.ways(name):
            say(f"  {name}: torch {way}")
            peer = {"label": f"torch {way}"}
            result["peers"].append(peer)
            try:
                self.compare(name, way, case.tolerance(arithmetic), peer, result)
            except PeerFailure as failure:
                peer["error"] = str(failure)
                if self.torch.process.poll() is not None or self.maa.process.poll() is not None:
                    raise
        self.maa.ask("drop")
        (self.exchange / f"{name.replace('/', '.')}.safetensors").unlink()
        result["device_state"] = device_state()
        return result

    def compare(self, name, way, tolerance, peer, result):
        started = time.monotonic()
        answer = self.torch.ask("load", name, 2, self.exchange, way)
        peer["seconds_to_load"] = time.monotonic() - started
        if "error" in answer:
            peer["error"] = answer["error"]
            return
        peer["difference"] = answer["difference"]
        if not answer["difference"] <= tolerance:  # also if not a number
            self.failures.append(f"{name}, torch {way}: results differ by {answer['difference']:.2g} of the largest, "
                                 f"allowed are {tolerance:.2g}")
            peer["error"] = "computes something else"
            return
        ours, theirs = [], []
        for _ in range(self.options.rounds):
            ours.append(self.turn(self.maa))
            theirs.append(self.turn(self.torch))
        peer["maa"], peer["seconds"] = ours, theirs
        result["maa"] += ours
        self.torch.ask("drop")


# --------------------------------------------------------------------------------------------------------- evaluation


def timed(result):
    """The ways that were timed, the fastest first."""
    return sorted((peer for peer in result["peers"] if "seconds" in peer), key=lambda peer: min(peer["seconds"]))


def rates(result):
    """GB/s and TFLOP/s of the best time, of what a run cannot do without."""
    work, best = result["work"], min(result["maa"])
    moved = (work["read"] + work["updated"]) / best / 1e9
    return f"{moved:.0f}", f"{work['flops'] / best / 1e12:.1f}" if work["flops"] > 0 else ""


def verdict(result, device):
    if result["goal"] is None:
        return ""
    goal = f"<= {time_text(result['goal'])}"
    if GOALS_ON not in device:
        return f"{goal} on an {GOALS_ON}"
    met = [value <= result["goal"] for value in (min(result["maa"]), statistics.median(result["maa"]))]
    return f"{goal}: {'met' if all(met) else 'not met' if not any(met) else 'met by the best'}"


def summary_row(result):
    """The fastest way that is neither compiled, captured nor rewritten, and the fastest of all."""
    ways = timed(result)
    plain = [way for way in ways if not any(part in way["label"] for part in ("compile", "captured", "three"))]
    row = [result["title"], result["arithmetic"], time_text(min(result["maa"]))]
    for fastest in (plain[:1], ways[:1]):
        row += [time_text(min(way["seconds"])) for way in fastest] or ["-"]
        row += [f"{ratio(way)[0]:.2f}x" for way in fastest] or ["-"]
    return [*row, ways[0]["label"].removeprefix("torch ") if ways else "-"]


def write_table(report, path):
    machine = report["machine"]
    text = ["# maa and PyTorch on a CUDA device", "",
            f"{machine['device']}. {machine['versions']}. {machine['processor']}, {machine['system']}. "
            f"Made on {report['date']} by {report['command']}.", ""]
    if report["smoke"]:
        text += ["**Only a try of the programs, on an emulated device: the times mean nothing.**", ""]
    if report["failures"]:
        text += ["**Failures** (not timed):", *[f"- {failure}" for failure in report["failures"]], ""]
    done = [result for result in report["cases"] if "maa" in result]
    text += ["## Summary", "", "Best times in turns; ratios above 1: maa is faster. Eager: the fastest that is neither "
             "compiled, captured nor rewritten.", "",
             table([["case", "arithmetic", "maa", "PyTorch eager", "ratio", "fastest way", "ratio", "which"],
                    *map(summary_row, done)]), "",
             "## Times", "",
             "Best .. median, in turns with each way. GB/s and TFLOP/s: of what a run cannot do without.", ""]
    rows = [["case", "arithmetic", "maa", "GB/s", "TFLOP/s", "goal", "PyTorch", "best ratio", "median ratio",
             "difference"]]
    for result in done:
        rows.append([result["title"], result["arithmetic"], both(result["maa"]), *rates(result),
                     verdict(result, machine["device"]), "", "", "", ""])
        for peer in result["peers"]:
            label = peer["label"].removeprefix("torch ")
            if "seconds" in peer:
                best, median = ratio(peer)
                rows.append(["", "", both(peer["maa"]), "", "", "", f"{label}: {both(peer['seconds'])}", f"{best:.2f}",
                             f"{median:.2f}", f"{peer['difference']:.1g}"])
            else:
                rows.append(["", "", "", "", "", "", f"{label}: {peer['error']}", "", "", ""])
    text += [table(rows), ""]
    path.write_text("\n".join(text))


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("out", nargs="?", type=pathlib.Path, default=pathlib.Path("build/peers_cuda"))
    parser.add_argument("--build", type=pathlib.Path, required=True, help="folder of peers_cuda")
    parser.add_argument("--only", help="cases whose title or name contains one of these, separated by commas")
    parser.add_argument("--ways", help="PyTorch's ways whose name contains one of these, separated by commas")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parser.add_argument("--all-ways", action="store_true", help="also the ways that take minutes to compile")
    parser.add_argument("--tune", action="store_true", help="maa times several algorithms for each product")
    parser.add_argument("--smoke", action="store_true", help="try the programs: tiny models, an emulated device")
    parser.add_argument("--rounds", type=int, help="turns of each side (7)")
    options = parser.parse_args()
    options.out, options.build = options.out.resolve(), options.build.resolve()
    options.rounds = options.rounds or (2 if options.smoke else 7)
    every = [(case, arithmetic) for case in (SMOKE_CASES if options.smoke else CASES) for arithmetic in case.arithmetics]
    texts = [text.lower() for text in (options.only or "").split(",")]
    options.cases = [(case, arithmetic) for case, arithmetic in every
                     if any(text in case.title.lower() or text in case.name(arithmetic).lower() for text in texts)]
    if not options.cases:
        parser.error("no such case, of\n" + "\n".join(f"  {case.title} ({case.name(arithmetic)})"
                                                      for case, arithmetic in every))
    return options


def main():
    options = parse_arguments()
    comparison = Comparison(options)
    ours = comparison.maa.ask("device")["device"]
    report = {"date": time.strftime("%Y-%m-%d"), "command": "bash benchmarks/peers_cuda.sh " + " ".join(
                  f"--{key.replace('_', '-')}" + ("" if value is True else f" {value}")
                  for key in ("smoke", "only", "ways", "no_compile", "all_ways", "tune", "rounds")
                  if (value := getattr(options, key))),
              "smoke": options.smoke, "cases": [],
              "machine": {"device": ours, "processor": processor(), "system": platform.platform(),
                          "versions": comparison.torch.ask("versions")["versions"], "before": device_state()}}

    def write():
        report["failures"] = comparison.failures
        report["machine"]["after"] = device_state()
        (options.out / "results.json").write_text(json.dumps(report, indent=1))
        write_table(report, options.out / "table.md")

    for case, arithmetic in options.cases:
        say(f"{case.title}, {arithmetic}")
        report["cases"].append(comparison.measure(case, arithmetic))
        write()  # what there is, should it be stopped
    comparison.close()
    write()
    print(options.out / "table.md")
    if comparison.failures:
        sys.exit("peers_cuda: " + "\n".join(comparison.failures))


if __name__ == "__main__":
    main()

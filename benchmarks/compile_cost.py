"""What including maa costs: user time and peak memory of the compiler at -O2 on three small files, header-only and with
maa::compiled, as JSON. Beside another checkout (an older commit, say) its header-only figures are taken in the same rounds.

    python3 compile_cost.py [OUTPUT.json] [--repetitions N] [--baseline CHECKOUT]
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
GENERATOR = """#include <maa/generator.hpp>
%s
int main() {
  maa::Generator<%s> generator;
  generator.fit(maa::Dataset::load("dataset.safetensors"));
  const auto policies = generator.generate(maa::load_trajectory("demonstration.npz"), {.count = 10});
  return static_cast<int>(policies.size());
}
"""
FILES = {
    "fit and generate": GENERATOR % ("", "maa::MetaWorldPolicy"),
    "fit and generate, own policy type": GENERATOR % (
        "using Policy = maa::MlpPolicy<maa::MlpNetwork<17, 3, maa::HiddenLayers<maa::Hidden<64, maa::Activation::tanh>>>>;",
        "Policy"),
    "policy.hpp, one act": """#include <maa/policy.hpp>
int main() {
  maa::MetaWorldPolicy policy;
  float observation[39] = {}, action[4];
  policy.act(observation, action);
  return action[0] > 0;
}
""",
}
# The most of the baseline's time for the same file, and the most megabytes and seconds.
GOALS = {
    ("fit and generate", "header-only"): {"share": 0.8},
    ("fit and generate", "compiled"): {"share": 0.35, "megabytes": 450},
    ("policy.hpp, one act", "header-only"): {"seconds": 1.5},
}


def measure(compiler, source, include, flags):
    """(user seconds, peak megabytes) of one compilation; the compiler's own processes count."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "file.cpp"
        file.write_text(source)
        command = [compiler, "-std=c++20", "-O2", f"-I{include}", "-I/usr/include/eigen3", *flags, "-c", str(file), "-o",
                   str(file.with_suffix(".o"))]
        # A child of its own: resource usage of children is a maximum over all that ended.
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            usage = resource.getrusage(resource.RUSAGE_CHILDREN)
            answer = {"seconds": usage.ru_utime, "megabytes": usage.ru_maxrss / 1024, "error": done.stderr[-500:]
                      if done.returncode else ""}
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
        os.close(writer)
        answer = json.loads(os.read(reader, 65536))
        os.close(reader)
        os.waitpid(child, 0)
    if answer["error"]:
        sys.exit(f"compile_cost: {' '.join(command)} failed:\n{answer['error']}")
    return answer["seconds"], answer["megabytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("output", nargs="?", type=pathlib.Path)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--baseline", type=pathlib.Path)
    options = parser.parse_args()
    ways = {"header-only": (ROOT, []), "compiled": (ROOT, ["-DMAA_COMPILED"])}
    if options.baseline:
        ways = {"baseline": (options.baseline, []), **ways}
    entries = []
    for compiler in filter(shutil.which, ("g++", "clang++")):
        version = subprocess.run([compiler, "-dumpversion"], capture_output=True, text=True, check=True).stdout.strip()
        for name, source in FILES.items():
            runs = {way: [] for way in ways}
            for _ in range(options.repetitions):  # the ways in turn, so that a busy minute hits all of them
                for way, (checkout, flags) in ways.items():
                    runs[way].append(measure(compiler, source, checkout / "include", flags))
            seconds = {way: min(s for s, _ in r) for way, r in runs.items()}
            for way, r in runs.items():
                entry = {"file": name, "way": way, "compiler": f"{compiler} {version}", "seconds": seconds[way],
                         "megabytes": max(m for _, m in r)}
                if "baseline" in seconds:
                    entry["share"] = seconds[way] / seconds["baseline"]
                goals = {key: most for key, most in GOALS.get((name, way), {}).items() if key in entry}
                if goals:
                    entry["goals"] = goals
                    entry["verdict"] = "met" if all(entry[key] <= most for key, most in goals.items()) else "not met"
                entries.append(entry)
                share = f" ({entry['share']:.2f} of the baseline)" if "share" in entry else ""
                print(f"{name}, {way}, {entry['compiler']}: {entry['seconds']:.2f} s{share}, {entry['megabytes']:.0f} MB "
                      f"{entry.get('verdict', '')}", flush=True)
    if options.output:
        options.output.write_text(json.dumps(entries, indent=1))


if __name__ == "__main__":
    main()

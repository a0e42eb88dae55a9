"""What including maa costs: user time and peak memory of the compiler at -O2 on two small files, as JSON.

    python3 compile_cost.py [OUTPUT.json] [--repetitions N]
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
FILES = {
    "generator.hpp, one fit and one generate": ("""#include <maa/generator.hpp>
int main() {
  maa::Generator<maa::MetaWorldPolicy> generator;
  generator.fit(maa::Dataset::load("dataset.safetensors"));
  const auto policies = generator.generate(maa::load_trajectory("demonstration.npz"), {.count = 10});
  return static_cast<int>(policies.size());
}
""", 12, 700),
    "policy.hpp, one act": ("""#include <maa/policy.hpp>
int main() {
  maa::MetaWorldPolicy policy;
  float observation[39] = {}, action[4];
  policy.act(observation, action);
  return action[0] > 0;
}
""", 1.5, None),
}


def measure(compiler, source, include):
    """(user seconds, peak megabytes) of one compilation; the compiler's own processes count."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "file.cpp"
        file.write_text(source)
        command = [compiler, "-std=c++20", "-O2", f"-I{include}", "-I/usr/include/eigen3", "-c", str(file), "-o",
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
        sys.exit(f"compile_cost: {compiler} failed:\n{answer['error']}")
    return answer["seconds"], answer["megabytes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("output", nargs="?", type=pathlib.Path)
    parser.add_argument("--repetitions", type=int, default=2)
    parser.add_argument("--include", type=pathlib.Path, default=ROOT / "include")
    options = parser.parse_args()
    entries = []
    for compiler in filter(shutil.which, ("g++", "clang++")):
        version = subprocess.run([compiler, "-dumpversion"], capture_output=True, text=True, check=True).stdout.strip()
        for name, (source, most_seconds, most_megabytes) in FILES.items():
            runs = [measure(compiler, source, options.include) for _ in range(options.repetitions)]
            seconds, megabytes = min(s for s, _ in runs), max(m for _, m in runs)
            # The goals are for g++ 12; other compilers are shown beside it.
            goal = f"<= {most_seconds:g} s" + (f", {most_megabytes} MB" if most_megabytes else "")
            met = seconds <= most_seconds and (most_megabytes is None or megabytes <= most_megabytes)
            judged = compiler == "g++" and version.startswith("12")
            entries.append({"file": name, "compiler": f"{compiler} {version}", "seconds": seconds,
                            "megabytes": megabytes, "goal": goal if judged else "-",
                            "verdict": ("met" if met else "not met") if judged else ""})
            print(f"{name}, {compiler} {version}: {seconds:.2f} s, {megabytes:.0f} MB {entries[-1]['verdict']}")
    if options.output:
        options.output.write_text(json.dumps(entries, indent=1))


if __name__ == "__main__":
    main()

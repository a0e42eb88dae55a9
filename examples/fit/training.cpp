#include "training.hpp"

#include <maa/generator.hpp>

#include <cstdio>

#include "interrupt.hpp"
#include "output_file.hpp"
#include "progress.hpp"
#include "report.hpp"
#include "tool_policy.hpp"

namespace maa::examples {

void fit(const Dataset& data, const FitArguments& arguments, TrainingCurves& curves) {
  auto recipe = arguments.recipe;
  recipe.checkpoint = arguments.out.string() + ".checkpoint";
  std::vector<std::filesystem::path> others{arguments.dataset, arguments.start};
  require_output(arguments.out, others);
  std::optional<HeldOut> held_out;
  if (!arguments.report.empty()) {
    others.push_back(arguments.out);
    require_output(arguments.report, others);
    held_out = hold_out(data, arguments.share, recipe.seed);
  }
  Generator<ToolPolicy> generator{cpu::Backend(arguments.threads)};
  std::unique_ptr<Progress> bar;
  std::string stage;
  const auto& training = held_out ? held_out->training : data;
  const auto start = arguments.start.empty() ? WarmStart() : WarmStart::load(arguments.start);
  const bool finished = generator.fit(training, recipe, start, [&](const TrainProgress& now) {
    if (stage != now.stage) {
      stage = now.stage;
      bar = std::make_unique<Progress>(stage, now.steps);
    }
    bar->update(now.step, concatenate("  loss ", now.loss));
    curves.write(now);
    return !interrupted();
  });
  bar.reset();
  if (!finished) {
    throw Interrupted();
  }
  if (!start.empty()) {
    std::fprintf(stderr, "copied from %s: %s\n", arguments.start.c_str(),
                 generator.state().provenance.at("start").c_str());
  }
  std::fprintf(stderr, "check: %s\n", generator.state().provenance.at("check").c_str());
  generator.save(arguments.out);
  if (held_out) {
    auto report = measure(generator, data, *held_out, recipe.seed, arguments.threads);
    report.dataset = arguments.dataset;
    report.generator = arguments.out;
    report.share = arguments.share;
    write_file_atomically(arguments.report, page_of(report));
    std::printf("%s\n", arguments.report.c_str());
  }
  std::filesystem::remove(recipe.checkpoint);
  std::printf("%s\n", arguments.out.c_str());
}

}  // namespace maa::examples

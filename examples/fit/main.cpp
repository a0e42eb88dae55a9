// From a data set to a generator: fit DATASET --out GENERATOR
#include <CLI/CLI.hpp>

#include <charconv>
#include <cstdio>

#include "interrupt.hpp"
#include "tool_policy.hpp"
#include "training.hpp"

namespace {

// What the data set says, or what was given.
maa::PolicyShape shape_of(const maa::Dataset& data, maa::PolicyShape given, bool complete) {
  if (given.activations.size() == 1) {
    given.activations.resize(given.hidden.size(), given.activations.front());
  }
  given.observations = data.observation_size;
  given.actions = data.action_size;
  maa::require(
      complete || data.policy_shape.has_value(),
      "expected --hidden, --activation, --squash and --heads, since the data set does not say what its "
      "policies are");
  return complete ? given : *data.policy_shape;
}

// "64x64" as numbers. Error if it is anything else.
std::vector<maa::Index> layers_of(const std::string& text) {
  std::vector<maa::Index> layers;
  std::size_t at = 0;
  for (bool more = true; more;) {
    const auto end = std::min(text.find('x', at), text.size());
    maa::Index units = 0;
    const auto [stop, code] = std::from_chars(text.data() + at, text.data() + end, units);
    if (code != std::errc() || stop != text.data() + end || units < 1) {
      throw CLI::ValidationError(
          "--hidden",
          maa::concatenate("expected units of layers such as 64x64, found ", maa::detail::quote(text)));
    }
    layers.push_back(units);
    more = end < text.size();
    at = end + 1;
  }
  return layers;
}

// An option whose values are an enumeration's names.
template <class Enum>
CLI::Option* by_name(CLI::Option* option) {
  std::map<std::string, Enum> values;
  std::string shown;
  for (const auto name : names_of(Enum{})) {
    values.emplace(name, static_cast<Enum>(values.size()));
    shown += maa::concatenate(shown.empty() ? "" : ",", name);
  }
  return option->transform(CLI::CheckedTransformer(values))->option_text(maa::concatenate("{", shown, "}"));
}

}  // namespace

int main(int argc, char** argv) {
  maa::examples::FitArguments arguments;
  auto& recipe = arguments.recipe;
  std::filesystem::path log, tensorboard;
  maa::PolicyShape shape;
  bool unchecked = false, unkept = false;
  CLI::App app("Trains a generator by the default recipe. Stopped, the same command goes on where it was.");
  app.set_version_flag("--version", std::string(maa::library_version));
  app.add_option("dataset", arguments.dataset, "data set (.safetensors)")
      ->required()
      ->check(CLI::ExistingFile);
  app.add_option("--out", arguments.out, "generator file; while training, a checkpoint beside it")
      ->capture_default_str();
  auto* hidden = app.add_option_function<std::string>(
                        "--hidden", [&](const std::string& text) { shape.hidden = layers_of(text); },
                        "the policies' hidden layers, such as 64x64")
                     ->option_text("UNITS");
  auto* activation = by_name<maa::Activation>(
      app.add_option("--activation", shape.activations, "theirs: relu; or of each, elu-relu")
          ->delimiter('-')
          ->allow_extra_args(false)
          ->needs(hidden));
  auto* squash = by_name<maa::Squash>(
      app.add_option("--squash", shape.squash, "tanh: SAC, TD3, DDPG. clip: PPO, A2C. none: rsl_rl")
          ->needs(hidden));
  auto* heads =
      by_name<maa::Heads>(app.add_option("--heads", shape.heads, "what reads the last one")->needs(hidden));
  hidden->needs(activation)->needs(squash)->needs(heads);
  app.add_option("--start", arguments.start, "generator file to begin from, where names and shapes agree")
      ->check(CLI::ExistingFile);
  app.add_option("--steps", recipe.behavior.train.steps, "of training the generated policies' behaviour")
      ->capture_default_str();
  app.add_option("--batch", recipe.behavior.train.batch, "prompts in each")->capture_default_str();
  app.add_option("--seed", recipe.seed, "equal seeds give equal generators")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--log", log, "loss and more at every step: CSV, or JSON lines (.jsonl)");
  app.add_option("--tensorboard", tensorboard, "folder: the same for TensorBoard");
  auto* page = app.add_option("--report", arguments.report,
                              "HTML page: the generator, trained without some runs and tasks, on these");
  app.add_option("--hold-out", arguments.share, "share of the tasks, and of the others' runs, for the report")
      ->needs(page)
      ->check(CLI::Range(0.01, 0.9))
      ->capture_default_str();
  app.add_flag("--no-keep-policies", unkept,
               "the file then has none of the data set's policies, which generate gives where they act more "
               "like a prompt");
  app.add_flag("--no-check", unchecked, "train even if policies do not do what the trajectories show");
  app.add_option("--threads", arguments.threads, "0: one per core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  recipe.check = !unchecked;
  recipe.keep_policies = !unkept;
  return maa::examples::run_interruptibly(arguments.out.string() + ".checkpoint", [&] {
    const bool goes_on = std::filesystem::exists(arguments.out.string() + ".checkpoint");
    maa::examples::TrainingCurves curves(log, tensorboard, goes_on);
    const auto data = maa::Dataset::load(arguments.dataset);
    maa::examples::ToolPolicy::Network::set(shape_of(data, shape, hidden->count() > 0));
    maa::examples::fit(data, arguments, curves);
  });
}

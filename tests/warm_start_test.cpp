// Training that begins with another generator's numbers: what is copied, what is trained at which rate, and
// what does not go on from whose checkpoint.
#include <maa/generator.hpp>

#include <doctest/doctest.h>

#include "errors.hpp"
#include "random_dataset.hpp"
#include "short_recipe.hpp"
#include "small_config.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace maa;
using namespace test;

template <Index observations, Index actions>
using Network =
    MlpNetwork<observations, actions, HiddenLayers<Hidden<16, Activation::elu>, Hidden<16, Activation::relu>>,
               Heads::mean>;
template <class N>
using Agent = Generator<MlpPolicy<N>, SmallConfig>;
using Here = Network<6, 2>;
using There = Network<9, 3>;  // another simulator

BehaviorRecipe recipe(Index steps = 2) {
  auto result = shortened(BehaviorRecipe(), steps, 4);
  result.seed = 7;
  result.behavior.train.ema = result.embedder.train.ema = 0;
  return result;
}
// By name, of the tensors that have numbers: whether they are those of `other`.
template <class G, class O>
std::map<std::string, bool> equal_tensors(const G& generator, const O& other) {
  std::map<std::string, bool> result;
  for (const auto& tensor : tensors_of<typename G::Model>()) {
    for (const auto& from : tensors_of<typename O::Model>()) {
      if (from.name == tensor.name && from.shape == tensor.shape) {
        result[tensor.name] = std::equal(generator.state().parameters.begin() + tensor.offset,
                                         generator.state().parameters.begin() + tensor.offset + tensor.size,
                                         other.state().parameters.begin() + from.offset);
      }
    }
  }
  return result;
}

TEST_CASE("tensors of equal names and shapes are copied, from memory and from a file") {
  Agent<There> trained;
  trained.fit(random_dataset<There>(4), recipe());
  const auto data = random_dataset<Here>(4);
  const auto no_steps = shortened(recipe(), 0, 4);
  Agent<Here> fresh, warm, of_file;
  fresh.fit(data, no_steps);
  warm.fit(data, no_steps, WarmStart(trained));
  const auto copied = equal_tensors(warm, trained);
  CHECK(copied.at("embedder.phi.2.weight"));
  CHECK(copied.at("embedder.metric"));
  CHECK(copied.at("head.prior.weight"));
  CHECK(std::ranges::all_of(copied, [](const auto& entry) { return entry.second; }));
  CHECK_FALSE(copied.contains("embedder.phi.0.weight"));  // reads other observations
  CHECK_FALSE(equal_tensors(fresh, trained).at("embedder.phi.2.weight"));
  CHECK(equal_tensors(warm, fresh).at("embedder.phi.0.weight"));
  CHECK(has(warm.state().provenance.at("start"),
            concatenate(copied.size(), " of ", tensor_count<typename Agent<Here>::Model>, " tensors, ")));
  CHECK_FALSE(fresh.state().provenance.contains("start"));

  const TemporaryFolder folder;
  trained.save(folder / "generator");
  of_file.fit(data, no_steps, WarmStart::load(folder / "generator"));
  CHECK(std::ranges::equal(of_file.state().parameters, warm.state().parameters));
  CHECK(of_file.state().provenance.at("start") == warm.state().provenance.at("start"));
}

TEST_CASE("what is slow is trained at its rate, or stays") {
  Agent<There> trained;
  trained.fit(random_dataset<There>(4), recipe());
  const auto data = random_dataset<Here>(4);
  WarmStart start(trained);
  start.rate = 0;
  start.slow = {"denoiser.", "embedder.phi"};
  Agent<Here> kept;
  kept.fit(data, recipe(), start);
  for (const auto& [name, equal] : equal_tensors(kept, trained)) {
    CAPTURE(name);
    if (name.starts_with("denoiser.") || name.starts_with("embedder.phi")) {
      CHECK(equal);
    }
  }
  CHECK_FALSE(equal_tensors(kept, trained).at("embedder.psi.2.weight"));

  // Adam's first step is the learning rate but for epsilon, whatever the gradient.
  auto one = recipe(1);
  for_stages(one, [](TrainOptions& train) {
    train.weight_decay = 0;
    train.learning_rate.warmup = 0;
  });
  const auto moved = [&](double rate) {
    WarmStart of_rate(trained);
    of_rate.rate = rate;
    of_rate.slow = {"embedder.psi."};
    Agent<Here> generator;
    generator.fit(data, one, of_rate);
    double largest = 0;
    for (const auto& tensor : tensors_of<typename Agent<Here>::Model>()) {
      if (tensor.name == "embedder.psi.2.bias") {
        for (const auto& from : tensors_of<typename Agent<There>::Model>()) {
          for (Index i = 0; from.name == tensor.name && i < tensor.size; ++i) {
            largest = std::max<double>(largest, std::abs(generator.state().parameters[tensor.offset + i] -
                                                         trained.state().parameters[from.offset + i]));
          }
        }
      }
    }
    return largest;
  };
  const double full = moved(1);
  CHECK(full > 1e-5);
  CHECK(moved(0.25) / full == doctest::Approx(0.25).epsilon(0.01));
}

TEST_CASE("a checkpoint goes on with its own start alone, to the same bits") {
  Agent<There> trained;
  trained.fit(random_dataset<There>(4), recipe());
  const auto data = random_dataset<Here>(4);
  WarmStart start(trained);
  start.rate = 0.5;
  Agent<Here> whole, stopped;
  whole.fit(data, recipe(4), start);
  const TemporaryFolder folder;
  auto with_checkpoint = recipe(4);
  with_checkpoint.checkpoint = folder / "checkpoint";
  CHECK_FALSE(
      stopped.fit(data, with_checkpoint, start, [](const TrainProgress& now) { return now.step < 2; }));
  check_error("start.content: expected none", [&] { stopped.fit(data, with_checkpoint); });
  auto other = start;
  other.rate = 0.25;
  check_error("start.rate: expected", [&] { stopped.fit(data, with_checkpoint, other); });
  CHECK(stopped.fit(data, with_checkpoint, start));
  CHECK(std::ranges::equal(stopped.state().parameters, whole.state().parameters));
}

TEST_CASE("a start that is none is refused") {
  const auto data = random_dataset<Here>(4);
  Agent<Here> generator;
  check_error("expected a trained generator", [&] { WarmStart start(Agent<There>{}); });
  Agent<There> trained;
  trained.fit(random_dataset<There>(4), recipe());
  WarmStart start(trained);
  start.slow = {"denoiser.", "encoder"};
  check_error("expected the beginning of a copied tensor's name, found 'encoder'",
              [&] { generator.fit(data, recipe(), start); });
  start.slow = {};
  for (const double rate : {-0.1, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    start.rate = rate;
    check_error("start: expected a rate from 0 to 1", [&] { generator.fit(data, recipe(), start); });
  }
  const TemporaryFolder folder;
  data.save(folder / "data");
  check_error("maa generator 1", [&] { WarmStart::load(folder / "data"); });
  CHECK_FALSE(generator.trained());
}

}  // namespace

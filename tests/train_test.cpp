// Training's parts: learning rates, EMA, data order, and the trainer's clipping, decay groups and saved
// state.
#include <doctest/doctest.h>

#include <maa/backend/cpu.hpp>
#include <maa/models/unet1d.hpp>
#include <maa/train/batch_order.hpp>
#include <maa/train/trainer.hpp>

#include "temporary_folder.hpp"

#include <set>

namespace {

using namespace maa;

TEST_CASE("learning rates: warm-up, cosine, restarts") {
  const LearningRate cosine{.kind = LearningRateKind::cosine, .base = 2, .minimum = 0.5, .warmup = 4};
  CHECK(cosine.at(0, 104) == doctest::Approx(0.5));
  CHECK(cosine.at(3, 104) == doctest::Approx(2));
  CHECK(cosine.at(4, 104) == doctest::Approx(2));
  CHECK(cosine.at(54, 104) == doctest::Approx(1.25));
  CHECK(cosine.at(104, 104) == doctest::Approx(0.5));
  CHECK(cosine.at(1'000, 104) == doctest::Approx(0.5));

  // Cycles of 10, 20, 40 ...: the rate is back at base at steps 10, 30 and 70.
  const LearningRate restarts{.kind = LearningRateKind::warm_restarts, .base = 1};
  for (const Index start : {0, 10, 30, 70}) {
    CHECK(restarts.at(start, 100) == doctest::Approx(1));
  }
  CHECK(restarts.at(5, 100) == doctest::Approx(0.5));
  CHECK(restarts.at(20, 100) == doctest::Approx(0.5));
  CHECK(restarts.at(50, 100) == doctest::Approx(0.5));
  CHECK(restarts.at(9, 100) < 0.05);

  const LearningRate constant{.kind = LearningRateKind::constant, .base = 3};
  CHECK(constant.at(0, 10) == 3);
  CHECK(constant.at(9, 10) == 3);
}

TEST_CASE("EMA decay grows by the power rule up to its maximum") {
  CHECK(ema_decay(0.9, 0) == 0);
  CHECK(ema_decay(0.9, 15) == doctest::Approx(1 - 1 / 8.0));
  CHECK(ema_decay(0.9, 100'000) == 0.9);
}

TEST_CASE(
    "every epoch visits every sample once, in an order of its own, whichever batch is asked for first") {
  BatchOrder order(10, 4, 3);
  std::vector<Index> drawn;
  for (Index step = 0; step < 10; ++step) {
    const auto batch = order.batch(step);
    drawn.insert(drawn.end(), batch.begin(), batch.end());
  }
  for (std::size_t epoch = 0; epoch < 4; ++epoch) {
    const auto first = drawn.begin() + static_cast<std::ptrdiff_t>(10 * epoch);
    CHECK(std::set<Index>(first, first + 10).size() == 10);
  }
  CHECK_FALSE(std::equal(drawn.begin(), drawn.begin() + 10, drawn.begin() + 10));
  BatchOrder late(10, 4, 3);
  const auto seventh = late.batch(7);
  CHECK(std::equal(seventh.begin(), seventh.end(), drawn.begin() + 28));
  CHECK_THROWS_AS(BatchOrder(0, 4, 3), Error);
}

TEST_CASE("an epoch of whole batches leaves out the samples that fill none, others each time") {
  BatchOrder order(10, 4, 3, true);
  std::set<Index> seen;
  for (Index epoch = 0; epoch < 12; ++epoch) {
    std::set<Index> of_epoch;
    for (Index step = 2 * epoch; step < 2 * epoch + 2; ++step) {
      const auto batch = order.batch(step);
      of_epoch.insert(batch.begin(), batch.end());
    }
    CHECK(of_epoch.size() == 8);
    seen.insert(of_epoch.begin(), of_epoch.end());
  }
  CHECK(seen.size() == 10);
  BatchOrder few(3, 4, 3, true), usual(3, 4, 3);  // a batch of more than there are
  CHECK(std::ranges::equal(few.batch(2), usual.batch(2)));
}

using Model = Linear<3, 2>;  // 6 weights that decay, 2 biases that do not
const cpu::Backend backend(1);

TrainOptions options() {
  TrainOptions result;
  result.steps = 20;
  result.learning_rate = {.kind = LearningRateKind::constant, .base = 0.1};
  result.ema = 0.9999;
  return result;
}

// The gradient is `pull` everywhere.
auto pulling(double pull) {
  return [pull](std::span<const double>, std::span<double> gradients) {
    std::fill(gradients.begin(), gradients.end(), pull);
    return 1.0;
  };
}

TEST_CASE("gradients above the norm are scaled down before the moments see them") {
  auto chosen = options();
  chosen.clip_norm = 0.5;
  const std::vector<double> start(8, 1.0);
  // After two steps, since the first is of the same size for every gradient.
  const auto weight_after = [&](double first, double second) {
    Trainer<double, cpu::Backend> trainer(backend, tensors_of<Model>(), chosen, start);
    const auto progress = trainer.step(pulling(first));
    CHECK(progress.gradient_norm == doctest::Approx(first * std::sqrt(8.0)));
    trainer.step(pulling(second));
    return trainer.weights()[0];
  };
  const double limit = 0.5 / std::sqrt(8.0);  // the entry at which the norm is .5
  CHECK(weight_after(10, limit / 2) == doctest::Approx(weight_after(limit, limit / 2)));
  CHECK(weight_after(limit / 2, limit / 2) < weight_after(limit, limit / 2) - 1e-3);
  // AdamW by hand: m_hat = (.09 g1 + .1 g2) / .19, v_hat = (.000999 g1^2 + .001 g2^2) / .001999.
  const double m = (0.09 + 0.05) / 0.19, v = (0.000999 + 0.00025) / 0.001999;
  CHECK(weight_after(limit, limit / 2) == doctest::Approx(0.9 - 0.1 * m / std::sqrt(v)));
}

TEST_CASE("weights decay; biases do not, unless all do") {
  auto chosen = options();
  chosen.weight_decay = 0.5;
  const std::vector<double> start(8, 1.0);
  Trainer<double, cpu::Backend> trainer(backend, tensors_of<Model>(), chosen, start);
  trainer.step(pulling(0));
  CHECK(trainer.weights()[5] == doctest::Approx(1 - 0.1 * 0.5));
  CHECK(trainer.weights()[6] == 1);
  chosen.decay_all = true;
  Trainer<double, cpu::Backend> all(backend, tensors_of<Model>(), chosen, start);
  all.step(pulling(0));
  for (const double weight : all.weights()) {
    CHECK(weight == doctest::Approx(1 - 0.1 * 0.5));
  }
}

TEST_CASE("a loss that is not finite is an error and changes nothing") {
  const std::vector<double> start(8, 1.0);
  Trainer<double, cpu::Backend> trainer(backend, tensors_of<Model>(), options(), start);
  trainer.step(pulling(1));
  const auto before = trainer.weights();
  CHECK_THROWS_WITH_AS(trainer.step(pulling(std::numeric_limits<double>::quiet_NaN())),
                       doctest::Contains("not finite at step 1"), Error);
  CHECK(std::equal(before.begin(), before.end(), trainer.weights().begin()));
  CHECK(trainer.step_count() == 1);
  CHECK(trainer.step(pulling(1)).step == 2);
}

TEST_CASE("a saved trainer goes on with the same bits, and refuses another model's state") {
  const test::TemporaryFolder folder;
  const std::vector<double> start(8, 1.0);
  const auto noisy = [](const Rng& rng) {
    return [rng](std::span<const double> weights, std::span<double> gradients) {
      Rng(rng).fill_normal(gradients);
      return weights[0];
    };
  };
  Trainer<double, cpu::Backend> straight(backend, tensors_of<Model>(), options(), start);
  Trainer<double, cpu::Backend> stopped(backend, tensors_of<Model>(), options(), start);
  for (int i = 0; i < 7; ++i) {
    straight.step(noisy(straight.step_rng()));
    stopped.step(noisy(stopped.step_rng()));
  }
  SafetensorsWriter writer;
  stopped.save(writer, "t.");
  writer.write(folder / "state.safetensors");
  const SafetensorsReader reader(folder / "state.safetensors");
  Trainer<double, cpu::Backend> resumed(backend, tensors_of<Model>(), options(), start);
  resumed.load(reader, "t.");
  CHECK(resumed.step_count() == 7);
  while (!straight.finished()) {
    straight.step(noisy(straight.step_rng()));
    resumed.step(noisy(resumed.step_rng()));
  }
  CHECK(std::equal(straight.weights().begin(), straight.weights().end(), resumed.weights().begin()));
  CHECK(std::equal(straight.result().begin(), straight.result().end(), resumed.result().begin()));
  CHECK_FALSE(std::equal(straight.weights().begin(), straight.weights().end(), straight.result().begin()));

  Trainer<double, cpu::Backend> other(backend, tensors_of<Linear<2, 2>>(), options(),
                                      std::span(start).first(6));
  CHECK_THROWS_WITH_AS(other.load(reader, "t."), doctest::Contains("weights.weight"), Error);
  CHECK(other.step_count() == 0);
}

}  // namespace

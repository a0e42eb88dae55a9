// Another backbone is one type: a denoiser without convolutions, named by a configuration, trains and
// generates.
#include <doctest/doctest.h>

#include <maa/models/denoiser.hpp>
#include <maa/nn/sequential.hpp>

#include "small_generator.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace test;

// One linear map of [latent; condition; timestep / 100], for a latent of `Length` positions.
template <Index Channels, Index Condition, Index Length>
struct LinearDenoiser {
  static constexpr Index latent_channels = Channels;
  static constexpr Index condition_size = Condition;
  static constexpr Index numbers = Length * Channels;
  using Map = Linear<numbers + Condition + 1, numbers>;

  template <class T>
  using Weights = typename Map::template Weights<T>;
  template <class T>
  struct Saved {
    MatrixView<T> input;
    SequenceView<T> output;
  };
  template <class T>
  struct Modulation {
    std::span<const Index> timesteps;
    MatrixView<T> condition;
  };

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template child<Map>("map", w...);
  }
  template <class Visitor>
  static constexpr void describe_structure(Visitor& visit) {
    visit("kind", std::string_view("linear"));
  }

  template <class Backend, class T>
  static Saved<T> forward(const Backend& backend, const Weights<const T>& w, SequenceView<const T> x,
                          std::span<const Index> timesteps, MatrixView<const T> condition,
                          WorkspaceOf<Backend>& workspace) {
    Saved<T> saved{workspace.template matrix<T>(x.batch, Map::in),
                   workspace.template sequence<T>(x.batch, Length, Channels)};
    copy_matrix(backend, x.per_sample(), saved.input.col_range(0, numbers));
    copy_matrix(backend, condition, saved.input.col_range(numbers, Condition));
    for (Index i = 0; i < x.batch; ++i) {
      saved.input(i, numbers + Condition) = static_cast<T>(timesteps[static_cast<std::size_t>(i)]) / 100;
    }
    linear_forward(backend, MatrixView<const T>(saved.input), w.weight, w.bias, saved.output.per_sample());
    return saved;
  }
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                       SequenceView<const T> doutput, const Weights<T>& gradients, MatrixView<T> dcondition,
                       SequenceView<T> dx, WorkspaceOf<Backend>& workspace) {
    const auto scope = workspace.scope();
    const auto dinput = workspace.template matrix<T>(doutput.batch, Map::in);
    linear_backward_input(backend, doutput.per_sample(), w.weight, dinput);
    linear_backward_weight(backend, doutput.per_sample(), saved.input, gradients.weight, gradients.bias);
    if (dcondition.data) {
      copy_matrix(backend, dinput.col_range(numbers, Condition), dcondition);
    }
    if (dx.data) {
      copy_matrix(backend, dinput.col_range(0, numbers), dx.per_sample());
    }
  }
  template <class Backend, class T>
  static Modulation<T> modulation(const Backend& backend, const Weights<const T>&,
                                  std::span<const Index> timesteps, MatrixView<const T> condition,
                                  WorkspaceOf<Backend>& workspace) {
    const auto copy = workspace.template matrix<T>(condition.rows, condition.cols);
    copy_matrix(backend, condition, copy);
    return {timesteps, copy};
  }
  template <class Backend, class T>
  static SequenceView<T> infer(const Backend& backend, const Weights<const T>& w, SequenceView<const T> x,
                               const Modulation<T>& modulation, Index step, WorkspaceOf<Backend>& workspace) {
    const std::vector<Index> timesteps(static_cast<std::size_t>(x.batch),
                                       modulation.timesteps[static_cast<std::size_t>(step)]);
    return forward(backend, w, x, timesteps, MatrixView<const T>(modulation.condition), workspace).output;
  }
};

struct LinearConfig : SmallConfig {
  template <Index Latent, Index Condition>
  using Denoiser = LinearDenoiser<Latent, Condition, Network::token_count>;
};
static_assert(Denoiser<GeneratorModel<Network, LinearConfig>::DenoiserModel, cpu::Backend>);
static_assert(Denoiser<GeneratorModel<Network, SmallConfig>::DenoiserModel, cpu::Backend>);
static_assert(!Denoiser<Linear<3, 2>, cpu::Backend>);

TEST_CASE("another backbone trains, generates and has files of its own") {
  const TemporaryFolder folder;
  Generator<Policy, LinearConfig> generator{cpu::Backend(2)};
  REQUIRE(generator.fit(dataset(), recipe()));
  for (Index task = 0; task < 2; ++task) {
    const auto policy = generator.generate(demonstration(task, 777))[0];
    CHECK(action_error(policy, task) < 0.5 * action_error(policy, 1 - task));
  }
  generator.save(folder / "generator.safetensors");
  CHECK_NOTHROW((Generator<Policy, LinearConfig>::load(folder / "generator.safetensors")));
  CHECK_THROWS_WITH_AS(SmallGenerator::load(folder / "generator.safetensors"),
                       doctest::Contains("denoiser.kind: expected unet1d, found 'linear'"), Error);
}

}  // namespace

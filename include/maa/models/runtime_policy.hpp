// Policies whose sizes a program finds out as it runs: for tools that take any file. Where sizes are known,
// those of a compile-time network act without allocation, and errors are the compiler's.
#pragma once

#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/models/policy.hpp>
#include <maa/models/policy_shape.hpp>

MAA_NAMESPACE_BEGIN

namespace detail {

template <class Tag>
struct RuntimeShape {
  static constexpr std::size_t most_hidden = 3;
  // Set once, by RuntimeNetwork::set.
  inline static Index observations = 0, actions = 0, layers = 0;
  inline static std::array<Index, most_hidden> units{};
  inline static std::array<Activation, most_hidden> hidden_activations{};
  inline static Heads heads = Heads::mean;
  inline static Squash squash = Squash::none;
  inline static Tokens tokens = Tokens::heads_with_last_hidden;

  static Index observations_now() { return observations; }
  static Index actions_now() { return actions; }
  static Index layers_now() { return layers; }
  template <std::size_t layer>
  static Index units_now() {
    return units[layer];
  }

  static constexpr bool is_fixed = false;
  static constexpr Extent observation_size = runtime_size<&RuntimeShape::observations_now>;
  static constexpr Extent action_size = runtime_size<&RuntimeShape::actions_now>;
  static constexpr Extent hidden_count = runtime_size<&RuntimeShape::layers_now>;
  static constexpr auto hidden_sizes = []<std::size_t... At>(std::index_sequence<At...>) {
    return std::array<Extent, most_hidden>{runtime_size<&RuntimeShape::template units_now<At>>...};
  }
  (std::make_index_sequence<most_hidden>{});
};

}  // namespace detail

// A network whose layers, sizes, heads and tokens a process sets once, before it makes anything of this type.
// Generators and policies of it have the files of an MlpNetwork with these. Tag: a process that works with
// two shapes tells them apart by it.
template <class Tag = void>
struct RuntimeNetwork : detail::DescribedMlp<detail::RuntimeShape<Tag>> {
  // Error unless the type serves such a shape, and if it is another than was set before. Not while other
  // threads use the type.
  static void set(const PolicyShape& shape) {
    using Shape = detail::RuntimeShape<Tag>;
    shape.check("runtime policy");
    static_assert(Shape::most_hidden == 3);
    require(shape.hidden.size() <= Shape::most_hidden,
            "expected policies of one to three hidden layers, found ", detail::field_text(shape.hidden),
            ": those take a program with a type of their own (examples/ten_lines)");
    if (Shape::observations != 0) {
      const auto of_type = PolicyShape::of<RuntimeNetwork>();
      const auto different = differences(of_type, shape);
      require(different.empty() && of_type.tokens == shape.tokens,
              "runtime policy: expected the shape that this process works with, found another: ",
              different.empty() ? "tokens" : different);
    }
    std::ranges::copy(shape.hidden, Shape::units.begin());
    std::ranges::copy(shape.activations, Shape::hidden_activations.begin());
    Shape::layers = std::ssize(shape.hidden);
    Shape::heads = shape.heads;
    Shape::squash = shape.squash;
    Shape::tokens = shape.tokens;
    Shape::actions = shape.actions;
    Shape::observations = shape.observations;
  }
};

// The same members as the primary template's, but for act's promises: it allocates on a thread's first call,
// and spans have no fixed extent, so that wrong sizes are an Error.
template <class NetworkT, Storage storage_>
requires(!NetworkT::is_fixed) class MlpPolicy<NetworkT, storage_> {
 public:
  // As the primary template's.
  using Network = NetworkT;
  static constexpr Storage storage = storage_;
  static constexpr Extent observation_size = Network::observation_size;
  static constexpr Extent action_size = Network::action_size;
  static constexpr auto parameter_size = parameter_count<Network>;
  using Observation = std::span<const float>;
  using Action = std::span<float>;
  using Box = ActionBox<action_size>;
  using Scaling = ObservationScaling<observation_size>;
  static_assert(storage == Storage::fp32, "policies of run-time sizes keep their weights in fp32");

  // All weights zero.
  MlpPolicy() : weights_(parameter_size) {}
  // weights [parameter_size]; errors as the primary template's.
  explicit MlpPolicy(std::span<const float> weights, const Box& box = {}, const Scaling& scaling = {})
      : MlpPolicy() {
    detail::check_policy_weights(weights, parameter_size);
    box.check("policy");
    scaling.check("policy");
    std::ranges::copy(weights, weights_.begin());
    box_ = box;
    scaling_ = scaling;
  }
  // Freshly initialised.
  static MlpPolicy untrained(std::uint64_t seed) {
    MlpPolicy policy;
    initialize<Network>(policy.weights_.span(), Rng(seed));
    return policy;
  }

  // As they were given.
  std::span<const float> weights() const noexcept { return weights_.span(); }
  const Box& box() const noexcept { return box_; }
  const Scaling& scaling() const noexcept { return scaling_; }

  // observation [O] -> action [A]; [rows, O] -> [rows, A]; a random action. Error if a size is wrong, and for
  // the last without a log_std head.
  void act(Observation observation, Action action) const { act_batch(observation, action, 1, {}); }
  void act_batch(std::span<const float> observations, std::span<float> actions) const {
    act_batch(observations, actions, std::ssize(actions) / action_size, {});
  }
  void sample(Observation observation, Action action, Rng& rng) const {
    require(Network::has_log_std, "policy: expected a log_std head to sample actions by, found none");
    Buffer<float> noise(action_size);
    for (auto& number : noise) {
      number = static_cast<float>(rng.normal());
    }
    act_batch(observation, action, 1, noise.span());
  }

 private:
  // noise [rows, actions], or none.
  void act_batch(std::span<const float> observations, std::span<float> actions, Index rows,
                 std::span<const float> noise) const {
    require(std::ssize(actions) == rows * action_size && std::ssize(observations) == rows * observation_size,
            "policy: expected observations [rows, ", observation_size, "] and actions [rows, ", action_size,
            "], found ", observations.size(), " and ", actions.size(), " numbers");
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const auto read = scratch.sequence<float>(1, rows, observation_size);
    const SequenceView<float> mean(actions.data(), 1, rows, action_size);
    const auto log_std =
        noise.empty() ? SequenceView<float>() : scratch.sequence<float>(1, rows, action_size);
    for (Index i = 0; i < rows; ++i) {
      scaling_.apply(observations.data() + i * observation_size, read.data + i * observation_size);
    }
    policy_batch_infer(backend_, layout_, MatrixView<const float>(weights_.data(), 1, weights_.size()),
                       SequenceView<const float>(read), mean, log_std);
    for (std::size_t i = 0; i < actions.size(); ++i) {
      if (!noise.empty()) {
        actions[i] += std::exp(std::clamp(log_std.data[i], -20.0f, 2.0f)) * noise[i];
      }
      actions[i] = kernels::activate(Network::squashing(), actions[i]);
      if (Network::squash == Squash::clip) {
        actions[i] = detail::clip_action(actions[i]);
      }
      const auto at = i % box_.centre.size();
      actions[i] = box_.centre[at] + box_.half_width[at] * actions[i];
    }
  }

  Buffer<float> weights_;
  Box box_;
  Scaling scaling_;
  MlpLayout layout_ = Network::layout();
  cpu::Backend backend_{1};
};

MAA_NAMESPACE_END

// What a recipe's stages share: data, the state that they train, and the run. Which stages there are and in
// which order is the recipe's: overloads of train_stages().
#pragma once

#include <maa/core/content_hash.hpp>
#include <maa/data/dataset_check.hpp>
#include <maa/generator/training_data.hpp>
#include <maa/generator/training_run.hpp>
#include <maa/generator/warm_start.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config, class Backend>
class Fitting {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;
  using Data = TrainingData<Network, Config>;

  // `recipe`: its fields, all of which must be the same for training to go on from a checkpoint, as the model
  // and the data must. The other arguments must outlive it.
  MAA_COLD Fitting(const Backend& backend, const Dataset& dataset, const FitOptions& options,
                   const DataUse& use, Fields recipe, const WarmStart& start, const TrainCallback& callback)
      : backend_(backend),
        options_(options),
        data_(dataset, options, use, state_),
        rates_(initialize_from(start)),
        run_(backend, options, fingerprint(std::move(recipe), dataset, start), tensors_of<Model>(),
             state_.parameters.span(), rates_, callback) {
    state_.settings.diffusion = options.diffusion;
    state_.settings.sampling = options.sampling;
    state_.settings.guidance = options.guidance;
    state_.settings.check(Network::observation_size, Network::action_size, "fit");
  }
  Fitting(const Fitting&) = delete;
  Fitting& operator=(const Fitting&) = delete;

  const Backend& backend() const { return backend_; }
  const Data& data() const { return data_; }
  State& state() { return state_; }
  // Before training.
  void set_makers(const DatasetCheck& check) {
    std::ranges::transform(check.trajectories, data_.makers.begin(), &TrajectoryCheck::maker);
  }
  TrainingRun<Backend>& run() { return run_; }
  // What was copied from a start, in words; empty without one.
  const std::string& copied() const { return copied_; }

  // The options of a stage with its own stream of random numbers.
  template <class StageOptions>
  StageOptions seeded(StageOptions options, std::uint64_t stream) const {
    options.train.seed = Rng(options_.seed).fork(0x7261696eu + stream).next_u64();
    return options;
  }
  // Part's share of the parameters, from `offset` on, where ops can read it.
  template <class Part>
  typename Backend::template Constants<float> constants(Index offset) {
    const auto session = backend_.session();
    return {backend_, state_.parameters.span().subspan(static_cast<std::size_t>(offset),
                                                       static_cast<std::size_t>(parameter_count<Part>))};
  }

 private:
  MAA_COLD Fields fingerprint(Fields recipe, const Dataset& dataset, const WarmStart& start) const {
    auto model = structure_of<Model>("model.");
    recipe.insert(recipe.end(), std::make_move_iterator(model.begin()), std::make_move_iterator(model.end()));
    recipe.push_back({"data.policies", concatenate(dataset.policy_count())});
    recipe.push_back({"data.trajectories", concatenate(dataset.trajectories.size())});
    recipe.push_back({"data.content", concatenate(dataset.content_hash())});
    if (!start.empty()) {
      ContentHash hash;
      hash.add(std::as_const(state_.parameters).span());
      recipe.push_back({"start.content", concatenate(hash.value())});
      recipe.push_back({"start.slow", field_text(start.slow)});
      recipe.push_back({"start.rate", field_text(start.rate)});
    }
    return recipe;
  }
  // The rates of all tensors, or none; notes what was copied.
  MAA_COLD std::vector<double> initialize_from(const WarmStart& start) {
    initialize<Model>(state_.parameters.span(), Rng(options_.seed));
    if (start.empty()) {
      return {};
    }
    const auto tensors = tensors_of<Model>();
    const auto copied = start.copy_to(tensors, state_.parameters.span());
    copied_ = start.summary(tensors, copied);
    return start.rates(tensors, copied);
  }

  const Backend& backend_;
  const FitOptions& options_;
  State state_;
  Data data_;
  std::string copied_;
  std::vector<double> rates_;
  TrainingRun<Backend> run_;
};

}  // namespace detail
MAA_NAMESPACE_END

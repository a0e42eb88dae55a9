// The zoo's policies as the autoencoder sees them, and their latents as the denoiser does.
#pragma once

#include <maa/generator/training_data.hpp>

#include <numeric>

MAA_NAMESPACE_BEGIN
namespace detail {

// Standardised policies where ops can read them. `backend` and `data` must outlive it.
template <class Network, class Config, class Backend>
class Zoo {
 public:
  using Real = typename Backend::template Element<float>;

  Zoo(const Backend& backend, const TrainingData<Network, Config>& data)
      : backend_(backend), data_(data), policies_(backend, data.standardized.span()) {}

  // Rows [positions, parameters]: the policies with numbers of[position].
  MatrixView<Real> gather(const std::vector<Index>& of, std::span<const Index> positions,
                          WorkspaceOf<Backend>& workspace) const {
    const Workspace::Scope scope(thread_scratch());
    const auto rows = thread_scratch().span<Index>(std::ssize(positions));
    std::ranges::transform(positions, rows.begin(),
                           [&](Index position) { return of[static_cast<std::size_t>(position)]; });
    const auto x = workspace.template matrix<Real>(std::ssize(rows), parameter_count<Network>);
    gather_rows(backend_,
                MatrixView<const Real>(policies_.span().data(), data_.dataset.policy_count(), x.cols), rows,
                x);
    return x;
  }
  // Calls body(rows, number of the first) for batches of these policies.
  template <class Body>
  void for_batches(const std::vector<Index>& policies, WorkspaceOf<Backend>& workspace,
                   const Body& body) const {
    const auto session = backend_.session();
    constexpr Index batch = 64;
    for (Index first = 0; first < std::ssize(policies); first += batch) {
      workspace.reset();
      const Workspace::Scope scope(thread_scratch());
      const auto positions = thread_scratch().span<Index>(std::min(batch, std::ssize(policies) - first));
      std::iota(positions.begin(), positions.end(), first);
      body(MatrixView<const Real>(gather(policies, positions, workspace)), first);
    }
  }

 private:
  const Backend& backend_;
  const TrainingData<Network, Config>& data_;
  typename Backend::template Constants<float> policies_;  // all of the dataset
};

// The latents of the training policies by the encoders `weights`, normalised: [policies, latent_numbers], in
// the order of split.train.policies. Fits state.latent.
template <class Network, class Config, class Backend>
MAA_COLD Buffer<float> zoo_latents(const Backend& backend, const TrainingData<Network, Config>& data,
                                   std::span<const typename Backend::template Element<float>> weights,
                                   Scaling scaling, GeneratorState<Network, Config>& state) {
  using Model = GeneratorModel<Network, Config>;
  using Codec = typename Model::AutoencoderModel;
  using Real = typename Backend::template Element<float>;
  const Index numbers = Model::latent_numbers;
  auto workspace = backend.make_workspace();
  const auto& train = data.split.train.policies;
  const auto count = std::ssize(train);
  const auto w = bind<Codec>(weights);
  Buffer<float> latents(count * numbers);
  Zoo<Network, Config, Backend>(backend, data)
      .for_batches(train, workspace, [&](MatrixView<const Real> x, Index first) {
        const auto encoded = Codec::encode(backend, w, x, workspace);
        download(backend, std::span<const Real>(encoded.latent.span()),
                 latents.span().subspan(static_cast<std::size_t>(first * numbers),
                                        static_cast<std::size_t>(x.rows * numbers)));
      });
  if (scaling == Scaling::standard) {
    state.latent = Normalizer::standard(MatrixView<const float>(latents.data(), count, numbers), 1e-6, 1e-3);
  } else {  // minimum and maximum are pooled over the tokens
    constexpr Index size = Config::latent_size;
    const auto pooled =
        Normalizer::limits(MatrixView<const float>(latents.data(), count * Network::token_count, size));
    state.latent = Normalizer(numbers);
    for (Index token = 0; token < Network::token_count; ++token) {
      std::copy_n(pooled.offset.data(), size, state.latent.offset.data() + token * size);
      std::copy_n(pooled.scale.data(), size, state.latent.scale.data() + token * size);
    }
  }
  state.latent.apply({latents.data(), count, numbers});
  return latents;
}

}  // namespace detail
MAA_NAMESPACE_END

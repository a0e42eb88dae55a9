// Second stage: the behaviour embedder, by contrast between the trajectories of a batch (eq. 7).
#pragma once

#include <maa/generator/training_data.hpp>
#include <maa/train/batch_order.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

template <class Network, class Config, class Backend>
class EmbedderStage {
 public:
  using Part = typename GeneratorModel<Network, Config>::EmbedderModel;
  using Data = TrainingData<Network, Config>;
  using State = GeneratorState<Network, Config>;
  using Real = typename Backend::template Element<float>;
  static constexpr const char* name = "embedder";
  static constexpr Index segments = Data::segments;

  // own_limits: trained on features that are mapped to [-1, 1] by each one's limits over all prompts;
  // conditions are of the features as they are.
  MAA_COLD EmbedderStage(const Backend& backend, const Data& data, const EmbedderOptions& options,
                         bool own_limits = false)
      : backend_(backend),
        data_(data),
        options_(options),
        order_(std::ssize(data.contrasted), std::min(options.train.batch, std::ssize(data.contrasted)),
               options.train.seed, options.train.drop_last),
        shown_{{backend, data.trajectory_features.span()}, {backend, data.success_features.span()}},
        workspace_(backend.make_workspace()) {
    if (own_limits) {
      within_limits_[0] = within_limits(data.trajectory_features, Data::h_size);
      within_limits_[1] = within_limits(data.success_features, Data::v_size);
      trained_on_.emplace(Inputs{{backend, std::as_const(within_limits_[0]).span()},
                                 {backend, std::as_const(within_limits_[1]).span()}});
    }
  }

  const TrainOptions& options() const { return options_.train; }

  // InfoNCE over the batch's windows: softmax(h_i' W v_j / temperature) against j = i, or against all windows
  // of i's style; symmetric adds the same with rows and columns exchanged.
  auto loss(std::span<const Real> weights, std::span<Real> gradients, Rng rng, Index step) {
    workspace_.reset();
    const Workspace::Scope batch_scope(thread_scratch());
    const auto batch = thread_scratch().span<Index>(order_.batch_size());
    std::ranges::transform(order_.batch(step), batch.begin(),
                           [&](Index drawn) { return data_.contrasted[static_cast<std::size_t>(drawn)]; });
    const Index rows = static_cast<Index>(batch.size()) * segments;
    const auto& inputs = trained_on_ ? *trained_on_ : shown_;
    const auto h_in = gather(inputs.trajectory, Data::h_size, batch, rng);
    const auto v_in = gather(inputs.success, Data::v_size, batch, rng);
    const auto w = bind<Part>(weights);
    const auto g = bind<Part>(gradients);
    const auto saved =
        Part::forward(backend_, w, MatrixView<const Real>(h_in), MatrixView<const Real>(v_in), workspace_);
    const auto contrast = Part::contrast(backend_, w, saved, workspace_);
    const auto targets = positives(batch);
    const auto scaled = workspace_.template matrix<Real>(rows, rows);
    const auto dlogits = workspace_.template matrix<Real>(rows, rows);
    const auto slope = static_cast<float>(1 / options_.temperature);
    copy_matrix(backend_, contrast.logits, scaled);
    scale(backend_, slope, scaled);
    auto loss = info_nce_loss(backend_, scaled, targets, dlogits);
    if (options_.symmetric) {
      const auto transposed = workspace_.template matrix<Real>(rows, rows);
      const auto dtransposed = workspace_.template matrix<Real>(rows, rows);
      transpose(backend_, scaled, transposed);
      // targets are symmetric up to row sums
      loss = sum(backend_, loss, info_nce_loss(backend_, transposed, targets, dtransposed));
      add_transposed(backend_, dtransposed, dlogits);
    }
    scale(backend_, slope, dlogits);
    const auto dh = workspace_.template matrix<Real>(rows, Part::embedding_size);
    const auto dv = workspace_.template matrix<Real>(rows, Part::embedding_size);
    Part::contrast_backward(backend_, w, saved, contrast, MatrixView<const Real>(dlogits), g, dh, dv,
                            workspace_);
    Part::backward(backend_, w, saved, MatrixView<const Real>(dh), MatrixView<const Real>(dv), g, workspace_);
    return loss;
  }

  std::optional<double> validation(std::span<const Real>) { return std::nullopt; }

  // Fits the condition's normaliser to [-1, 1] by per-feature limits.
  void fit_condition_limits(std::span<const Real> weights, State& state) {
    constexpr Index size = State::Model::condition_size;
    const auto all = conditions(weights, state);
    state.condition = Normalizer::limits(MatrixView<const float>(all.data(), all.size() / size, size));
  }

  // The conditions of all training prompts, [prompts, condition_size].
  MAA_COLD Buffer<float> conditions(std::span<const Real> weights, const State& state) {
    const auto session = backend_.session();
    constexpr Index size = State::Model::condition_size;
    const auto count = static_cast<Index>(data_.prompts.size());
    Buffer<float> conditions(count * size);
    constexpr Index batch = 256;
    for (Index first = 0; first < count; first += batch) {
      workspace_.reset();
      const Index here = std::min(batch, count - first);
      const auto part = [&](const auto& features, Index numbers) {
        return MatrixView<const Real>(features.span().data() + first * segments * numbers, here * segments,
                                      numbers);
      };
      const PromptFeatures<const Real> features{part(shown_.trajectory, Data::h_size),
                                                part(shown_.success, Data::v_size)};
      const auto saved = PromptPath<Network, Config>(state).forward(backend_, bind<Part>(weights), features,
                                                                    here, workspace_);
      download(backend_, std::span<const Real>(saved.condition.span()),
               conditions.span().subspan(static_cast<std::size_t>(first * size),
                                         static_cast<std::size_t>(here * size)));
    }
    return conditions;
  }

 private:
  using Features = typename Backend::template Constants<float>;
  struct Inputs {  // of all prompts
    Features trajectory;
    Features success;
  };

  static Buffer<float> within_limits(Buffer<float> features, Index size) {
    const MatrixView<float> rows(features.data(), features.size() / size, size);
    Normalizer::limits(rows).apply(rows);
    return features;
  }

  MatrixView<Real> gather(const Features& features, Index size, std::span<const Index> batch, Rng& rng) {
    const Index count = static_cast<Index>(batch.size()) * segments;
    const auto rows = workspace_.template matrix<Real>(count, size);
    const auto noise = workspace_.template matrix<Real>(count, size);
    fill_normal(backend_, rng, noise, options_.feature_noise);
    const Workspace::Scope scope(thread_scratch());
    const auto windows = thread_scratch().span<Index>(count);
    for (Index i = 0; i < count; ++i) {
      windows[static_cast<std::size_t>(i)] =
          batch[static_cast<std::size_t>(i / segments)] * segments + i % segments;
    }
    const auto all = features.span();
    gather_rows(backend_, MatrixView<const Real>(all.data(), std::ssize(all) / size, size), windows, rows);
    add_matrix(backend_, noise, rows);
    return rows;
  }
  // [rows, rows]: the right answers of each row as a distribution.
  MatrixView<const Real> positives(std::span<const Index> batch) {
    const Index rows = static_cast<Index>(batch.size()) * segments;
    host_.reset();
    const auto targets = host_.matrix<float>(rows, rows);
    const auto style = [&](Index row) {
      const auto prompt =
          data_.prompts[static_cast<std::size_t>(batch[static_cast<std::size_t>(row / segments)])];
      return data_.style_of_trajectory[static_cast<std::size_t>(prompt)];
    };
    for (Index i = 0; i < rows; ++i) {
      Index count = 0;
      for (Index j = 0; j < rows; ++j) {
        const bool right = i == j || (options_.same_task_positives && style(i) == style(j));
        targets(i, j) = right ? 1.0f : 0.0f;
        count += right ? 1 : 0;
      }
      for (Index j = 0; j < rows; ++j) {
        targets(i, j) /= static_cast<float>(count);
      }
    }
    return uploaded(backend_, MatrixView<const float>(targets), workspace_);
  }

  const Backend& backend_;
  const Data& data_;
  EmbedderOptions options_;
  BatchOrder order_;
  Inputs shown_;
  std::array<Buffer<float>, 2> within_limits_;  // where Constants may lie
  std::optional<Inputs> trained_on_;            // if that is not what is shown
  Workspace host_;
  WorkspaceOf<Backend> workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END

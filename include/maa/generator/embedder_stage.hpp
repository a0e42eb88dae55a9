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
  static constexpr const char* name = "embedder";
  static constexpr Index segments = Data::segments;

  EmbedderStage(const Backend& backend, const Data& data, const EmbedderOptions& options)
      : backend_(backend),
        data_(data),
        options_(options),
        order_(static_cast<Index>(data.prompts.size()),
               std::min(options.train.batch, static_cast<Index>(data.prompts.size())), options.train.seed) {}

  const TrainOptions& options() const { return options_.train; }

  // InfoNCE over the batch's windows: softmax(h_i' W v_j / temperature) against j = i, or against all windows
  // of i's task; symmetric adds the same with rows and columns exchanged.
  double loss(const Backend& backend, std::span<const float> weights, std::span<float> gradients, Rng rng,
              Index step) {
    workspace_.reset();
    const auto batch = order_.batch(step);
    const Index rows = static_cast<Index>(batch.size()) * segments;
    const auto h_in = gather(data_.trajectory_features, Data::h_size, batch, rng);
    const auto v_in = gather(data_.success_features, Data::v_size, batch, rng);
    const auto w = bind<Part>(weights);
    const auto saved =
        Part::forward(backend, w, MatrixView<const float>(h_in), MatrixView<const float>(v_in), workspace_);
    const auto targets = positives(batch);
    const auto scaled = workspace_.template matrix<float>(rows, rows);
    const auto dlogits = workspace_.template matrix<float>(rows, rows);
    const auto slope = static_cast<float>(1 / options_.temperature);
    for (Index i = 0; i < scaled.size(); ++i) {
      scaled.data[i] = slope * saved.logits.data[i];
    }
    double loss = info_nce_loss(backend, scaled, targets, dlogits);
    if (options_.symmetric) {
      const auto transposed = workspace_.template matrix<float>(rows, rows);
      const auto dtransposed = workspace_.template matrix<float>(rows, rows);
      for_pairs(rows, [&](Index i, Index j) { transposed(j, i) = scaled(i, j); });
      loss +=
          info_nce_loss(backend, transposed, targets, dtransposed);  // targets are symmetric up to row sums
      for_pairs(rows, [&](Index i, Index j) { dlogits(i, j) += dtransposed(j, i); });
    }
    for (Index i = 0; i < dlogits.size(); ++i) {
      dlogits.data[i] *= slope;
    }
    Part::backward(backend, w, saved, MatrixView<const float>(dlogits), MatrixView<const float>(),
                   MatrixView<const float>(), bind<Part>(gradients), workspace_);
    return loss;
  }

  std::optional<double> validation(std::span<const float>) { return std::nullopt; }

  // Fits the condition's normaliser if asked to, and returns the conditions of all training prompts.
  Buffer<float> embed_all(std::span<const float> weights, bool normalize, State& state) {
    constexpr Index size = State::Model::condition_size;
    const auto count = static_cast<Index>(data_.prompts.size());
    Buffer<float> conditions(count * size);
    state.condition = Normalizer();
    constexpr Index batch = 256;
    for (Index first = 0; first < count; first += batch) {
      workspace_.reset();
      const Index here = std::min(batch, count - first);
      const MatrixView<const float> h_in(data_.trajectory_features.data() + first * segments * Data::h_size,
                                         here * segments, Data::h_size);
      const MatrixView<const float> v_in(data_.success_features.data() + first * segments * Data::v_size,
                                         here * segments, Data::v_size);
      const auto saved = Part::forward(backend_, bind<Part>(weights), h_in, v_in, workspace_);
      state.condition_from(backend_, saved.h(), saved.v(), {conditions.data() + first * size, here, size});
    }
    if (normalize) {
      state.condition = Normalizer::limits(MatrixView<const float>(conditions.data(), count, size));
      state.condition.apply({conditions.data(), count, size});
    }
    return conditions;
  }

 private:
  MatrixView<float> gather(const Buffer<float>& features, Index size, std::span<const Index> batch,
                           Rng& rng) {
    const auto rows = workspace_.template matrix<float>(static_cast<Index>(batch.size()) * segments, size);
    rng.fill_normal(rows.span(), options_.feature_noise);
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const float* from = features.data() + batch[i] * segments * size;
      float* to = rows.row(static_cast<Index>(i) * segments);
      for (Index j = 0; j < segments * size; ++j) {
        to[j] += from[j];
      }
    }
    return rows;
  }
  // [rows, rows]: the right answers of each row as a distribution.
  MatrixView<float> positives(std::span<const Index> batch) {
    const Index rows = static_cast<Index>(batch.size()) * segments;
    const auto targets = workspace_.template matrix<float>(rows, rows);
    const auto task = [&](Index row) {
      const auto prompt =
          data_.prompts[static_cast<std::size_t>(batch[static_cast<std::size_t>(row / segments)])];
      return data_.task_of_trajectory[static_cast<std::size_t>(prompt)];
    };
    for (Index i = 0; i < rows; ++i) {
      Index count = 0;
      for (Index j = 0; j < rows; ++j) {
        const bool right = i == j || (options_.same_task_positives && task(i) == task(j));
        targets(i, j) = right ? 1.0f : 0.0f;
        count += right ? 1 : 0;
      }
      for (Index j = 0; j < rows; ++j) {
        targets(i, j) /= static_cast<float>(count);
      }
    }
    return targets;
  }
  template <class Body>
  static void for_pairs(Index rows, const Body& body) {
    for (Index i = 0; i < rows; ++i) {
      for (Index j = 0; j < rows; ++j) {
        body(i, j);
      }
    }
  }

  const Backend& backend_;
  const Data& data_;
  EmbedderOptions options_;
  BatchOrder order_;
  Workspace workspace_;
};

}  // namespace detail
MAA_NAMESPACE_END

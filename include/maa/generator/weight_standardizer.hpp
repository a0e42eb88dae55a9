// Between a policy's flat weights and the space that the autoencoder sees.
#pragma once

#include <maa/data/fold_normalizer.hpp>

MAA_NAMESPACE_BEGIN

// standardised = (w' - mean) / deviation, where w' are the weights of the same policy for normalised
// observations (its first layer absorbs the normaliser) and deviation is one number per tensor: how much the
// zoo's policies differ there. A tensor that does not vary has deviation 0 and is always given back as its
// mean.
template <class Network>
class WeightStandardizer {
 public:
  static constexpr auto size = parameter_count<Network>;

  // The identity.
  WeightStandardizer() : mean_(size), deviation_(size) {
    std::fill(deviation_.begin(), deviation_.end(), 1.0f);
  }

  // Fitted on the rows of `weights` [N, size].
  MAA_COLD WeightStandardizer(Normalizer observations, MatrixView<const float> weights)
      : WeightStandardizer() {
    observations_ = std::move(observations);
    Buffer<float> row(size);
    Buffer<double> sum(size);
    Buffer<double> squares(size);
    for (Index i = 0; i < weights.rows; ++i) {
      unfold(weights.row(i), row.data());
      for (Index j = 0; j < size; ++j) {
        const auto value = static_cast<double>(row[j]);
        sum[j] += value;
        squares[j] += value * value;
      }
    }
    const double count = static_cast<double>(std::max<Index>(1, weights.rows));
    for (const auto& tensor : tensors_of<Network>()) {
      double variance = 0;
      for (Index j = tensor.offset; j < tensor.offset + tensor.size; ++j) {
        const double mean = sum[j] / count;
        mean_[j] = static_cast<float>(mean);
        variance += std::max(0.0, squares[j] / count - mean * mean);
      }
      const double deviation = std::sqrt(variance / static_cast<double>(tensor.size));
      std::fill_n(deviation_.data() + tensor.offset, tensor.size,
                  deviation < 1e-6 ? 0.0f : static_cast<float>(deviation));
    }
  }
  WeightStandardizer(Normalizer observations, Buffer<float> mean, Buffer<float> deviation)
      : observations_(std::move(observations)), mean_(std::move(mean)), deviation_(std::move(deviation)) {
    require(mean_.size() == size && deviation_.size() == size, "weight standardizer: expected ", size,
            " numbers, found ", mean_.size(), " and ", deviation_.size());
  }

  // Of no zoo: the mean is a network as initialised, for normalised observations, and the deviations are
  // those of initialisation.
  MAA_COLD static WeightStandardizer untrained(Normalizer observations, const Rng& rng) {
    WeightStandardizer result;
    result.observations_ = std::move(observations);
    initialize<Network>(result.mean_.span(), rng);
    for (const auto& tensor : tensors_of<Network>()) {
      std::fill_n(result.deviation_.data() + tensor.offset, tensor.size,
                  static_cast<float>(tensor.init.deviation()));
    }
    return result;
  }

  const Normalizer& observations() const { return observations_; }
  const Buffer<float>& mean() const { return mean_; }
  const Buffer<float>& deviation() const { return deviation_; }

  // weights [size] -> standardised [size].
  void standardize(const float* weights, float* standardized) const {
    unfold(weights, standardized);
    for (Index j = 0; j < size; ++j) {
      standardized[j] = deviation_[j] > 0 ? (standardized[j] - mean_[j]) / deviation_[j] : 0.0f;
    }
  }
  // standardised -> weights for normalised observations, rows [policies, size] in place, and its backward.
  template <class Backend, class T>
  void to_normalized(const Backend& backend, MatrixView<T> rows) const {
    affine_columns(backend, deviation_.span(), mean_.span(), rows);
  }
  template <class Backend, class T>
  void to_normalized_backward(const Backend& backend, MatrixView<T> drows) const {
    scale_columns(backend, deviation_.span(), drows);
  }
  // Weights for raw observations -> weights for normalised observations; the inverse of fold().
  void unfold(const float* weights, float* out) const {
    std::copy_n(weights, size, out);
    if (observations_.features() > 0) {
      unfold_normalizer<Network>(observations_, {out, static_cast<std::size_t>(size)});
    }
  }
  // Weights for normalised observations -> weights for raw observations, in place (exact; the layout is the
  // same).
  void fold(float* weights) const {
    if (observations_.features() > 0) {
      fold_normalizer<Network>(observations_, {weights, static_cast<std::size_t>(size)});
    }
  }

 private:
  Normalizer observations_;
  Buffer<float> mean_;
  Buffer<float> deviation_;
};

MAA_NAMESPACE_END

// Losses: each returns the loss in double and overwrites the gradients. A gradient view whose data is null
// asks for the loss alone.
#pragma once

#include <maa/backend/cpu/loops.hpp>

#include <cmath>
#include <numbers>

MAA_NAMESPACE_BEGIN
namespace cpu {

namespace detail {

// The mean over all elements of value(prediction - target), and its gradient slope(prediction - target).
template <class T, class Value, class Slope>
double mean_loss(const Backend& backend, const char* op, const char* target_name,
                 const char* dprediction_name, In<T> prediction, In<T> target, MatrixView<T> dprediction,
                 const Value& value, const Slope& slope) {
  require_shape(target, prediction.rows, prediction.cols, target_name);
  require(prediction.size() > 0, op, ": expected at least one element, found none");
  if (dprediction.data != nullptr) {
    require_shape(dprediction, prediction.rows, prediction.cols, dprediction_name);
  }
  const double sum =
      chunked_sum(backend, prediction.rows, rows_per_task(prediction.cols), [=](Index first, Index last) {
        double part = 0;
        for (Index i = first; i < last; ++i) {
          const T* p = prediction.row(i);
          const T* t = target.row(i);
          part += lane_sum<double>(prediction.cols,
                                   [=](Index j) { return value(static_cast<double>(p[j] - t[j])); });
          if (dprediction.data != nullptr) {
            lane_map(prediction.cols, dprediction.row(i), [=](Index j) { return slope(p[j] - t[j]); });
          }
        }
        return part;
      });
  return sum / static_cast<double>(prediction.size());
}

}  // namespace detail

// Mean over all elements of (prediction - target)^2.
template <class T>
double mse_loss(const Backend& backend, In<T> prediction, In<T> target, MatrixView<T> dprediction) {
  const T scale = static_cast<T>(2 / static_cast<double>(prediction.size()));
  return detail::mean_loss<T>(
      backend, "mse_loss", "mse_loss: target", "mse_loss: dprediction", prediction, target, dprediction,
      [](double d) { return d * d; }, [=](T d) { return scale * d; });
}

// Mean over all elements of 2 w (sqrt(d^2 + w^2) - w) for d = prediction - target and w = width: about d^2
// where |d| is far below the width, 2 w |d| far above it (pseudo-Huber; Charbonnier et al., 1997).
template <class T>
double huber_loss(const Backend& backend, double width, In<T> prediction, In<T> target,
                  MatrixView<T> dprediction) {
  require(width > 0, "huber_loss: expected a positive width, found ", width);
  const T w = static_cast<T>(width);
  const T scale = static_cast<T>(2 * width / static_cast<double>(prediction.size()));
  return detail::mean_loss<T>(
      backend, "huber_loss", "huber_loss: target", "huber_loss: dprediction", prediction, target, dprediction,
      [=](double d) {  // without cancellation
        return 2 * width * (d * d / (std::sqrt(d * d + width * width) + width));
      },
      [=](T d) { return scale * d / std::sqrt(d * d + w * w); });
}

// Contrastive loss (van den Oord et al., 2018): mean over rows of the cross-entropy of softmax(logits row)
// against the target row. logits, targets [rows, candidates]; a target row is a distribution (InfoNCE: the
// identity matrix). dlogits = (softmax * sum(target row) - target) / rows.
template <class T>
double info_nce_loss(const Backend& backend, In<T> logits, In<T> targets, MatrixView<T> dlogits) {
  require_shape(targets, logits.rows, logits.cols, "info_nce_loss: targets");
  require(logits.size() > 0, "info_nce_loss: expected at least one element, found none");
  if (dlogits.data != nullptr) {
    require_shape(dlogits, logits.rows, logits.cols, "info_nce_loss: dlogits");
  }
  const auto rows = static_cast<double>(logits.rows);
  const double sum = detail::chunked_sum(
      backend, logits.rows, detail::rows_per_task(16 * logits.cols), [=](Index first, Index last) {
        double part = 0;
        for (Index i = first; i < last; ++i) {
          const auto z = logits.row_span(i);
          const auto t = targets.row_span(i);
          const auto maximum = static_cast<double>(*std::max_element(z.begin(), z.end()));
          double exponentials = 0;
          double weight = 0;
          for (std::size_t j = 0; j < z.size(); ++j) {
            exponentials += std::exp(static_cast<double>(z[j]) - maximum);
            weight += static_cast<double>(t[j]);
          }
          const double log_partition = maximum + std::log(exponentials);
          for (std::size_t j = 0; j < z.size(); ++j) {
            const auto target = static_cast<double>(t[j]), logit = static_cast<double>(z[j]);
            if (t[j] != T(0)) {  // a logit of -infinity is allowed where the target is 0
              part += target * (log_partition - logit);
            }
            if (dlogits.data != nullptr) {
              dlogits(i, static_cast<Index>(j)) =
                  static_cast<T>((weight * std::exp(logit - log_partition) - target) / rows);
            }
          }
        }
        return part;
      });
  return sum / rows;
}

// Negative log-likelihood of `value` under independent normal distributions, mean over all elements:
// ((value - mean) / std)^2 / 2 + log std + log(2 pi) / 2. log_std is clamped to [-20, 2] as in soft
// actor-critic; outside that range its gradient is zero. All [rows, actions].
template <class T>
double gaussian_nll_loss(const Backend& backend, In<T> mean, In<T> log_std, In<T> value, MatrixView<T> dmean,
                         MatrixView<std::type_identity_t<T>> dlog_std) {
  require_shape(log_std, mean.rows, mean.cols, "gaussian_nll_loss: log_std");
  require_shape(value, mean.rows, mean.cols, "gaussian_nll_loss: value");
  require(mean.size() > 0, "gaussian_nll_loss: expected at least one element, found none");
  if (dmean.data != nullptr) {
    require_shape(dmean, mean.rows, mean.cols, "gaussian_nll_loss: dmean");
  }
  if (dlog_std.data != nullptr) {
    require_shape(dlog_std, mean.rows, mean.cols, "gaussian_nll_loss: dlog_std");
  }
  constexpr double lowest = -20;
  constexpr double highest = 2;
  const auto count = static_cast<double>(mean.size());
  const double sum = detail::chunked_sum(
      backend, mean.rows, detail::rows_per_task(16 * mean.cols), [=](Index first, Index last) {
        double part = 0;
        for (Index i = first; i < last; ++i) {
          for (Index j = 0; j < mean.cols; ++j) {
            const auto raw = static_cast<double>(log_std(i, j));
            const double clamped = std::clamp(raw, lowest, highest);
            const double inverse = std::exp(-clamped);
            const double z = (static_cast<double>(value(i, j)) - static_cast<double>(mean(i, j))) * inverse;
            part += 0.5 * z * z + clamped;
            if (dmean.data != nullptr) {
              dmean(i, j) = static_cast<T>(-z * inverse / count);
            }
            if (dlog_std.data != nullptr) {
              dlog_std(i, j) = raw == clamped ? static_cast<T>((1 - z * z) / count) : T(0);
            }
          }
        }
        return part;
      });
  return sum / count + 0.5 * std::log(2 * std::numbers::pi);
}

}  // namespace cpu
MAA_NAMESPACE_END

// Which prompts are like those trained on.
#pragma once

#include <maa/core/buffer.hpp>
#include <maa/core/error.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <utility>
#include <vector>

MAA_NAMESPACE_BEGIN

// Conditions of training prompts, and the radius within which nine of ten of them have another.
class KnownPrompts {
 public:
  KnownPrompts() = default;  // none are known

  // Of `conditions` [prompts, size]; of very many, `most` at equal distances in their order are kept.
  KnownPrompts(const Buffer<float>& conditions, Index size) : size_(size) {
    const Index count = conditions.size() / size;
    const Index kept = std::min(count, most);
    conditions_ = Buffer<float>(kept * size);
    for (Index i = 0; i < kept; ++i) {
      std::copy_n(conditions.data() + i * count / kept * size, size, conditions_.data() + i * size);
    }
    std::vector<float> nearest(static_cast<std::size_t>(kept), infinite);
    for (Index i = 0; i < kept; ++i) {
      for (Index j = 0; j < i; ++j) {
        const float squares = squared_distance(row(i), row(j));
        for (const Index k : {i, j}) {
          auto& least = nearest[static_cast<std::size_t>(k)];
          least = std::min(least, squares);
        }
      }
    }
    if (kept > 1) {
      const auto ninth = nearest.begin() + (kept - 1) * 9 / 10;
      std::ranges::nth_element(nearest, ninth);
      radius_ = std::sqrt(*ninth);
    }
  }

  // As saved: `conditions` [prompts, size].
  KnownPrompts(Buffer<float> conditions, Index size, float radius)
      : conditions_(std::move(conditions)), size_(size), radius_(radius) {}

  const Buffer<float>& conditions() const { return conditions_; }
  float radius() const { return radius_; }

  // The distance from a condition to the nearest known one, in radii: 1 or less, and the prompt is as near to
  // one trained on as those are to one another. Infinite if none is known, or if they do not differ.
  double novelty(std::span<const float> condition) const {
    float squares = infinite;
    for (Index i = 0; i * size_ < conditions_.size(); ++i) {
      squares = std::min(squares, squared_distance(row(i), condition));
    }
    return radius_ > 0 ? std::sqrt(static_cast<double>(squares)) / static_cast<double>(radius_)
                       : std::numeric_limits<double>::infinity();
  }

 private:
  static constexpr Index most = 2048;
  static constexpr float infinite = std::numeric_limits<float>::infinity();

  std::span<const float> row(Index i) const {
    return conditions_.span().subspan(static_cast<std::size_t>(i * size_), static_cast<std::size_t>(size_));
  }
  static float squared_distance(std::span<const float> a, std::span<const float> b) {
    float sum = 0;
    for (std::size_t j = 0; j < a.size(); ++j) {
      sum += (a[j] - b[j]) * (a[j] - b[j]);
    }
    return sum;
  }

  Buffer<float> conditions_;
  Index size_ = 0;
  float radius_ = 0;
};

MAA_NAMESPACE_END

// Which samples make the batch of a step: a function of seed and step, so that resuming needs no saved order.
#pragma once

#include <maa/core/error.hpp>
#include <maa/core/rng.hpp>

#include <numeric>
#include <vector>

MAA_NAMESPACE_BEGIN

// Runs through a fresh permutation of all samples each epoch. Batches go on over epoch boundaries; or, with
// drop_last, an epoch is count / batch of them, and what fills no batch is left out (fewer samples than a
// batch go on all the same).
class BatchOrder {
 public:
  BatchOrder(Index count, Index batch, std::uint64_t seed, bool drop_last = false)
      : count_(count), batch_(batch), rng_(seed) {
    require(count > 0 && batch > 0, "batch order: expected samples and a batch size, found ", count, " and ",
            batch);
    epoch_size_ = drop_last && batch < count ? count / batch * batch : count;
  }

  Index batch_size() const { return batch_; }
  // The samples of batch `step`, valid until the next call.
  std::span<const Index> batch(Index step);

 private:
  void load_epoch(Index epoch);

  Index count_;
  Index batch_;
  Index epoch_size_ = 0;  // samples of an epoch
  Rng rng_;
  Index epoch_ = -1;
  std::vector<Index> permutation_;
  std::vector<Index> indices_;
};

#if MAA_BODIES

MAA_INLINE std::span<const Index> BatchOrder::batch(Index step) {
  indices_.resize(static_cast<std::size_t>(batch_));
  for (Index i = 0; i < batch_; ++i) {
    const Index position = step * batch_ + i;
    load_epoch(position / epoch_size_);
    indices_[static_cast<std::size_t>(i)] = permutation_[static_cast<std::size_t>(position % epoch_size_)];
  }
  return indices_;
}

MAA_INLINE void BatchOrder::load_epoch(Index epoch) {
  if (epoch == epoch_) {
    return;
  }
  permutation_.resize(static_cast<std::size_t>(count_));
  std::iota(permutation_.begin(), permutation_.end(), Index{0});
  rng_.fork(static_cast<std::uint64_t>(epoch)).shuffle(std::span(permutation_));
  epoch_ = epoch;
}

#endif

MAA_NAMESPACE_END

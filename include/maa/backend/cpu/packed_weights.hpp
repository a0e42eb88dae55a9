// Weights that do not change, kept in the form that the product kernels read.
#pragma once

#include <maa/backend/precision.hpp>
#include <maa/core/buffer.hpp>
#include <maa/core/parallel.hpp>
#include <maa/kernels/gemm_table.hpp>

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <unordered_map>

MAA_NAMESPACE_BEGIN

namespace cpu {

// Blocks of depth that a product is cut into: of depth_block at most, beginning at multiples of 32.
struct DepthBlocks {
  Index depth;

  Index count() const { return depth == 0 ? 1 : (depth + kernels::depth_block - 1) / kernels::depth_block; }
  Index begin(Index block) const { return std::min(depth, 32 * ((depth + 31) / 32 * block / count())); }
  Index size(Index block) const { return begin(block + 1) - begin(block); }
};

// The second factor of a product in panels. In float: for each block of depth one panel after the other; in
// bfloat16 one panel after the other, each of all depth, filled with zeros to a multiple of 32.
class PackedMatrix {
 public:
  PackedMatrix(const ThreadPool& pool, const kernels::GemmTable& table,
               const kernels::Product<float>& product, Precision precision)
      : panel_cols_(table.panel_cols),
        panels_((product.cols + panel_cols_ - 1) / panel_cols_),
        pairs_per_panel_((product.depth + 31) / 32 * 16) {
    const DepthBlocks blocks{product.depth};
    if (precision == Precision::fp32) {
      floats_ = Buffer<float>(product.depth * panels_ * panel_cols_);
    } else {
      words_ = Buffer<std::uint32_t>(pairs_per_panel_ * panels_ * panel_cols_);
    }
    pool.for_each(blocks.count() * panels_, [&](Index task) {
      const Index d = task / panels_, panel = task % panels_;
      const Index first = blocks.begin(d), depth = blocks.size(d), col = panel * panel_cols_;
      const Index count = std::min(panel_cols_, product.cols - col);
      if (precision == Precision::fp32) {
        table.pack_panels(product, col, first, depth, count, floats_.data() + offset(first, depth, panel));
      } else {
        alignas(buffer_alignment) float scratch[kernels::panel_size];
        table.pack_panels(product, col, first, depth, count, scratch);
        table.narrow_panel(scratch, depth, count, words_.data() + narrow_offset(first, panel));
      }
    });
  }

  bool narrow() const { return !words_.empty(); }
  // The panel's block of `depth` numbers from `first` on.
  const float* panel(Index first, Index depth, Index panel) const {
    return floats_.data() + offset(first, depth, panel);
  }
  // Words of two numbers, the even one in the low half.
  const std::uint32_t* narrow_panel(Index first, Index panel) const {
    return words_.data() + narrow_offset(first, panel);
  }

 private:
  Index offset(Index first, Index depth, Index panel) const {
    return (first * panels_ + depth * panel) * panel_cols_;
  }
  Index narrow_offset(Index first, Index panel) const {
    return (panel * pairs_per_panel_ + first / 2) * panel_cols_;
  }

  Index panel_cols_, panels_, pairs_per_panel_;
  Buffer<float> floats_;
  Buffer<std::uint32_t> words_;
};

// The packed matrices of one array of weights, each made when a product first asks for it. The array must
// live as long and must not change. Any number of threads may ask at once.
class PackedWeights {
 public:
  PackedWeights(std::span<const float> weights, Precision precision)
      : weights_(weights), precision_(precision) {}

  // The second factor of a product, or null if it does not lie in the array.
  const PackedMatrix* find(const ThreadPool& pool, const kernels::GemmTable& table,
                           const kernels::Product<float>& product) {
    const std::less<const float*> before;
    if (before(product.b, weights_.data()) || !before(product.b, weights_.data() + weights_.size())) {
      return nullptr;
    }
    const Key key{&table,        product.b,     product.b_minus, product.b_row,
                  product.b_col, product.depth, product.cols};
    {
      const std::shared_lock lock(mutex_);
      if (const auto found = matrices_.find(key); found != matrices_.end()) {
        return found->second.get();
      }
    }
    // Made outside the lock: whoever waits for the pool may run a task that comes here.
    auto made = std::make_unique<const PackedMatrix>(pool, table, product, precision_);
    const std::unique_lock lock(mutex_);
    return matrices_.try_emplace(key, std::move(made)).first->second.get();
  }

 private:
  struct Key {
    const kernels::GemmTable* table;
    const float* b;
    const float* minus;
    Index row, col, depth, cols;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    std::size_t operator()(const Key& key) const noexcept {
      std::size_t hash = std::hash<const float*>()(key.b);
      for (const Index part : {key.row, key.col, key.depth, key.cols}) {
        hash = hash * 1000003 + static_cast<std::size_t>(part);
      }
      return hash * 2 + (key.minus != nullptr);
    }
  };

  std::span<const float> weights_;
  Precision precision_;
  std::shared_mutex mutex_;
  std::unordered_map<Key, std::unique_ptr<const PackedMatrix>, Hash> matrices_;
};

}  // namespace cpu
MAA_NAMESPACE_END

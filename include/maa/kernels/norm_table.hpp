// Normalisation over groups of channels with what follows it in one pass, and column sums; apart from
// table.hpp because running a single policy needs none.
//
//     x_hat = (x - mean) / sqrt(var + epsilon),  n = gain * x_hat + bias,  m = Mish(n) or n
//     y = scale * m + shift + residual
//
// where mean and (biased) variance run over one group of channels and all positions of one sample.
#pragma once

#include <maa/kernels/table.hpp>

MAA_NAMESPACE_BEGIN
namespace kernels {

// A batch of samples of `length` rows each, whose channels are cut into `groups` of `group_size`. Row r of x
// is x + r * x_row; sample s has the rows from s * length on.
template <class T>
struct NormForward {
  Index groups, group_size, length;
  T epsilon;
  bool mish;
  const T* x;
  Index x_row;
  const T* gain;  // [channels], null for 1
  const T* bias;  // [channels], null for 0
  const T* film;  // null, or a row for each sample: scales [channels], then shifts [channels]
  Index film_row;
  const T* residual;  // null, or rows like y; may be y
  Index residual_row;
  T* y;  // may be x
  Index y_row;
  T* statistics;  // a row for each sample: means [groups], then 1 / sqrt(var + epsilon) [groups]
  Index statistics_row;
};

// Its gradients; the residual's is dy itself.
template <class T>
struct NormBackward {
  Index groups, group_size, length;
  bool mish;
  const T* x;
  Index x_row;
  const T* statistics;
  Index statistics_row;
  const T* gain;
  const T* bias;
  const T* film;
  Index film_row;
  const T* dy;
  Index dy_row;
  T* dx;  // null if not wanted; may be dy
  Index dx_row;
  T* dfilm;  // like film, overwritten; null if film is
  Index dfilm_row;
};

namespace reference {

template <class T>
void norm_forward(const NormForward<T>& p, Index first, Index last) {
  const Index channels = p.groups * p.group_size;
  const auto count = static_cast<double>(p.length * p.group_size);
  for (Index s = first; s < last; ++s) {
    const T* film = p.film == nullptr ? nullptr : p.film + s * p.film_row;
    for (Index g = 0; g < p.groups; ++g) {
      const Index begin = g * p.group_size, end = begin + p.group_size;
      double sum = 0, squares = 0;
      for (Index r = s * p.length; r < (s + 1) * p.length; ++r) {
        for (Index c = begin; c < end; ++c) {
          sum += static_cast<double>(p.x[r * p.x_row + c]);
        }
      }
      const double mean = sum / count;
      for (Index r = s * p.length; r < (s + 1) * p.length; ++r) {
        for (Index c = begin; c < end; ++c) {
          const double deviation = static_cast<double>(p.x[r * p.x_row + c]) - mean;
          squares += deviation * deviation;
        }
      }
      const T center = static_cast<T>(mean);
      const T factor = static_cast<T>(1 / std::sqrt(squares / count + static_cast<double>(p.epsilon)));
      p.statistics[s * p.statistics_row + g] = center;
      p.statistics[s * p.statistics_row + p.groups + g] = factor;
      for (Index r = s * p.length; r < (s + 1) * p.length; ++r) {
        for (Index c = begin; c < end; ++c) {
          T y = (p.x[r * p.x_row + c] - center) * factor;
          y = (p.gain == nullptr ? y : y * p.gain[c]) + (p.bias == nullptr ? T(0) : p.bias[c]);
          y = p.mish ? activate(Activation::mish, y) : y;
          y = film == nullptr ? y : film[c] * y + film[channels + c];
          p.y[r * p.y_row + c] = p.residual == nullptr ? y : y + p.residual[r * p.residual_row + c];
        }
      }
    }
  }
}

template <class T>
void norm_backward(const NormBackward<T>& p, Index first, Index last, T* sums) {
  const Index channels = p.groups * p.group_size;
  const T count = static_cast<T>(p.length * p.group_size);
  for (Index s = first; s < last; ++s) {
    const T* film = p.film == nullptr ? nullptr : p.film + s * p.film_row;
    T* dfilm = p.film == nullptr ? nullptr : p.dfilm + s * p.dfilm_row;
    for (Index g = 0; g < p.groups; ++g) {
      const Index begin = g * p.group_size, end = begin + p.group_size;
      const T mean = p.statistics[s * p.statistics_row + g];
      const T factor = p.statistics[s * p.statistics_row + p.groups + g];
      T sum = 0, product = 0;  // of g and of g x_hat, where g is the gradient of x_hat
      for (Index c = begin; c < end; ++c) {
        const T gain = p.gain == nullptr ? T(1) : p.gain[c];
        const T bias = p.bias == nullptr ? T(0) : p.bias[c];
        T dgain = 0, dbias = 0, dscale = 0, dshift = 0;
        for (Index r = s * p.length; r < (s + 1) * p.length; ++r) {
          const T x_hat = (p.x[r * p.x_row + c] - mean) * factor;
          const T n = gain * x_hat + bias;
          T d = p.dy[r * p.dy_row + c];
          if (film != nullptr) {
            dscale += d * (p.mish ? activate(Activation::mish, n) : n);
            dshift += d;
            d *= film[c];
          }
          d = p.mish ? d * activation_slope(Activation::mish, n) : d;
          dgain += d * x_hat;
          dbias += d;
          if (p.dx != nullptr) {
            p.dx[r * p.dx_row + c] = d * gain;
          }
        }
        sum += gain * dbias;
        product += gain * dgain;
        if (film != nullptr) {
          dfilm[c] = dscale;
          dfilm[channels + c] = dshift;
        }
        if (sums != nullptr) {
          sums[c] += dgain;
          sums[channels + c] += dbias;
        }
      }
      if (p.dx == nullptr) {
        continue;
      }
      for (Index r = s * p.length; r < (s + 1) * p.length; ++r) {
        for (Index c = begin; c < end; ++c) {
          const T x_hat = (p.x[r * p.x_row + c] - mean) * factor;
          T& dx = p.dx[r * p.dx_row + c];
          dx = factor * (dx - sum / count - x_hat * (product / count));
          if (sums != nullptr) {
            sums[2 * channels + c] += dx;
          }
        }
      }
    }
  }
}

template <class T>
void column_sums(const T* x, Index x_row, Index rows, Index cols, T* sums) {
  for (Index i = 0; i < rows; ++i) {
    for (Index j = 0; j < cols; ++j) {
      sums[j] += x[i * x_row + j];
    }
  }
}

}  // namespace reference

struct NormTable {
  // Samples from first to before last.
  void (*forward)(const NormForward<float>&, Index first, Index last);
  // sums: null or [3 * channels], to which the sums over samples and positions of dgain, dbias and (if
  // wanted) dx are added.
  void (*backward)(const NormBackward<float>&, Index first, Index last, float* sums);
  // sums[j] += the sum of x[i * x_row + j] over i in order, for j < cols.
  void (*column_sums)(const float* x, Index x_row, Index rows, Index cols, float* sums);
};

// The float kernels of an instruction set, which the machine must support to call them.
const NormTable& norm_for(Isa isa) noexcept;

#if MAA_BODIES

#if MAA_HAS_X86_KERNELS
MAA_KERNEL_BEGIN_AVX2
#define MAA_LANES 8
#include <maa/kernels/norm.inl>
#undef MAA_LANES
MAA_KERNEL_END
MAA_KERNEL_BEGIN_AVX512
#define MAA_LANES 16
#include <maa/kernels/norm.inl>
#undef MAA_LANES
MAA_KERNEL_END
#endif

MAA_INLINE const NormTable& norm_for(Isa isa) noexcept {
  static constexpr NormTable scalar{reference::norm_forward<float>, reference::norm_backward<float>,
                                    reference::column_sums<float>};
#if MAA_HAS_X86_KERNELS
  static constexpr NormTable avx2{avx2::norm_forward, avx2::norm_backward, avx2::column_sums};
  static constexpr NormTable avx512{avx512::norm_forward, avx512::norm_backward, avx512::column_sums};
  switch (isa) {
    case Isa::avx512:
      return avx512;
    case Isa::avx2:
      return avx2;
    case Isa::scalar:
      break;
  }
#endif
  static_cast<void>(isa);
  return scalar;
}

#endif

}  // namespace kernels
MAA_NAMESPACE_END

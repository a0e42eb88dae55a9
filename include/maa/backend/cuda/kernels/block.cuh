// How kernels are written: see kernels.cuh, which includes this.

using Int = long long;
using U32 = unsigned int;
using U64 = unsigned long long;

// The threads that work on one block's task.
struct Block {
  static constexpr int threads = 256;

#if defined(__CUDACC__)
  // body(i) for all i in [0, count), in any order; afterwards all threads see what was written.
  template <class Body>
  __device__ void each(Int count, const Body& body) const {
    for (Int i = threadIdx.x; i < count; i += threads) {
      body(i);
    }
    __syncthreads();
  }
  // The sum of value(i) over [0, count), the same in all threads.
  template <class Number, class Value>
  __device__ Number sum(Int count, const Value& value) const {
    __shared__ Number parts[threads / 32];
    Number part = 0;
    for (Int i = threadIdx.x; i < count; i += threads) {
      part += value(i);
    }
    for (int distance = 16; distance > 0; distance /= 2) {
      part += __shfl_down_sync(0xffffffffu, part, distance);
    }
    if (threadIdx.x % 32 == 0) {
      parts[threadIdx.x / 32] = part;
    }
    __syncthreads();
    Number total = 0;
    for (int i = 0; i < threads / 32; ++i) {
      total += parts[i];
    }
    __syncthreads();  // before the next sum writes its parts
    return total;
  }
#else
  template <class Body>
  void each(Int count, const Body& body) const {
    for (Int i = 0; i < count; ++i) {
      body(i);
    }
  }
  // In the device's order.
  template <class Number, class Value>
  Number sum(Int count, const Value& value) const {
    Number parts[threads] = {};
    for (Int i = 0; i < count; ++i) {
      parts[i % threads] += value(i);
    }
    for (int distance = 16; distance > 0; distance /= 2) {
      for (int warp = 0; warp < threads; warp += 32) {
        for (int lane = 0; lane + distance < 32; ++lane) {
          parts[warp + lane] += parts[warp + lane + distance];
        }
      }
    }
    Number total = 0;
    for (int warp = 0; warp < threads; warp += 32) {
      total += parts[warp];
    }
    return total;
  }
#endif
};

#if defined(__CUDACC__)
#define MAA_PER_ELEMENT(body, Arguments)                                                              \
  extern "C" __global__ void __launch_bounds__(256) maa_##body(const Arguments arguments, Int count) { \
    const Int i = Int(blockIdx.x) * 256 + threadIdx.x;                                                \
    if (i < count) {                                                                                  \
      body(i, arguments);                                                                             \
    }                                                                                                 \
  }
#define MAA_PER_BLOCK(body, Arguments)                                                                \
  extern "C" __global__ void __launch_bounds__(256) maa_##body(const Arguments arguments, Int count) { \
    body(Block(), Int(blockIdx.x), arguments);                                                        \
  }
#else
#define MAA_PER_ELEMENT(body, Arguments)                                                    \
  inline constexpr Kernel<Arguments> body##_kernel{                                         \
      {"maa_" #body, false, [](Index count, const void* arguments) {                        \
         for (Index i = 0; i < count; ++i) {                                                \
           body(i, *static_cast<const Arguments*>(arguments));                              \
         }                                                                                  \
       }}};
#define MAA_PER_BLOCK(body, Arguments)                                                      \
  inline constexpr Kernel<Arguments> body##_kernel{                                         \
      {"maa_" #body, true, [](Index count, const void* arguments) {                         \
         for (Index b = 0; b < count; ++b) {                                                \
           body(Block(), b, *static_cast<const Arguments*>(arguments));                     \
         }                                                                                  \
       }}};
#endif

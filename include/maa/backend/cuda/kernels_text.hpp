// Made by cmake/embed_kernels.py from kernels.cuh; not to be edited.
#pragma once

#include <maa/core/config.hpp>

#include <string_view>

// clang-format off
MAA_NAMESPACE_BEGIN
namespace cuda {

// One after the other they are the text.
inline constexpr std::string_view kernels_text_pieces[] = {
R"maa(#if defined(__CUDACC__)
using size_t = decltype(sizeof(0));
#define MAA_DEVICE __device__ inline
#else
#include <maa/backend/cuda/command.hpp>
#include <math.h>
#define MAA_DEVICE inline
MAA_NAMESPACE_BEGIN namespace cuda {
#endif
namespace kernels { using Int = long long; using U32 = unsigned int; using U64 = unsigned long long;
struct Block { static constexpr int threads = 256;
#if defined(__CUDACC__)
template <class Body> __device__ void each(Int count, const Body& body) const {
for (Int i = threadIdx.x; i < count; i += threads) { body(i); } __syncthreads(); }
template <class Number, class Value> __device__ Number sum(Int count, const Value& value) const {
__shared__ Number parts[threads / 32]; Number part = 0;
for (Int i = threadIdx.x; i < count; i += threads) { part += value(i); }
for (int distance = 16; distance > 0; distance /= 2) {
part += __shfl_down_sync(0xffffffffu, part, distance); } if (threadIdx.x % 32 == 0) {
parts[threadIdx.x / 32] = part; } __syncthreads(); Number total = 0;
for (int i = 0; i < threads / 32; ++i) { total += parts[i]; } __syncthreads(); return total; }
#else
template <class Body> void each(Int count, const Body& body) const {
for (Int i = 0; i < count; ++i) { body(i); } } template <class Number, class Value>
Number sum(Int count, const Value& value) const { Number parts[threads] = {};
for (Int i = 0; i < count; ++i) { parts[i % threads] += value(i); }
for (int distance = 16; distance > 0; distance /= 2) {
for (int warp = 0; warp < threads; warp += 32) { for (int lane = 0; lane + distance < 32; ++lane) {
parts[warp + lane] += parts[warp + lane + distance]; } } } Number total = 0;
for (int warp = 0; warp < threads; warp += 32) { total += parts[warp]; } return total; }
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
struct MatrixArguments { const float* from; float* to; const float* row; Int cols; Int from_stride;
Int to_stride; }; MAA_DEVICE void copy_matrix(Int i, const MatrixArguments& a) {
const Int r = i / a.cols, c = i % a.cols;
a.to[r * a.to_stride + c] = a.from == nullptr ? 0.0f : a.from[r * a.from_stride + c]; }
MAA_PER_ELEMENT(copy_matrix, MatrixArguments)
MAA_DEVICE void add_matrix(Int i, const MatrixArguments& a) {
const Int r = i / a.cols, c = i % a.cols;
a.to[r * a.to_stride + c] += a.from[r * a.from_stride + c]; }
MAA_PER_ELEMENT(add_matrix, MatrixArguments)
MAA_DEVICE void add_row(Int i, const MatrixArguments& a) { const Int r = i / a.cols, c = i % a.cols;
a.to[r * a.to_stride + c] = a.from[r * a.from_stride + c] + a.row[c]; }
MAA_PER_ELEMENT(add_row, MatrixArguments) struct ActivationCode {
static constexpr Int identity = 0, relu = 1, elu = 2, gelu = 3, mish = 4, tanh = 5; };
template <class Number> MAA_DEVICE Number limited(Number x, Number low, Number high) {
return x < low ? low : x > high ? high : x; } MAA_DEVICE float mish(float x) {
const float e = expf(limited(x, -750.0f, 40.0f)), n = e * (e + 2.0f);
return (x < -750.0f ? -750.0f : x) * (n / (n + 2.0f)); } MAA_DEVICE float mish_slope(float x) {
const float at = limited(x, -750.0f, 40.0f), e = expf(at), n = e * (e + 2.0f), d = n + 2.0f;
return (n + 4.0f * at * e * ((e + 1.0f) / d)) / d; }
MAA_DEVICE float activate(Int activation, float x) { switch (activation) {
case ActivationCode::relu: return x < 0.0f ? 0.0f : x; case ActivationCode::elu:
return x > 0.0f ? x : expm1f(x); case ActivationCode::gelu: {
const float low = x < -40.0f ? -40.0f : x; return low * (0.5f * erfcf(low * -0.70710678f)); }
case ActivationCode::mish: return mish(x); case ActivationCode::tanh: return tanhf(x); } return x; }
MAA_DEVICE float activation_slope(Int activation, float x) { switch (activation) {
case ActivationCode::relu: return x <= 0.0f ? 0.0f : 1.0f; case ActivationCode::elu:
return x > 0.0f ? 1.0f : expf(x); case ActivationCode::gelu: {
const float at = limited(x, -40.0f, 40.0f);
return 0.5f * erfcf(at * -0.70710678f) + at * (expf(-0.5f * at * at) * 0.39894228f); }
case ActivationCode::mish: return mish_slope(x); case ActivationCode::tanh: {
const float y = tanhf(x); return 1.0f - y * y; } } return 1.0f; } struct ActivationArguments {
const float* x; const float* dy; float* to; Int activation; };
MAA_DEVICE void activation_forward(Int i, const ActivationArguments& a) {
a.to[i] = activate(a.activation, a.x[i]); } MAA_PER_ELEMENT(activation_forward, ActivationArguments)
MAA_DEVICE void activation_backward(Int i, const ActivationArguments& a) {
a.to[i] = a.dy[i] * activation_slope(a.activation, a.x[i]); }
MAA_PER_ELEMENT(activation_backward, ActivationArguments) struct NormForwardArguments {
const float* x; const float* gain; const float* bias; const float* film; const float* residual;
float* y; float* statistics; Int groups; Int group_size; Int length; Int x_row; Int film_row;
Int residual_row; Int y_row; Int statistics_row; float epsilon; int mish; };
MAA_DEVICE void norm_forward(const Block& block, Int b, const NormForwardArguments& a) {
const Int s = b / a.groups, g = b % a.groups;
const Int begin = g * a.group_size, count = a.length * a.group_size, channels = a.groups * a.group_size;
const float* x = a.x + s * a.length * a.x_row + begin;
const double mean = block.sum<double>(count, [&](Int i) {
return double(x[i / a.group_size * a.x_row + i % a.group_size]); }) / double(count);
const double squares = block.sum<double>(count, [&](Int i) {
const double deviation = double(x[i / a.group_size * a.x_row + i % a.group_size]) - mean;
return deviation * deviation; }); const float center = float(mean);
const float factor = float(1.0 / sqrt(squares / double(count) + double(a.epsilon)));
const float* film = a.film == nullptr ? nullptr : a.film + s * a.film_row + begin;
block.each(count, [&](Int i) {
const Int r = i / a.group_size, c = i % a.group_size, row = s * a.length + r;
float y = (x[r * a.x_row + c] - center) * factor;
y = (a.gain == nullptr ? y : y * a.gain[begin + c]) + (a.bias == nullptr ? 0.0f : a.bias[begin + c]);
y = a.mish != 0 ? mish(y) : y; y = film == nullptr ? y : film[c] * y + film[channels + c];
y = a.residual == nullptr ? y : y + a.residual[row * a.residual_row + begin + c];
a.y[row * a.y_row + begin + c] = y; }); block.each(1, [&](Int) {
a.statistics[s * a.statistics_row + g] = center;
a.statistics[s * a.statistics_row + a.groups + g] = factor; }); }
MAA_PER_BLOCK(norm_forward, NormForwardArguments) struct NormBackwardArguments { const float* x;
const float* statistics; const float* gain; const float* bias; const float* film; const float* dy;
float* dx; float* dfilm; float* parts; Int batch; Int chunk; Int groups; Int group_size; Int length;
Int x_row; Int statistics_row; Int film_row; Int dy_row; Int dx_row; Int dfilm_row; Int mish; };
MAA_DEVICE void norm_backward(const Block& block, Int b, const NormBackwardArguments& a) {
const Int chunk = b / a.groups, g = b % a.groups;
const Int begin = g * a.group_size, channels = a.groups * a.group_size;
const Int first = chunk * a.chunk;
const Int last = first + a.chunk < a.batch ? first + a.chunk : a.batch;
float* parts = a.parts + chunk * 4 * channels + begin; float* dgains = parts;
float* dbiases = parts + channels; float* dxs = parts + 2 * channels;
float* products = parts + 3 * channels; for (Int s = first; s < last; ++s) {
const float mean = a.statistics[s * a.statistics_row + g];
const float factor = a.statistics[s * a.statistics_row + a.groups + g];
const float* x = a.x + s * a.length * a.x_row + begin;
const float* dy = a.dy + s * a.length * a.dy_row + begin;
const float* film = a.film == nullptr ? nullptr : a.film + s * a.film_row + begin;
float* dfilm = a.film == nullptr ? nullptr : a.dfilm + s * a.dfilm_row + begin;
const bool fresh = s == first; const float sum = block.sum<float>(a.group_size, [&](Int c) {
const float gain = a.gain == nullptr ? 1.0f : a.gain[begin + c];
const float bias = a.bias == nullptr ? 0.0f : a.bias[begin + c];
float dgain = 0, dbias = 0, dscale = 0, dshift = 0; for (Int r = 0; r < a.length; ++r) {
const float x_hat = (x[r * a.x_row + c] - mean) * factor; const float n = gain * x_hat + bias;
float d = dy[r * a.dy_row + c]; if (film != nullptr) { dscale += d * (a.mish != 0 ? mish(n) : n);
dshift += d; d *= film[c]; } d = a.mish != 0 ? d * mish_slope(n) : d; dgain += d * x_hat;
dbias += d; } if (film != nullptr) { dfilm[c] = dscale; dfilm[channels + c] = dshift; }
dgains[c] = fresh ? dgain : dgains[c] + dgain; dbiases[c] = fresh ? dbias : dbiases[c] + dbias;
products[c] = gain * dgain; return gain * dbias; }); if (a.dx == nullptr) { continue; }
const float product = block.sum<float>(a.group_size, [&](Int c) { return products[c]; });
const float count = float(a.length * a.group_size);
float* dx = a.dx + s * a.length * a.dx_row + begin; block.each(a.group_size, [&](Int c) {
const float gain = a.gain == nullptr ? 1.0f : a.gain[begin + c];
const float bias = a.bias == nullptr ? 0.0f : a.bias[begin + c]; float total = 0;
for (Int r = 0; r < a.length; ++r) { const float x_hat = (x[r * a.x_row + c] - mean) * factor;
float d = dy[r * a.dy_row + c]; d = film == nullptr ? d : d * film[c];
d = a.mish != 0 ? d * mish_slope(gain * x_hat + bias) : d;
d = factor * (d * gain - sum / count - x_hat * (product / count)); dx[r * a.dx_row + c] = d;
total += d; } dxs[c] = fresh ? total : dxs[c] + total; }); } }
MAA_PER_BLOCK(norm_backward, NormBackwardArguments) struct AddPartsArguments { const float* parts;
float* sums; Int rows; Int row; Int cols; Int chunk; };
MAA_DEVICE float sum_of_rows(const float* column, Int rows, Int row) { float sum = 0;
#if defined(__CUDACC__)
#pragma unroll 8
#endif
for (Int r = 0; r < rows; ++r) { sum += column[r * row]; } return sum; }
MAA_DEVICE void add_parts(Int i, const AddPartsArguments& a) {
const Int first = i / a.cols * a.chunk, left = a.rows - first;
a.sums[i] = sum_of_rows(a.parts + first * a.row + i % a.cols, left < a.chunk ? left : a.chunk, a.row);
} MAA_PER_ELEMENT(add_parts, AddPartsArguments) struct NormTotalsArguments { const float* parts;
float* dgain; float* dbias; float* dx_sums; Int rows; Int row; Int channels; };
MAA_DEVICE void norm_totals(Int i, const NormTotalsArguments& a) { const Int which = i / a.channels;
float* totals = which == 0 ? a.dgain : which == 1 ? a.dbias : a.dx_sums; if (totals != nullptr) {
totals[i % a.channels] += sum_of_rows(a.parts + i, a.rows, a.row); } }
MAA_PER_ELEMENT(norm_totals, NormTotalsArguments) struct AddUpArguments { const double* parts;
double* to; Int count; double factor; double offset; };
MAA_DEVICE void add_up(const Block& block, Int, const AddUpArguments& a) {
const double sum = block.sum<double>(a.count, [&](Int i) { return a.parts[i]; });
block.each(1, [&](Int) { *a.to = a.factor * sum + a.offset; }); }
MAA_PER_BLOCK(add_up, AddUpArguments) struct AddScalarsArguments { const double* a; const double* b;
double* to; };
MAA_DEVICE void add_scalars(Int, const AddScalarsArguments& a) { *a.to = *a.a + *a.b; }
MAA_PER_ELEMENT(add_scalars, AddScalarsArguments) constexpr Int elements_per_block = 4096;
MAA_DEVICE Int elements_of_block(Int b, Int count) {
const Int left = count - b * elements_per_block;
return left < elements_per_block ? left : elements_per_block; } struct MseArguments {
const float* prediction; const float* target; float* dprediction; double* parts; Int count;
Int cols; Int prediction_row; Int target_row; Int dprediction_row; double scale; double width; };
MAA_DEVICE void mse(const Block& block, Int b, const MseArguments& a) {
const double part = block.sum<double>(elements_of_block(b, a.count), [&](Int k) {
const Int i = b * elements_per_block + k, r = i / a.cols, c = i % a.cols;
const float difference = a.prediction[r * a.prediction_row + c] - a.target[r * a.target_row + c];
if (a.dprediction != nullptr) {
a.dprediction[r * a.dprediction_row + c] = float(a.scale) * difference; }
return double(difference) * double(difference); }); block.each(1, [&](Int) { a.parts[b] = part; });
} MAA_PER_BLOCK(mse, MseArguments)
MAA_DEVICE void huber(const Block& block, Int b, const MseArguments& a) {
const double part = block.sum<double>(elements_of_block(b, a.count), [&](Int k) {
const Int i = b * elements_per_block + k, r = i / a.cols, c = i % a.cols;
const float difference = a.prediction[r * a.prediction_row + c] - a.target[r * a.target_row + c];
const double d = double(difference), root = sqrt(d * d + a.width * a.width);
if (a.dprediction != nullptr) {
a.dprediction[r * a.dprediction_row + c] = float(a.scale * a.width * d / root); }
return d * d / (root + a.width); }); block.each(1, [&](Int) { a.parts[b] = part; }); }
MAA_PER_BLOCK(huber, MseArguments) struct InfoNceArguments { const float* logits;
const float* targets; float* dlogits; double* parts; float* maxima; Int rows; Int cols;
Int logits_row; Int targets_row; Int dlogits_row; }; constexpr Int maxima_per_row = 256 + 16;
MAA_DEVICE float maximum_of(const float* values, Int count, Int step) { float maximum = values[0];
for (Int i = step; i < count; i += step) { maximum = values[i] > maximum ? values[i] : maximum; }
return maximum; } MAA_DEVICE void info_nce(const Block& block, Int b, const InfoNceArguments& a) {
const float* z = a.logits + b * a.logits_row; const float* t = a.targets + b * a.targets_row;
float* maxima = a.maxima + b * maxima_per_row;
const Int threads = a.cols < 256 ? a.cols : 256, results = threads < 16 ? threads : 16;
block.each(threads, [&](Int i) { maxima[i] = maximum_of(z + i, a.cols - i, 256); });
block.each(results, [&](Int i) { maxima[256 + i] = maximum_of(maxima + i, threads - i, 16); });
const double maximum = double(maximum_of(maxima + 256, results, 1));
const double exponentials = block.sum<double>(a.cols, [&](Int j) { return exp(double(z[j]) - maximum); });
const double log_partition = maximum + log(exponentials);
const double part = block.sum<double>(a.cols, [&](Int j) {
return t[j] == 0.0f ? 0.0 : double(t[j]) * (log_partition - double(z[j])); });
block.each(1, [&](Int) { a.parts[b] = part; }); if (a.dlogits == nullptr) { return; }
const double weight = block.sum<double>(a.cols, [&](Int j) { return double(t[j]); });
block.each(a.cols, [&](Int j) { a.dlogits[b * a.dlogits_row + j] =
float((weight * exp(double(z[j]) - log_partition) - double(t[j])) / double(a.rows)); }); }
MAA_PER_BLOCK(info_nce, InfoNceArguments) struct GaussianNllArguments { const float* mean;
const float* log_std; const float* value; float* dmean; float* dlog_std; double* parts; Int count;
Int cols; Int mean_row; Int log_std_row; Int value_row; Int dmean_row; Int dlog_std_row; };
MAA_DEVICE void gaussian_nll(const Block& block, Int b, const GaussianNllArguments& a) {
const double count = double(a.count);
const double part = block.sum<double>(elements_of_block(b, a.count), [&](Int k) {
const Int i = b * elements_per_block + k, r = i / a.cols, c = i % a.cols;
const double free = double(a.log_std[r * a.log_std_row + c]);
const double clamped = limited(free, -20.0, 2.0); const double inverse = exp(-clamped);
const double z = (double(a.value[r * a.value_row + c]) - double(a.mean[r * a.mean_row + c])) * inverse;
if (a.dmean != nullptr) { a.dmean[r * a.dmean_row + c] = float(-z * inverse / count); }
if (a.dlog_std != nullptr) {
a.dlog_std[r * a.dlog_std_row + c] = free == clamped ? float((1.0 - z * z) / count) : 0.0f; }
return 0.5 * z * z + clamped; }); block.each(1, [&](Int) { a.parts[b] = part; }); }
MAA_PER_BLOCK(gaussian_nll, GaussianNllArguments) struct SquaresArguments { const float* values;
double* parts; Int count; };
MAA_DEVICE void squares(const Block& block, Int b, const SquaresArguments& a) {
const float* values = a.values + b * elements_per_block;
const double part = block.sum<double>(elements_of_block(b, a.count),
[&](Int i) { return double(values[i]) * double(values[i]); });
block.each(1, [&](Int) { a.parts[b] = part; }); } MAA_PER_BLOCK(squares, SquaresArguments)
struct AdamWFactors { float gradient_scale; float decay;
float one_minus_beta1, beta2, one_minus_beta2; float step_size; float inverse_root_correction2;
float epsilon; float one_minus_ema_decay; }; struct AdamWState { AdamWFactors factors; float finite;
}; struct AdamWBeginArguments { const AdamWFactors* factors; const double* loss;
const double* squares; AdamWState* state; double clip_norm; };
MAA_DEVICE void adamw_begin(Int, const AdamWBeginArguments& a) {
AdamWState state = {*a.factors, 0.0f}; const double largest = 1.7976931348623157e308;
if (fabs(*a.loss) <= largest && *a.squares <= largest) { state.finite = 1.0f;
const double norm = sqrt(*a.squares); if (a.clip_norm > 0.0 && norm > a.clip_norm) {
state.factors.gradient_scale = float(double(state.factors.gradient_scale) * (a.clip_norm / norm)); }
} *a.state = state; } MAA_PER_ELEMENT(adamw_begin, AdamWBeginArguments) struct AdamWArguments {
const AdamWState* state; float* weights; const float* gradients; float* m; float* v; float* ema;
const Int* ends; Int groups; Int first_decays; };
MAA_DEVICE bool decays(Int i, const AdamWArguments& a) { Int low = 0, high = a.groups;
while (low < high) { const Int middle = (low + high) / 2; if (a.ends[middle] <= i) {
low = middle + 1; } else { high = middle; } } return (low % 2 == 0) == (a.first_decays != 0); }
MAA_DEVICE void adamw(Int i, const AdamWArguments& a) { const AdamWFactors& f = a.state->factors;
if (a.state->finite == 0.0f) { return; } const float g = a.gradients[i] * f.gradient_scale;
const float m = a.m[i] + f.one_minus_beta1 * (g - a.m[i]);
const float v = f.beta2 * a.v[i] + f.one_minus_beta2 * g * g;
const float denominator = sqrtf(v) * f.inverse_root_correction2 + f.epsilon;
const float decay = decays(i, a) ? f.decay : 1.0f;
const float weight = a.weights[i] * decay - f.step_size * m / denominator; a.m[i] = m; a.v[i] = v;
a.weights[i] = weight; if (a.ema != nullptr) {
a.ema[i] += f.one_minus_ema_decay * (weight - a.ema[i]); } } MAA_PER_ELEMENT(adamw, AdamWArguments)
struct PhiloxBlock { U32 a, b, c, d; };
MAA_DEVICE PhiloxBlock philox(PhiloxBlock x, U32 key0, U32 key1) {
for (int round = 0; round < 10; ++round) {
const U64 first = U64(0xd2511f53u) * x.a, second = U64(0xcd9e8d57u) * x.c;
x = {U32(second >> 32) ^ x.b ^ key0, U32(second), U32(first >> 32) ^ x.d ^ key1, U32(first)};
key0 += 0x9e3779b9u; key1 += 0xbb67ae85u; } return x; } struct RandomState { U64 seed; U64 stream;
U64 position; }; MAA_DEVICE PhiloxBlock random_block(const RandomState& state, U64 position) {
return philox({U32(position), U32(position >> 32), U32(state.stream), U32(state.stream >> 32)},
U32(state.seed), U32(state.seed >> 32)); } struct FillNormalArguments { const RandomState* states;
float* to; Int blocks_per_row; Int cols; Int stride; float scale; int unused; };
MAA_DEVICE void fill_normal(Int i, const FillNormalArguments& a) {
const Int row = i / a.blocks_per_row, block = i % a.blocks_per_row;
const RandomState state = a.states[row];
const PhiloxBlock x = random_block(state, state.position + U64(block));
float* to = a.to + row * a.stride + 4 * block; const Int left = a.cols - 4 * block;
for (int pair = 0; pair < 2 && 2 * pair < left; ++pair) {
const float radius = sqrtf(-2.0f * logf((float(pair == 0 ? x.a : x.c) + 0.5f) * 0x1p-32f));
const float angle = 6.28318531f * (float(pair == 0 ? x.b : x.d) * 0x1p-32f);
to[2 * pair] = a.scale * (radius * cosf(angle)); if (2 * pair + 1 < left) {
to[2 * pair + 1] = a.scale * (radius * sinf(angle)); } } }
MAA_PER_ELEMENT(fill_normal, FillNormalArguments) struct RowsArguments { const double* factors;
const float* x; const float* y; float* to; Int rows; Int cols; Int x_row; Int y_row; Int to_row;
double limit; }; MAA_DEVICE void scale_rows(Int i, const RowsArguments& a) {
const Int r = i / a.cols; a.to[r * a.to_row + i % a.cols] *= float(a.factors[r]); }
MAA_PER_ELEMENT(scale_rows, RowsArguments)
MAA_DEVICE void combine_rows(Int i, const RowsArguments& a) {
const Int r = i / a.cols, c = i % a.cols;
const double x = double(a.x[r * a.x_row + c]), y = double(a.y[r * a.y_row + c]);
const double value = a.factors[r] * x + a.factors[a.rows + r] * y;
a.to[r * a.to_row + c] = float(limited(value, -a.limit, a.limit)); }
MAA_PER_ELEMENT(combine_rows, RowsArguments)
MAA_DEVICE void scale_rows_inside(Int i, const RowsArguments& a) {
const Int r = i / a.cols, c = i % a.cols; float* to = a.to + r * a.to_row + c;
*to = fabs(double(a.x[r * a.x_row + c])) >= a.limit ? 0.0f : float(a.factors[r]) * *to; }
MAA_PER_ELEMENT(scale_rows_inside, RowsArguments) struct GatherRowsArguments { const Int* rows;
const float* from; float* to; Int cols; Int from_row; Int to_row; };
MAA_DEVICE void gather_rows(Int i, const GatherRowsArguments& a) {
const Int r = i / a.cols, c = i % a.cols;
a.to[r * a.to_row + c] = a.from[a.rows[r] * a.from_row + c]; }
MAA_PER_ELEMENT(gather_rows, GatherRowsArguments) struct GroupsArguments { const float* from;
float* to; Int size; Int cols; Int from_row; Int to_row; };
MAA_DEVICE void mean_of_groups(Int i, const GroupsArguments& a) {
const Int r = i / a.cols, c = i % a.cols; const float share = float(a.size); float sum = 0;
for (Int k = 0; k < a.size; ++k) { sum += a.from[(r * a.size + k) * a.from_row + c] / share; }
a.to[r * a.to_row + c] = sum; } MAA_PER_ELEMENT(mean_of_groups, GroupsArguments)
MAA_DEVICE void mean_of_groups_backward(Int i, const GroupsArguments& a) {
const Int r = i / a.cols, c = i % a.cols;
a.to[r * a.to_row + c] = a.from[r / a.size * a.from_row + c] / float(a.size); }
MAA_PER_ELEMENT(mean_of_groups_backward, GroupsArguments) struct ColumnsArguments {
const float* numbers; float* x; Int cols; Int x_row; };
MAA_DEVICE void standardize_columns(Int i, const ColumnsArguments& a) { const Int c = i % a.cols;
float* x = a.x + i / a.cols * a.x_row + c; *x = (*x - a.numbers[c]) * a.numbers[a.cols + c]; }
MAA_PER_ELEMENT(standardize_columns, ColumnsArguments)
MAA_DEVICE void unstandardize_columns(Int i, const ColumnsArguments& a) { const Int c = i % a.cols;
float* x = a.x + i / a.cols * a.x_row + c; *x = *x / a.numbers[a.cols + c] + a.numbers[c]; }
MAA_PER_ELEMENT(unstandardize_columns, ColumnsArguments)
MAA_DEVICE void scale_columns(Int i, const ColumnsArguments& a) { const Int c = i % a.cols;
a.x[i / a.cols * a.x_row + c] *= a.numbers[c]; } MAA_PER_ELEMENT(scale_columns, ColumnsArguments)
MAA_DEVICE void affine_columns(Int i, const ColumnsArguments& a) { const Int c = i % a.cols;
float* x = a.x + i / a.cols * a.x_row + c; *x = a.numbers[a.cols + c] + a.numbers[c] * *x; }
MAA_PER_ELEMENT(affine_columns, ColumnsArguments) struct ScaledArguments { const float* from;
float* to; Int cols; Int from_row; Int to_row; float number; int unused; };
MAA_DEVICE void scale(Int i, const ScaledArguments& a) {
a.to[i / a.cols * a.to_row + i % a.cols] *= a.number; } MAA_PER_ELEMENT(scale, ScaledArguments)
MAA_DEVICE void add_scaled(Int i, const ScaledArguments& a) {
const Int r = i / a.cols, c = i % a.cols;
a.to[r * a.to_row + c] += a.number * a.from[r * a.from_row + c]; }
MAA_PER_ELEMENT(add_scaled, ScaledArguments)
MAA_DEVICE void clamp(Int i, const ScaledArguments& a) { const Int r = i / a.cols, c = i % a.cols;
a.to[r * a.to_row + c] = limited(a.from[r * a.from_row + c], -a.number, a.number); }
MAA_PER_ELEMENT(clamp, ScaledArguments) MAA_DEVICE void transpose(Int i, const ScaledArguments& a) {
const Int r = i / a.cols, c = i % a.cols; a.to[r * a.to_row + c] = a.from[c * a.from_row + r]; }
MAA_PER_ELEMENT(transpose, ScaledArguments)
MAA_DEVICE void add_transposed(Int i, const ScaledArguments& a) {
const Int r = i / a.cols, c = i % a.cols; a.to[r * a.to_row + c] += a.from[c * a.from_row + r]; }
MAA_PER_ELEMENT(add_transposed, ScaledArguments) struct GuideArguments { const float* without;
float* prediction; Int cols; Int without_row; Int prediction_row; double scale; };
MAA_DEVICE void guide(Int i, const GuideArguments& a) { const Int r = i / a.cols, c = i % a.cols;
const double base = double(a.without[r * a.without_row + c]);
float* prediction = a.prediction + r * a.prediction_row + c;
*prediction = float(base + a.scale * (double(*prediction) - base)); }
MAA_PER_ELEMENT(guide, GuideArguments) struct SamplerStepArguments { const float* prediction;
const float* noise; float* x; Int cols; Int prediction_row; Int noise_row; Int x_row;
double x0_x, x0_prediction, epsilon_x, epsilon_prediction, limit, clean, direction, current, noise_scale;
}; MAA_DEVICE void sampler_step(Int i, const SamplerStepArguments& a) {
const Int r = i / a.cols, c = i % a.cols;
const double x = double(a.x[r * a.x_row + c]), p = double(a.prediction[r * a.prediction_row + c]);
const double epsilon = a.epsilon_x * x + a.epsilon_prediction * p;
const double x0 = limited(a.x0_x * x + a.x0_prediction * p, -a.limit, a.limit);
double value = a.clean * x0 + a.direction * epsilon + a.current * x; if (a.noise != nullptr) {
value += a.noise_scale * double(a.noise[r * a.noise_row + c]); }
a.x[r * a.x_row + c] = float(value); } MAA_PER_ELEMENT(sampler_step, SamplerStepArguments)
struct EmbeddingArguments { const Int* timesteps; float* y; Int half; Int y_row; };
MAA_DEVICE void sinusoidal_embedding(Int i, const EmbeddingArguments& a) {
const Int r = i / a.half, j = i % a.half;
const double angle = double(a.timesteps[r]) * exp(-log(10000.0) * double(j) / double(a.half - 1));
a.y[r * a.y_row + j] = float(sin(angle)); a.y[r * a.y_row + a.half + j] = float(cos(angle)); }
MAA_PER_ELEMENT(sinusoidal_embedding, EmbeddingArguments)
MAA_DEVICE unsigned short bfloat16_of(float value) { U32 bits; memcpy(&bits, &value, sizeof(bits));
if ((bits & 0x7fffffffu) > 0x7f800000u) { return static_cast<unsigned short>((bits >> 16) | 0x40u);
} return static_cast<unsigned short>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16); }
struct CombineArguments { const float* a; const float* b; float* to; unsigned short* rounded;
Int cols; Int a_row; Int b_row; Int to_row; float sign; float unused; };
MAA_DEVICE void combine_matrices(Int i, const CombineArguments& a) {
const Int r = i / a.cols, c = i % a.cols; float value = a.a[r * a.a_row + c]; if (a.b != nullptr) {
value += a.sign * a.b[r * a.b_row + c]; } if (a.to != nullptr) { a.to[r * a.to_row + c] = value;
} else { a.rounded[r * a.to_row + c] = bfloat16_of(value); } }
MAA_PER_ELEMENT(combine_matrices, CombineArguments) struct SetRowsArguments { const float* row;
float* to; Int cols; Int to_row; }; MAA_DEVICE void set_rows(Int i, const SetRowsArguments& a) {
const Int r = i / a.cols, c = i % a.cols;
a.to[r * a.to_row + c] = a.row == nullptr ? 0.0f : a.row[c]; }
MAA_PER_ELEMENT(set_rows, SetRowsArguments) struct ColumnSumsArguments { const float* x;
float* sums; Int rows; Int cols; Int chunk; Int chunks; Int x_row; Int x_matrix; Int sums_row;
Int sums_matrix; Int accumulate; };
MAA_DEVICE void column_sums(Int i, const ColumnSumsArguments& a) {
const Int c = i % a.cols, q = i / a.cols % a.chunks, matrix = i / (a.cols * a.chunks);
const Int first = q * a.chunk, end = first + a.chunk < a.rows ? first + a.chunk : a.rows;
const float* const x = a.x + matrix * a.x_matrix + c; float sum = 0.0f;
for (Int r = first; r < end; ++r) { sum += x[r * a.x_row]; }
float* const to = a.sums + matrix * a.sums_matrix + q * a.sums_row + c;
*to = a.accumulate != 0 ? *to + sum : sum; } MAA_PER_ELEMENT(column_sums, ColumnSumsArguments)
struct PolicyBiasArguments { const float* bias; float* raw; float* activated; float* features;
Int bias_policy; Int units; Int policy_numbers; Int activation; };
MAA_DEVICE void policy_bias(Int i, const PolicyBiasArguments& a) {
const float value = a.raw[i] + a.bias[i / a.policy_numbers * a.bias_policy + i % a.units];
a.raw[i] = value; if (a.activated != nullptr) { const float y = activate(a.activation, value);
a.activated[i] = y; if (a.features != nullptr) { a.features[i] = y; } } }
MAA_PER_ELEMENT(policy_bias, PolicyBiasArguments) struct RidgeArguments { const float* features;
const float* residual; const float* log_strength; const float* row_exponent;
const float* correction; const float* dcorrection; float* to; float* dfeatures; float* dresidual;
double* systems; double* work; double* slopes; double base; double log_rows; Int rows; Int units;
Int actions; Int order; }; MAA_DEVICE double ridge_strength(const RidgeArguments& a) {
return a.base * exp(double(a.log_strength[0]) + double(a.row_exponent[0]) * a.log_rows); }
struct RidgeSample { const float* features; const float* residual; Int units; Int actions;
MAA_DEVICE double phi(Int row, Int column) const {
return column < units ? double(features[row * units + column]) : 1.0; } template <class Number>
MAA_DEVICE double apply(Int row, const Number* vector) const {
const float* const phi_row = features + row * units; double sum = double(vector[units]);
for (Int j = 0; j < units; ++j) { sum += double(phi_row[j]) * double(vector[j]); } return sum; } };
MAA_DEVICE RidgeSample ridge_sample(const RidgeArguments& a, Int b) {
return {a.features + b * a.rows * a.units, a.residual + b * a.rows * a.actions, a.units, a.actions};
} struct RidgeWork { double* inverse; double* u; double* applied; double* left;
MAA_DEVICE static Int size(Int order, Int rows, Int units, Int actions) {
return order + actions * (units + 1 + 2 * rows); } };
MAA_DEVICE RidgeWork ridge_work(const RidgeArguments& a, Int b) {
double* const inverse = a.work + b * RidgeWork::size(a.order, a.rows, a.units, a.actions);
double* const u = inverse + a.order; double* const applied = u + a.actions * (a.units + 1);
return {inverse, u, applied, applied + a.actions * a.rows}; }
MAA_DEVICE void ridge_system(Int i, const RidgeArguments& a) {
const Int c = i % a.order, r = i / a.order % a.order; if (c < r) { return; }
const RidgeSample sample = ridge_sample(a, i / (a.order * a.order));
double sum = r == c ? ridge_strength(a) : 0.0; if (a.order == a.rows) {
const float* const row = sample.features + r * a.units;
const float* const col = sample.features + c * a.units; sum += 1.0;
for (Int j = 0; j < a.units; ++j) { sum += double(row[j]) * double(col[j]); } } else {
for (Int row = 0; row < a.rows; ++row) { sum += sample.phi(row, r) * sample.phi(row, c); } }
a.systems[i] = sum; } MAA_PER_ELEMENT(ridge_system, RidgeArguments)
MAA_DEVICE void factor_system(const Block& block, Int order, double* a, double* inverse) {
for (Int i = 0; i < order; ++i) { block.each(order - i, [&](Int distance) {
const Int j = i + distance; double value = a[i * order + j]; for (Int k = 0; k < i; ++k) {
value -= a[k * order + i] * inverse[k] * a[k * order + j]; } a[i * order + j] = value; if (j == i) {
inverse[i] = 1.0 / value; } else { a[j * order + i] = value; } }); } }
MAA_DEVICE void solve_system(const Block& block, Int order, const double* a, const double* inverse, Int sides,
double* x) { for (Int i = 0; i + 1 < order; ++i) { const Int after = order - 1 - i;
block.each(sides * after, [&](Int e) { const Int side = e / after, j = i + 1 + e % after;
x[side * order + j] -= a[i * order + j] * inverse[i] * x[side * order + i]; }); }
for (Int i = order - 1; i > 0; --i) { block.each(sides * i, [&](Int e) {
const Int side = e / i, j = e % i;
x[side * order + j] -= a[i * order + j] * inverse[i] * x[side * order + i]; }); }
block.each(sides * order, [&](Int e) { x[e] *= inverse[e % order]; }); }
MAA_DEVICE void ridge_forward(const Block& block, Int b, const RidgeArguments& a) {
const RidgeSample sample = ridge_sample(a, b); const RidgeWork work = ridge_work(a, b);
double* const system = a.systems + b * a.order * a.order; const Int columns = a.units + 1;
float* const to = a.to + b * a.actions * columns;
factor_system(block, a.order, system, work.inverse); if (a.order == a.rows) {
block.each(a.actions * a.rows, [&](Int e) {
work.applied[e] = double(sample.residual[e % a.rows * a.actions + e / a.rows]); });
solve_system(block, a.order, system, work.inverse, a.actions, work.applied);
block.each(a.actions * columns, [&](Int e) {
const double* const solution = work.applied + e / columns * a.rows; double sum = 0.0;
for (Int row = 0; row < a.rows; ++row) { sum += solution[row] * sample.phi(row, e % columns); }
to[e] = float(sum); }); } else { block.each(a.actions * columns, [&](Int e) {
const Int action = e / columns; double sum = 0.0; for (Int row = 0; row < a.rows; ++row) {
sum += double(sample.residual[row * a.actions + action]) * sample.phi(row, e % columns); }
work.u[e] = sum; }); solve_system(block, a.order, system, work.inverse, a.actions, work.u);
block.each(a.actions * columns, [&](Int e) { to[e] = float(work.u[e]); }); } }
MAA_PER_BLOCK(ridge_forward, RidgeArguments)
MAA_DEVICE void ridge_backward(const Block& block, Int b, const RidgeArguments& a) {
const RidgeSample sample = ridge_sample(a, b); const RidgeWork work = ridge_work(a, b);
double* const system = a.systems + b * a.order * a.order; const Int columns = a.units + 1;
const float* const correction = a.correction + b * a.actions * columns;
const float* const dcorrection = a.dcorrection + b * a.actions * columns;
const double strength = ridge_strength(a); factor_system(block, a.order, system, work.inverse);
if (a.order == a.rows) { block.each(a.actions * a.rows, [&](Int e) {
work.applied[e] = sample.apply(e % a.rows, dcorrection + e / a.rows * columns); });
solve_system(block, a.order, system, work.inverse, a.actions, work.applied);
block.each(a.actions * columns, [&](Int e) {
const double* const solution = work.applied + e / columns * a.rows;
double sum = double(dcorrection[e]); for (Int row = 0; row < a.rows; ++row) {
sum -= solution[row] * sample.phi(row, e % columns); } work.u[e] = sum / strength; }); } else {
block.each(a.actions * columns, [&](Int e) { work.u[e] = double(dcorrection[e]); });
solve_system(block, a.order, system, work.inverse, a.actions, work.u);
block.each(a.actions * a.rows, [&](Int e) {
work.applied[e] = sample.apply(e % a.rows, work.u + e / a.rows * columns); }); }
float* const dresidual = a.dresidual + b * a.rows * a.actions;
block.each(a.rows * a.actions, [&](Int e) {
const Int row = e / a.actions, action = e % a.actions, place = action * a.rows + row;
work.left[place] = double(sample.residual[e]) - sample.apply(row, correction + action * columns);
dresidual[e] = float(work.applied[place]); });
float* const dfeatures = a.dfeatures + b * a.rows * a.units;
block.each(a.rows * a.units, [&](Int e) { const Int row = e / a.units, unit = e % a.units;
double sum = 0.0; for (Int action = 0; action < a.actions; ++action) {
const Int vector = action * columns + unit, place = action * a.rows + row;
sum += work.left[place] * work.u[vector] - work.applied[place] * double(correction[vector]); }
dfeatures[e] = float(sum); }); const double product =
block.sum<double>(a.actions * columns, [&](Int e) { return work.u[e] * double(correction[e]); });
block.each(1, [&](Int) { a.slopes[b] = -strength * product; }); }
MAA_PER_BLOCK(ridge_backward, RidgeArguments) struct RidgeSlopeArguments { const double* slopes;
float* dlog_strength; float* drow_exponent; double log_rows; Int count; };
MAA_DEVICE void ridge_slope(const Block& block, Int, const RidgeSlopeArguments& a) {
const double sum = block.sum<double>(a.count, [&](Int i) { return a.slopes[i]; });
block.each(1, [&](Int) { a.dlog_strength[0] += float(sum);
a.drow_exponent[0] += float(sum * a.log_rows); }); } MAA_PER_BLOCK(ridge_slope, RidgeSlopeArguments)
struct HeadTargetArguments { const float* mean; const float* actions; float* to; Int squashed; };
MAA_DEVICE bool head_is_saturated(float mean, float action) {
return fabsf(action) > 0.95f && mean * action > 1.83f; }
MAA_DEVICE void head_residual(Int i, const HeadTargetArguments& a) {
const float mean = a.mean[i], action = a.actions[i]; if (a.squashed == 0) { a.to[i] = action - mean;
} else if (head_is_saturated(mean, action)) { a.to[i] = 0.0f; } else {
a.to[i] = atanhf(limited(action, -0.95f, 0.95f)) - limited(mean, -3.0f, 3.0f); } }
MAA_PER_ELEMENT(head_residual, HeadTargetArguments)
MAA_DEVICE void head_residual_backward(Int i, const HeadTargetArguments& a) {
const float mean = a.mean[i]; const bool flat =
a.squashed != 0 && (head_is_saturated(mean, a.actions[i]) || limited(mean, -3.0f, 3.0f) != mean);
a.to[i] *= flat ? 0.0f : -1.0f; } MAA_PER_ELEMENT(head_residual_backward, HeadTargetArguments)
struct HeadArguments { const float* from; float* to; Int actions; Int units; Int weight_offset;
Int bias_offset; Int policy_row; }; MAA_DEVICE Int head_place(Int i, const HeadArguments& a) {
const Int unit = i % (a.units + 1), action = i / (a.units + 1) % a.actions;
const Int policy = i / ((a.units + 1) * a.actions); return policy * a.policy_row +
(unit < a.units ? a.weight_offset + action * a.units + unit : a.bias_offset + action); }
MAA_DEVICE void add_head(Int i, const HeadArguments& a) { a.to[head_place(i, a)] += a.from[i]; }
MAA_PER_ELEMENT(add_head, HeadArguments)
MAA_DEVICE void head_gradient(Int i, const HeadArguments& a) { a.to[i] = a.from[head_place(i, a)]; }
MAA_PER_ELEMENT(head_gradient, HeadArguments) }
#if !defined(__CUDACC__)
} MAA_NAMESPACE_END
#endif
#undef MAA_DEVICE
#undef MAA_PER_ELEMENT
#undef MAA_PER_BLOCK
)maa"};

}  // namespace cuda
MAA_NAMESPACE_END

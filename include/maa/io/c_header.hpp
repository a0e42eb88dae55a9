// A policy as a C header, for controllers without C++: no dependency but expf and tanhf.
#pragma once

#include <maa/io/atomic_file.hpp>
#include <maa/io/exported_policy.hpp>

#include <filesystem>

#if MAA_BODIES
#include <maa/core/options.hpp>

#include <algorithm>
#include <charconv>
#endif

MAA_NAMESPACE_BEGIN

// C99, and C++: `static void NAME_act(const float* observation, float* action)`, which neither allocates nor
// locks, and the sizes NAME_observation_size and NAME_action_size. Its actions equal MlpPolicy::act's up to
// rounding (some 1e-7; with gelu 1e-6). `name` must be an identifier. Metadata becomes a comment.
std::string c_header_text(const ExportedPolicy& policy, std::string_view name,
                          const PolicyMetadata& metadata = {});

// Writes it, atomically.
template <class Network, Storage storage>
void save_c_header(const std::filesystem::path& path, const MlpPolicy<Network, storage>& policy,
                   std::string_view name = "policy", const PolicyMetadata& metadata = {});

#if MAA_BODIES

namespace detail {

// A C expression of `x`; its constants are C's, so it cannot be shared with kernels/scalar_math.hpp.
inline std::string_view c_activation(Activation activation) {
  switch (activation) {
    case Activation::identity:
      return "x";
    case Activation::relu:
      return "x < 0.0f ? 0.0f : x";
    case Activation::elu:
      // Near 0, where expf(x) - 1 loses its digits, by the series.
      return "x > 0.0f ? x : x > -0.01f ? x * (1.0f + x * (0.5f + x * 0.16666667f)) : expf(x) - 1.0f";
    case Activation::gelu:
      // erfc by Abramowitz and Stegun 7.1.26, error 1.5e-7.
      return "{ const float z = (x < 0.0f ? -x : x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * z);\n"
             "  const float tail = 0.5f * expf(-z * z) * t * (0.254829592f + t * (-0.284496736f + t *\n"
             "    (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));\n"
             "  return x < 0.0f ? (x < -40.0f ? -40.0f : x) * tail : x * (1.0f - tail); }";
    case Activation::mish:
      return "{ const float e = expf(x < -80.0f ? -80.0f : x > 40.0f ? 40.0f : x), n = e * (e + 2.0f);\n"
             "  return x * (n / (n + 2.0f)); }";
    case Activation::tanh:
      return "tanhf(x)";
  }
  return "x";
}

// The shortest decimal that reads back as the same float, as a C literal.
MAA_COLD inline void append_c_float(std::string& text, float value) {
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
  const std::string_view number(digits.data(), end);
  text += number;
  text += number.find_first_of(".e") == number.npos ? ".0f" : "f";
}

}  // namespace detail

MAA_COLD MAA_INLINE std::string c_header_text(const ExportedPolicy& policy, std::string_view name,
                                              const PolicyMetadata& metadata) {
  const auto identifier = [](std::string_view text) {
    const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
    return !text.empty() && letter(text.front()) &&
           std::ranges::all_of(text, [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
  };
  require(identifier(name), "C header: expected a name that is a C identifier, found ", detail::quote(name));
  const std::string prefix(name);
  std::string text = "/* A policy written by maa: " + concatenate(policy.observations()) + " observations, " +
                     concatenate(policy.actions()) + " actions. C99 and C++. */\n";
  for (const auto& [key, value] : metadata) {
    std::string line = key + ": " + value;
    for (auto& c : line) {
      c = c == '*' || c == '?' || c == '\\' || static_cast<unsigned char>(c) < ' ' ? ' '
                                                                                   : c;  // ends no comment
    }
    text += "/* " + line + " */\n";
  }
  text += "#ifndef MAA_POLICY_" + prefix + "\n#define MAA_POLICY_" + prefix + "\n#include <math.h>\n";
  text += "enum { " + prefix + "_observation_size = " + concatenate(policy.observations()) + ", " + prefix +
          "_action_size = " + concatenate(policy.actions()) + " };\n";
  const auto array = [&](const std::string& what, std::span<const float> values) {
    text += "static const float " + prefix + "_" + what + "[] = {";
    for (std::size_t i = 0; i < values.size(); ++i) {
      text += i % 8 == 0 ? "\n  " : " ";
      detail::append_c_float(text, values[i]);
      text += ',';
    }
    text += "\n};\n";
  };
  const auto layers = policy.layers();
  std::vector<Activation> needed;
  Index widest = policy.observations();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const bool last = i + 1 == layers.size();
    array(last ? "mean_weight" : concatenate("layers_", i, "_weight"), policy.weight(layers[i]));
    array(last ? "mean_bias" : concatenate("layers_", i, "_bias"), policy.bias(layers[i]));
    widest = std::max(widest, layers[i].out);
    if (std::ranges::find(needed, layers[i].activation) == needed.end()) {
      needed.push_back(layers[i].activation);
    }
  }
  if (policy.squash == Squash::tanh && std::ranges::find(needed, Activation::tanh) == needed.end()) {
    needed.push_back(Activation::tanh);
  }
  array("action_centre", policy.centre);
  array("action_half_width", policy.half_width);
  if (!policy.mean.empty()) {
    array("observation_mean", policy.mean);
    array("observation_scale", policy.scale);
  }
  const auto function_of = [&](Activation activation) {
    return prefix + "_" + std::string(detail::name_of(activation));
  };
  for (const auto activation : needed) {
    const auto body = std::string(detail::c_activation(activation));
    text += "static inline float " + function_of(activation) + "(float x) " +
            (body.front() == '{' ? body : "{ return " + body + "; }") + "\n";
  }
  // Four sums, so that a compiler may vectorise, and rounding errors stay small.
  text += "static inline void " + prefix +
          "_linear(const float* weight, const float* bias, int in, int out, const float* x, float* y) {\n"
          "  int i, j;\n"
          "  for (i = 0; i < out; ++i, weight += in) {\n"
          "    float a = 0.0f, b = 0.0f, c = 0.0f, d = 0.0f;\n"
          "    for (j = 0; j + 4 <= in; j += 4) {\n"
          "      a += weight[j] * x[j];\n"
          "      b += weight[j + 1] * x[j + 1];\n"
          "      c += weight[j + 2] * x[j + 2];\n"
          "      d += weight[j + 3] * x[j + 3];\n"
          "    }\n"
          "    for (; j < in; ++j) {\n"
          "      a += weight[j] * x[j];\n"
          "    }\n"
          "    y[i] = bias[i] + ((a + b) + (c + d));\n"
          "  }\n"
          "}\n";
  text += "static inline void " + prefix + "_act(const float* observation, float* action) {\n  float x[" +
          concatenate(widest) + "], y[" + concatenate(widest) + "];\n  int i;\n";
  text += "  for (i = 0; i < " + concatenate(policy.observations()) + "; ++i) {\n";
  if (policy.mean.empty()) {
    text += "    x[i] = observation[i];\n";
  } else {
    text += "    x[i] = (observation[i] - " + prefix + "_observation_mean[i]) * " + prefix +
            "_observation_scale[i];\n";
    if (policy.clip < no_clip) {
      std::string clip;
      detail::append_c_float(clip, policy.clip);
      text +=
          "    x[i] = x[i] < -" + clip + " ? -" + clip + " : x[i] > " + clip + " ? " + clip + " : x[i];\n";
    }
  }
  text += "  }\n";
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& layer = layers[i];
    const bool last = i + 1 == layers.size();
    const auto which = prefix + (last ? "_mean" : concatenate("_layers_", i));
    text += "  " + prefix + "_linear(" + which + "_weight, " + which + "_bias, " + concatenate(layer.in) +
            ", " + concatenate(layer.out) + ", x, y);\n  for (i = 0; i < " + concatenate(layer.out) +
            "; ++i) {\n";
    if (!last) {
      text += "    x[i] = " + function_of(layer.activation) + "(y[i]);\n";
    } else {
      text += policy.squash == Squash::tanh ? "    y[i] = " + function_of(Activation::tanh) + "(y[i]);\n"
              : policy.squash == Squash::clip
                  ? "    y[i] = y[i] < -1.0f ? -1.0f : y[i] > 1.0f ? 1.0f : y[i];\n"
                  : "";
      text +=
          "    action[i] = " + prefix + "_action_centre[i] + " + prefix + "_action_half_width[i] * y[i];\n";
    }
    text += "  }\n";
  }
  text += "}\n#endif\n";
  return text;
}

#endif

template <class Network, Storage storage>
void save_c_header(const std::filesystem::path& path, const MlpPolicy<Network, storage>& policy,
                   std::string_view name, const PolicyMetadata& metadata) {
  write_file_atomically(path, c_header_text(ExportedPolicy(policy), name, metadata));
}

MAA_NAMESPACE_END

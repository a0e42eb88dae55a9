// What is measured, one class per case: the benchmarks and the comparison with peers run the same calls. A
// case makes its weights and inputs from fixed seeds, and can write them down for a peer to compute the same.
//
// Names: sample/<model>/<batch>, sample_bf16/... (bfloat16 weights), sample_bf16_units/..., forward/...,
// train/..., adamw/<model>, autoencoder_train/<model>/<batch>, autoencoder_decode/..., embedder_train/...,
// generate/<model>/<policies>, act, act_bf16, act_rows/<observations>, policies/<policies>,
// behavior/<policies>/<observations>, product/<rows>/<in>/<out>. Models: paper, medium, small (the paper's
// with narrower levels), default (DefaultConfig), tiny and tiny_default (for tests on an emulated device).
#pragma once

#include "model_cases.hpp"
#include "policy_cases.hpp"

#include <memory>
#include <string>

namespace bench {

namespace detail {

// On any backend. The precision is that of weights in inference.
template <class Config, class BackendT>
std::unique_ptr<Case> make_model_case(const std::string& kind, Index batch, const BackendT& backend,
                                      maa::Precision precision) {
  using S = Setup<Config>;
  if (kind == "forward") return std::make_unique<Forward<S, BackendT>>(backend, batch);
  if (kind == "sample") return std::make_unique<Sample<S, BackendT>>(backend, batch, precision);
  if (kind == "train") return std::make_unique<Train<S, BackendT>>(backend, batch);
  if (kind == "adamw") return std::make_unique<AdamW<S, BackendT>>(backend);
  constexpr bool narrow = std::is_same_v<Config, MediumConfig> || std::is_same_v<Config, SmallConfig>;
  if constexpr (!narrow) {
    if (kind == "autoencoder_train") return std::make_unique<AutoencoderTrain<S, BackendT>>(backend, batch);
    if (kind == "autoencoder_decode") return std::make_unique<AutoencoderDecode<S, BackendT>>(backend, batch);
    if (kind == "embedder_train") return std::make_unique<EmbedderTrain<S, BackendT>>(backend, batch);
  }
  if constexpr (S::is_default) {
    if (kind == "generate") return std::make_unique<Generate<S, BackendT>>(backend, batch, precision);
  }
  return nullptr;
}

inline Index number(const std::vector<std::string>& parts, std::size_t i) {
  return i < parts.size() ? static_cast<Index>(std::strtol(parts[i].c_str(), nullptr, 10)) : 0;
}

}  // namespace detail

// A case that runs on any backend, or null. `parts` are the name's; the precision is that of weights in
// inference.
template <class BackendT>
std::unique_ptr<Case> make_case_on(const BackendT& backend, const std::vector<std::string>& parts,
                                   maa::Precision precision) {
  const auto& kind = parts[0];
  if (kind == "policies") {
    return std::make_unique<Policies<BackendT>>(backend, detail::number(parts, 1));
  }
  if (kind == "behavior") {
    return std::make_unique<Behavior<BackendT>>(backend, detail::number(parts, 1), detail::number(parts, 2));
  }
  const Index batch = detail::number(parts, 2);
  const std::string model = parts.size() > 1 ? parts[1] : "";
  const auto make = [&]<class Config>(const Config&) {
    return detail::make_model_case<Config>(kind, batch, backend, precision);
  };
  if (model == "paper") return make(maa::PaperConfig());
  if constexpr (maa::in_host_memory<BackendT>) {
    if (model == "medium") return make(MediumConfig());
    if (model == "small") return make(SmallConfig());
  }
  if (model == "default") return make(maa::DefaultConfig());
  if (model == "tiny") return make(TinyConfig());
  if (model == "tiny_default") return make(TinyDefaultConfig());
  return nullptr;
}

// On the CPU. Null for a name that means nothing, or something that the library does not do.
inline std::unique_ptr<Case> make_case(const std::string& name, int threads) {
  auto parts = split_name(name);
  const auto number = [&](std::size_t i) { return detail::number(parts, i); };
  auto& kind = parts[0];
  if (kind == "act") return std::make_unique<Act<maa::Storage::fp32>>();
  if (kind == "act_bf16") return std::make_unique<Act<maa::Storage::bf16>>();
  if (kind == "act_rows") return std::make_unique<ActRows>(number(1));
  if (kind == "product") return std::make_unique<Product>(number(1), number(2), number(3), threads);
  auto precision = maa::Precision::fp32;
  if (kind == "sample_bf16" || kind == "sample_bf16_units") {
    precision = kind == "sample_bf16" ? maa::Precision::bf16_weights : maa::Precision::bf16;
    kind = "sample";
  }
  return make_case_on(Backend(threads), parts, precision);
}

}  // namespace bench

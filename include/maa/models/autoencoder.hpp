// The parameter autoencoder (eq. 5): policy weights [batch, parameters] <-> latent [batch, tokens, latent].
#pragma once

#include <maa/nn/sequential.hpp>

MAA_NAMESPACE_BEGIN

namespace detail {

// Depth linear layers without bias with GELU between: In -> Middle -> ... -> Middle -> Out. `start` is the
// last one's.
template <Index Depth, Extent In, Extent Middle, Extent Out, Start start, class... Done>
struct LinearStack {
  static_assert(Depth >= 1, "an encoder or decoder has at least one linear layer");
  using type = typename LinearStack<Depth - 1, Middle, Middle, Out, start, Done..., LinearNoBias<In, Middle>,
                                    Activate<Middle, Activation::gelu>>::type;
};
template <Extent In, Extent Middle, Extent Out, Start start, class... Done>
struct LinearStack<1, In, Middle, Out, start, Done...> {
  using type = Sequential<Done..., LinearNoBias<In, Out, start>>;
};

}  // namespace detail

// Whose LayerNorm a token's latent passes: its own, or one that all tokens share (the public code).
enum class LatentNorm { per_token, shared };
constexpr std::array<std::string_view, 2> names_of(LatentNorm) {
  return {"per_token", "shared"};
}

// One encoder, LayerNorm (LatentNorm) and decoder per token of the policy network. Depth 1 is one linear map
// (the paper's Table 1 and the public code). A decoder that starts at zero gives every latent the same policy
// at first; it is for decoders that learn from behaviour (the encoders would get no gradient in their first
// step).
template <class Network, Index Latent = 1024, Index HiddenSize = 1024, Index EncoderDepth = 1,
          Index DecoderDepth = 1, Start decoder_start = Start::random,
          LatentNorm latent_norm = LatentNorm::per_token>
struct Autoencoder {
  static constexpr auto token_count = Network::token_count;
  static constexpr Index latent_size = Latent;
  static constexpr auto parameter_size = parameter_count<Network>;

  template <std::size_t Token>
  using Encoder = typename detail::LinearStack<EncoderDepth, Network::token_sizes[Token], HiddenSize, Latent,
                                               Start::random>::type;
  template <std::size_t Token>
  using Decoder = typename detail::LinearStack<DecoderDepth, Latent, HiddenSize, Network::token_sizes[Token],
                                               decoder_start>::type;

 private:
  static constexpr std::size_t most_tokens = Network::token_sizes.size();
  static constexpr std::size_t norm_count = latent_norm == LatentNorm::shared ? 1 : most_tokens;
  using TokenIndices = std::make_index_sequence<most_tokens>;

 public:
  // By token; of a network that has fewer than it might have, the rest is unset.
  template <class T>
  struct Weights {
    std::array<typename Encoder<0>::template Weights<T>, most_tokens> encoders;
    std::array<WeightAndBias<T>, norm_count> norms;
    std::array<typename Decoder<0>::template Weights<T>, most_tokens> decoders;
  };
  template <class T>
  struct Encoded {
    std::array<typename Encoder<0>::template Saved<T>, most_tokens> encoders;
    std::array<MatrixView<T>, most_tokens> statistics;
    SequenceView<T> latent;  // [batch, tokens, Latent]
  };
  template <class T>
  struct Decoded {
    std::array<typename Decoder<0>::template Saved<T>, most_tokens> decoders;
    MatrixView<T> parameters;  // [batch, parameter_size]
  };

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    for_described([&]<std::size_t At>() {
      visit.template child<Encoder<At>>("encoders", static_cast<Index>(At), w.encoders[At]...);
    });
    if constexpr (latent_norm == LatentNorm::shared) {
      visit.template child<LayerNorm<Latent>>("norm", w.norms[0]...);
    } else {
      for_described([&]<std::size_t At>() {
        visit.template child<LayerNorm<Latent>>("norms", static_cast<Index>(At), w.norms[At]...);
      });
    }
    DecodersOnly::describe(visit, w...);
  }
  template <class Visitor>
  static constexpr void describe_structure(Visitor& visit) {
    visit("latent", Latent);
    visit("hidden", HiddenSize);
    visit("encoder_depth", EncoderDepth);
    visit("decoder_depth", DecoderDepth);
    visit("decoder_start", decoder_start);
    visit("latent_norm", latent_norm);
  }
  // The decoders, the last part of the description, for training them alone.
  struct DecodersOnly {
    template <class T>
    using Weights = Autoencoder::Weights<T>;
    template <class Visitor, class... W>
    static constexpr void describe(Visitor& visit, W&... w) {
      for_described([&]<std::size_t At>() {
        visit.template child<Decoder<At>>("decoders", static_cast<Index>(At), w.decoders[At]...);
      });
    }
  };

  // x [batch, parameter_size] must outlive the result, which lies in `workspace`.
  template <class Backend, class T>
  static Encoded<T> encode(const Backend& backend, const Weights<const T>& w, MatrixView<const T> x,
                           WorkspaceOf<Backend>& workspace) {
    require_shape(x, x.rows, parameter_size, "autoencoder input");
    Encoded<T> saved;
    saved.latent = workspace.template sequence<T>(x.rows, token_count, Latent);
    for_tokens([&](std::size_t token, Index offset, Index size) {
      auto& encoder = saved.encoders[token];
      encoder = sequential_forward(backend, encoder_layers(token), w.encoders[token],
                                   x.col_range(offset, size), workspace);
      saved.statistics[token] = workspace.template matrix<T>(x.rows, 2);
      const auto& norm = w.norms[norm_of(token)];
      layer_norm_forward(backend, layer_norm_epsilon, MatrixView<const T>(encoder.output()), norm.weight,
                         norm.bias, saved.latent.position(static_cast<Index>(token)),
                         saved.statistics[token]);
    });
    return saved;
  }

  // dlatent [batch, tokens, Latent] -> parameter gradients; the gradient for x is not formed.
  template <class Backend, class T>
  static void encode_backward(const Backend& backend, const Weights<const T>& w, const Encoded<T>& saved,
                              SequenceView<const T> dlatent, const Weights<T>& gradients,
                              WorkspaceOf<Backend>& workspace) {
    const auto scope = workspace.scope();
    auto dencoded = workspace.template matrix<T>(dlatent.batch, Latent);
    for_tokens([&](std::size_t token, Index, Index) {
      const auto& encoder = saved.encoders[token];
      const auto norm = norm_of(token);
      layer_norm_backward(backend, MatrixView<const T>(encoder.output()), saved.statistics[token],
                          w.norms[norm].weight, dlatent.position(static_cast<Index>(token)), dencoded,
                          gradients.norms[norm].weight, gradients.norms[norm].bias);
      sequential_backward(backend, encoder_layers(token), w.encoders[token], encoder,
                          MatrixView<const T>(dencoded), gradients.encoders[token], MatrixView<T>(),
                          workspace);
    });
  }

  // latent [batch, tokens, Latent] must outlive the result.
  template <class Backend, class T>
  static Decoded<T> decode(const Backend& backend, const Weights<const T>& w, SequenceView<const T> latent,
                           WorkspaceOf<Backend>& workspace) {
    require_shape(latent, latent.batch, token_count, Latent, "autoencoder latent");
    Decoded<T> saved;
    saved.parameters = workspace.template matrix<T>(latent.batch, parameter_size);
    for_tokens([&](std::size_t token, Index offset, Index size) {
      auto& decoder = saved.decoders[token];
      decoder = sequential_forward(backend, decoder_layers(token), w.decoders[token],
                                   latent.position(static_cast<Index>(token)), workspace);
      copy_matrix(backend, decoder.output(), saved.parameters.col_range(offset, size));
    });
    return saved;
  }

  // dparameters [batch, parameter_size] -> parameter gradients and dlatent (overwritten).
  template <class Backend, class T>
  static void decode_backward(const Backend& backend, const Weights<const T>& w, const Decoded<T>& saved,
                              MatrixView<const T> dparameters, const Weights<T>& gradients,
                              SequenceView<T> dlatent, WorkspaceOf<Backend>& workspace) {
    for_tokens([&](std::size_t token, Index offset, Index size) {
      sequential_backward(backend, decoder_layers(token), w.decoders[token], saved.decoders[token],
                          dparameters.col_range(offset, size), gradients.decoders[token],
                          dlatent.position(static_cast<Index>(token)), workspace);
    });
  }

 private:
  static constexpr std::size_t norm_of(std::size_t token) {
    return latent_norm == LatentNorm::shared ? 0 : token;
  }
  // The layers of a token's encoder and decoder, in numbers.
  static auto encoder_layers(std::size_t token) {
    return [&]<std::size_t... At>(std::index_sequence<At...>) {
      constexpr std::array of{&Encoder<At>::row_layers...};
      return of[token]();
    }
    (TokenIndices{});
  }
  static auto decoder_layers(std::size_t token) {
    return [&]<std::size_t... At>(std::index_sequence<At...>) {
      constexpr std::array of{&Decoder<At>::row_layers...};
      return of[token]();
    }
    (TokenIndices{});
  }
  // Calls body(token, its offset in the flat vector, its size).
  template <class Body>
  static void for_tokens(const Body& body) {
    Index offset = 0;
    for (std::size_t token = 0; token < static_cast<std::size_t>(Index(token_count)); ++token) {
      const Index size = Network::token_sizes[token];
      body(token, offset, size);
      offset += size;
    }
  }
  // Calls body.operator()<token>().
  template <class Body>
  static constexpr void for_described(const Body& body) {
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      ((static_cast<Index>(At) < token_count ? body.template operator()<At>() : void()), ...);
    }
    (TokenIndices{});
  }
};

MAA_NAMESPACE_END

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
  static constexpr Index token_count = Network::token_count;
  static constexpr Index latent_size = Latent;
  static constexpr auto parameter_size = parameter_count<Network>;

  template <std::size_t Token>
  using Encoder = typename detail::LinearStack<EncoderDepth, Network::token_sizes[Token], HiddenSize, Latent,
                                               Start::random>::type;
  template <std::size_t Token>
  using Decoder = typename detail::LinearStack<DecoderDepth, Latent, HiddenSize, Network::token_sizes[Token],
                                               decoder_start>::type;
  using Norm = LayerNorm<Latent>;
  static constexpr Index norm_count = latent_norm == LatentNorm::shared ? 1 : token_count;
  using TokenIndices = std::make_index_sequence<static_cast<std::size_t>(token_count)>;

 private:
  template <class Indices>
  struct Parts;
  template <std::size_t... At>
  struct Parts<std::index_sequence<At...>> {
    template <class T>
    struct Weights {
      std::tuple<typename Encoder<At>::template Weights<T>...> encoders;
      std::array<WeightAndBias<T>, static_cast<std::size_t>(norm_count)> norms;
      std::tuple<typename Decoder<At>::template Weights<T>...> decoders;
    };
    template <class T>
    struct Encoded {
      std::tuple<typename Encoder<At>::template Saved<T>...> encoders;
      std::array<MatrixView<T>, sizeof...(At)> statistics;
      SequenceView<T> latent;  // [batch, tokens, Latent]
    };
    template <class T>
    struct Decoded {
      std::tuple<typename Decoder<At>::template Saved<T>...> decoders;
      MatrixView<T> parameters;  // [batch, parameter_size]
    };
  };

 public:
  template <class T>
  using Weights = typename Parts<TokenIndices>::template Weights<T>;
  template <class T>
  using Encoded = typename Parts<TokenIndices>::template Encoded<T>;
  template <class T>
  using Decoded = typename Parts<TokenIndices>::template Decoded<T>;

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      (describe_encoder<At>(visit, w...), ...);
    }
    (TokenIndices{});
    if constexpr (latent_norm == LatentNorm::shared) {
      visit.template child<Norm>("norm", w.norms[0]...);
    } else {
      [&]<std::size_t... At>(std::index_sequence<At...>) {
        (describe_norm<At>(visit, w...), ...);
      }
      (TokenIndices{});
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
      [&]<std::size_t... At>(std::index_sequence<At...>) {
        (describe_decoder<At>(visit, w...), ...);
      }
      (TokenIndices{});
    }
  };

  // x [batch, parameter_size] must outlive the result, which lies in `workspace`.
  template <class Backend, class T>
  static Encoded<T> encode(const Backend& backend, const Weights<const T>& w, MatrixView<const T> x,
                           WorkspaceOf<Backend>& workspace) {
    require_shape(x, x.rows, parameter_size, "autoencoder input");
    Encoded<T> saved;
    saved.latent = workspace.template sequence<T>(x.rows, token_count, Latent);
    for_tokens([&]<std::size_t At>(Index offset) {
      auto& encoder = std::get<At>(saved.encoders);
      encoder = Encoder<At>::forward(backend, std::get<At>(w.encoders),
                                     x.col_range(offset, Network::token_sizes[At]), workspace);
      saved.statistics[At] =
          Norm::forward(backend, w.norms[norm_of(At)], MatrixView<const T>(encoder.output()),
                        saved.latent.position(static_cast<Index>(At)), workspace);
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
    for_tokens([&]<std::size_t At>(Index) {
      const auto& encoder = std::get<At>(saved.encoders);
      Norm::backward(backend, w.norms[norm_of(At)], saved.statistics[At],
                     MatrixView<const T>(encoder.output()), dlatent.position(static_cast<Index>(At)),
                     gradients.norms[norm_of(At)], dencoded);
      Encoder<At>::backward(backend, std::get<At>(w.encoders), encoder, MatrixView<const T>(dencoded),
                            std::get<At>(gradients.encoders), MatrixView<T>(), workspace);
    });
  }

  // latent [batch, tokens, Latent] must outlive the result.
  template <class Backend, class T>
  static Decoded<T> decode(const Backend& backend, const Weights<const T>& w, SequenceView<const T> latent,
                           WorkspaceOf<Backend>& workspace) {
    require_shape(latent, latent.batch, token_count, Latent, "autoencoder latent");
    Decoded<T> saved;
    saved.parameters = workspace.template matrix<T>(latent.batch, parameter_size);
    for_tokens([&]<std::size_t At>(Index offset) {
      auto& decoder = std::get<At>(saved.decoders);
      decoder = Decoder<At>::forward(backend, std::get<At>(w.decoders),
                                     latent.position(static_cast<Index>(At)), workspace);
      copy_matrix(backend, decoder.output(), saved.parameters.col_range(offset, Network::token_sizes[At]));
    });
    return saved;
  }

  // dparameters [batch, parameter_size] -> parameter gradients and dlatent (overwritten).
  template <class Backend, class T>
  static void decode_backward(const Backend& backend, const Weights<const T>& w, const Decoded<T>& saved,
                              MatrixView<const T> dparameters, const Weights<T>& gradients,
                              SequenceView<T> dlatent, WorkspaceOf<Backend>& workspace) {
    for_tokens([&]<std::size_t At>(Index offset) {
      Decoder<At>::backward(backend, std::get<At>(w.decoders), std::get<At>(saved.decoders),
                            dparameters.col_range(offset, Network::token_sizes[At]),
                            std::get<At>(gradients.decoders), dlatent.position(static_cast<Index>(At)),
                            workspace);
    });
  }

 private:
  static constexpr std::size_t norm_of(std::size_t token) {
    return latent_norm == LatentNorm::shared ? 0 : token;
  }
  // Calls body.operator()<At>(offset of token At in the flat vector).
  template <class Body>
  static void for_tokens(const Body& body) {
    Index offset = 0;
    [&]<std::size_t... At>(std::index_sequence<At...>) {
      ((body.template operator()<At>(offset), offset += Network::token_sizes[At]), ...);
    }
    (TokenIndices{});
  }
  template <std::size_t At, class Visitor, class... W>
  static constexpr void describe_encoder(Visitor& visit, W&... w) {
    visit.template child<Encoder<At>>("encoders", static_cast<Index>(At), std::get<At>(w.encoders)...);
  }
  template <std::size_t At, class Visitor, class... W>
  static constexpr void describe_norm(Visitor& visit, W&... w) {
    visit.template child<Norm>("norms", static_cast<Index>(At), std::get<At>(w.norms)...);
  }
  template <std::size_t At, class Visitor, class... W>
  static constexpr void describe_decoder(Visitor& visit, W&... w) {
    visit.template child<Decoder<At>>("decoders", static_cast<Index>(At), std::get<At>(w.decoders)...);
  }
};

MAA_NAMESPACE_END

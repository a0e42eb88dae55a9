// What a policy's network is, as values.
#pragma once

#include <maa/core/options.hpp>
#include <maa/models/mlp_network.hpp>

#include <map>

MAA_NAMESPACE_BEGIN

// An MlpNetwork's description as values.
struct PolicyShape {
  Index observations = 1;                                     // O
  Index actions = 1;                                          // A
  std::vector<Index> hidden{1};                               // units of each hidden layer
  std::vector<Activation> activations{Activation::identity};  // of each hidden layer
  Heads heads = Heads::mean;                                  // what reads the last hidden layer
  Squash squash = Squash::none;                               // what follows the mean head
  Tokens tokens = Tokens::heads_with_last_hidden;             // how a generator cuts the weights

  bool operator==(const PolicyShape&) const = default;

  // As MlpNetwork's describe_structure: files name these, after a prefix.
  template <class Visitor, class Self>
  static constexpr void describe(Visitor& visit, Self& self) {
    visit("observations", between(1, largest), self.observations);
    visit("actions", between(1, largest), self.actions);
    visit("hidden", between(1, largest).up_to(64), self.hidden);
    visit("activations", Limits().up_to(64), self.activations);
    visit("heads", self.heads);
    visit("squash", self.squash);
    visit("tokens", self.tokens);
  }
  // P, of all layers and heads.
  Index parameter_count() const;
  // Error, with `where` before it, unless there is a layer, and an activation for each.
  void check(std::string_view where) const;

  // A network's: fixed, or as it was set.
  template <class Network>
  static PolicyShape of() {
    return {
        Network::observation_size,
        Network::action_size,
        {Network::hidden_sizes.begin(), Network::hidden_sizes.begin() + Network::hidden_count},
        {Network::hidden_activations.begin(), Network::hidden_activations.begin() + Network::hidden_count},
        Network::heads,
        Network::squash,
        Network::tokens};
  }

  // Of each number of observations, actions or units: far beyond what is in use.
  static constexpr double largest = 1e6;
};

// What of a policy differs, each field named; empty if nothing does. Tokens do not count: they are how a
// generator cuts weights, not what a policy is.
std::string differences(PolicyShape expected, const PolicyShape& found);

namespace detail {
inline constexpr std::string_view policy_prefix = "policy.";
// All fields but tokens, named with policy_prefix.
Fields policy_fields(const PolicyShape& shape);
// Fields named with `prefix`; tokens may be missing. Error, with `where` before it, if one is not right.
PolicyShape read_policy_shape(std::map<std::string, std::string> texts, std::string_view prefix,
                              std::string_view where);
}  // namespace detail

#if MAA_BODIES

MAA_COLD MAA_INLINE Index PolicyShape::parameter_count() const {
  Index count = 0, inputs = observations;
  for (const Index units : hidden) {
    count += (inputs + 1) * units;
    inputs = units;
  }
  return count + (inputs + 1) * actions * (heads == Heads::mean_and_log_std ? 2 : 1);
}

MAA_COLD MAA_INLINE void PolicyShape::check(std::string_view where) const {
  check_fields(*this, where);
  require(!hidden.empty() && hidden.size() == activations.size(), where,
          ": expected at least one hidden layer and an activation for each, found ", hidden.size(), " and ",
          activations.size());
}

MAA_COLD MAA_INLINE PolicyShape detail::read_policy_shape(std::map<std::string, std::string> texts,
                                                          std::string_view prefix, std::string_view where) {
  texts.try_emplace(concatenate(prefix, "tokens"), detail::name_of(PolicyShape().tokens));
  const auto shape = read_fields<PolicyShape>(texts, where, prefix);
  shape.check(where);
  return shape;
}

MAA_COLD MAA_INLINE Fields detail::policy_fields(const PolicyShape& shape) {
  auto fields = fields_of(shape, policy_prefix);
  std::erase_if(fields, [](const Field& field) { return field.name == "policy.tokens"; });
  return fields;
}

MAA_COLD MAA_INLINE std::string differences(PolicyShape expected, const PolicyShape& found) {
  expected.tokens = found.tokens;
  std::map<std::string, std::string> texts;
  for (const auto& field : fields_of(found)) {
    texts[field.name] = field.text;
  }
  return differences(fields_of(expected), texts, "");
}

#endif

MAA_NAMESPACE_END

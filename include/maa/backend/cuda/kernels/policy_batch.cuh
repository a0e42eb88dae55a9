// ---- Layers of many policies: each has its own bias.

struct PolicyBiasArguments {
  const float* bias;  // of the first policy, [units]
  float* raw;         // [policies, rows, units]: products, to which the biases are added
  float* activated;   // the same shape, or null
  float* features;    // one copy more, or null
  Int bias_policy;    // distance between the policies' biases
  Int units;
  Int policy_numbers;  // rows * units
  Int activation;
};

// raw += bias, activated = features = activation(raw).
MAA_DEVICE void policy_bias(Int i, const PolicyBiasArguments& a) {
  const float value = a.raw[i] + a.bias[i / a.policy_numbers * a.bias_policy + i % a.units];
  a.raw[i] = value;
  if (a.activated != nullptr) {
    const float y = activate(a.activation, value);
    a.activated[i] = y;
    if (a.features != nullptr) {
      a.features[i] = y;
    }
  }
}
MAA_PER_ELEMENT(policy_bias, PolicyBiasArguments)

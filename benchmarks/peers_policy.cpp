// A peer for one policy and one observation: Eigen with sizes known at compile time or, with PEER_RTNEURAL,
// RTNeural. Answers as peer_server.hpp says. Build with -O3 -march=native.
#include "peer_server.hpp"
#include "policy_cases.hpp"

#if PEER_RTNEURAL
#include <RTNeural/RTNeural.h>
#else
#include "peer_policy_eigen.hpp"
#endif

namespace {

#if PEER_RTNEURAL

constexpr int observation_count = 39, action_count = 4, hidden_count = 128;

// Reads a policy's flat weights layer by layer: W [out, in] row-major, then the bias.
class LayerReader {
 public:
  explicit LayerReader(const float* weights) : next_(weights) {}
  const float* take(int count) { return std::exchange(next_, next_ + count); }

 private:
  const float* next_;
};

class PeerNetwork {
 public:
  explicit PeerNetwork(const float* weights) {
    LayerReader reader(weights);
    load<observation_count, hidden_count>(model_.get<0>(), reader);
    load<hidden_count, hidden_count>(model_.get<2>(), reader);
    load<hidden_count, action_count>(model_.get<4>(), reader);
    model_.reset();
  }
  void act(const float* observation, float* action) {
    std::copy_n(observation, observation_count, input_);
    model_.forward(input_);
    std::copy_n(model_.getOutputs(), action_count, action);
  }

 private:
  template <int In, int Out, class Layer>
  static void load(Layer& layer, LayerReader& reader) {
    const float* weight = reader.take(In * Out);
    std::vector<std::vector<float>> rows;
    for (int i = 0; i < Out; ++i) {
      rows.emplace_back(weight + i * In, weight + (i + 1) * In);
    }
    layer.setWeights(rows);
    layer.setBias(reader.take(Out));
  }

  RTNeural::ModelT<
      float, observation_count, action_count, RTNeural::DenseT<float, observation_count, hidden_count>,
      RTNeural::ELuActivationT<float, hidden_count>, RTNeural::DenseT<float, hidden_count, hidden_count>,
      RTNeural::ReLuActivationT<float, hidden_count>, RTNeural::DenseT<float, hidden_count, action_count>,
      RTNeural::TanhActivationT<float, action_count>>
      model_;
  alignas(RTNEURAL_DEFAULT_ALIGNMENT) float input_[observation_count + 16] = {};
};

#else

using PeerNetwork = peer::EigenPolicy;

#endif

class PeerAct : public bench::PolicyCase {
 public:
  PeerAct()
      : PolicyCase(1, count),
        network_(std::make_unique<PeerNetwork>(weights_.data())),
        actions_(count * action_size) {}
  void run() override {
    next_ = (next_ + 1) % count;
    network_->act(observations_.data() + next_ * observation_size, actions_.data() + next_ * action_size);
  }
  bench::Work work() const override { return {2 * used, 0, 0}; }
  int runs_to_check() const override { return count; }
  std::vector<float> outcome() const override { return bench::to_vector(actions_.span()); }

 private:
  static constexpr int count = 64;
  std::unique_ptr<PeerNetwork> network_;
  bench::Buffer<float> actions_;
  bench::Index next_ = 0;
};

std::unique_ptr<bench::Case> make(const std::string& name, int) {
  return name == "act" || name == "act_bf16" ? std::make_unique<PeerAct>() : nullptr;
}

}  // namespace

int main() {
  return bench::PeerServer(make, false).serve();
}

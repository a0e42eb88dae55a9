// A policy as an ONNX model. Not part of maa.hpp: it needs protozero (Debian: libprotozero-dev).
#pragma once

#include <maa/io/atomic_file.hpp>
#include <maa/io/exported_policy.hpp>

#include <protozero/pbf_builder.hpp>

#include <bit>

MAA_NAMESPACE_BEGIN
namespace detail {

// The fields of onnx.proto3 that are written.
namespace onnx {
enum class Model : protozero::pbf_tag_type {
  ir_version = 1,
  producer_name = 2,
  graph = 7,
  opset_import = 8,
  metadata_props = 14
};
enum class Opset : protozero::pbf_tag_type { version = 2 };
enum class Entry : protozero::pbf_tag_type { key = 1, value = 2 };
enum class Graph : protozero::pbf_tag_type { node = 1, name = 2, initializer = 5, input = 11, output = 12 };
enum class Node : protozero::pbf_tag_type { input = 1, output = 2, name = 3, op_type = 4, attribute = 5 };
enum class Attribute : protozero::pbf_tag_type { name = 1, integer = 3, type = 20 };
enum class Tensor : protozero::pbf_tag_type { dims = 1, data_type = 2, name = 8, raw_data = 9 };
enum class Value : protozero::pbf_tag_type { name = 1, type = 2 };
enum class Type : protozero::pbf_tag_type { tensor_type = 1 };
enum class TensorType : protozero::pbf_tag_type { elem_type = 1, shape = 2 };
enum class Shape : protozero::pbf_tag_type { dim = 1 };
enum class Dimension : protozero::pbf_tag_type { dim_value = 1, dim_param = 2 };

inline constexpr std::int32_t float_type = 1;
inline constexpr std::int32_t integer_attribute = 2;
inline constexpr std::int64_t ir_version = 8;
inline constexpr std::int64_t opset = 18;  // the first with Mish
}  // namespace onnx

// Appends nodes to a graph, each of which reads what the one before it wrote.
class OnnxGraph {
 public:
  explicit OnnxGraph(std::string& graph) : graph_(graph) {}

  void tensor(const std::string& name, std::span<const Index> shape, std::span<const float> values) {
    static_assert(std::endian::native == std::endian::little, "raw_data is little-endian");
    protozero::pbf_builder<onnx::Tensor> tensor(graph_, onnx::Graph::initializer);
    for (const Index size : shape) {
      tensor.add_int64(onnx::Tensor::dims, size);
    }
    tensor.add_int32(onnx::Tensor::data_type, onnx::float_type);
    tensor.add_string(onnx::Tensor::name, name);
    const auto bytes = std::as_bytes(values);
    tensor.add_bytes(onnx::Tensor::raw_data, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  void row(const std::string& name, std::span<const float> values) {
    const std::array<Index, 1> shape{std::ssize(values)};
    tensor(name, shape, values);
  }
  void scalar(const std::string& name, float value) { tensor(name, {}, {&value, 1}); }

  // `others` follow the value so far among the node's inputs; `transposed`: Gemm's second matrix.
  void apply(const char* op, std::initializer_list<std::string> others, bool transposed = false) {
    node(op, current_, others, transposed, concatenate("value_", count_++));
  }
  void activate(Activation activation) {
    switch (activation) {
      case Activation::identity:
        break;
      case Activation::relu:
        return apply("Relu", {});
      case Activation::elu:
        return apply("Elu", {});
      case Activation::mish:
        return apply("Mish", {});
      case Activation::tanh:
        return apply("Tanh", {});
      case Activation::gelu: {  // x (1 + erf(x / sqrt(2))) / 2: an operator of its own only from opset 20 on
        const auto x = current_;
        if (!std::exchange(has_gelu_, true)) {
          scalar("gelu_root", 0.70710678118654752f);
          scalar("gelu_one", 1);
          scalar("gelu_half", 0.5f);
        }
        apply("Mul", {"gelu_root"});
        apply("Erf", {});
        apply("Add", {"gelu_one"});
        apply("Mul", {x});
        return apply("Mul", {"gelu_half"});
      }
    }
  }
  // The last node's value is the output.
  void finish(const char* op, std::initializer_list<std::string> others, const std::string& output) {
    node(op, current_, others, false, output);
  }
  void begin(const std::string& input) { current_ = input; }
  // A tensor [batch, size] at the graph's border.
  void value(onnx::Graph border, const std::string& name, Index size) {
    protozero::pbf_builder<onnx::Value> value(graph_, border);
    value.add_string(onnx::Value::name, name);
    protozero::pbf_builder<onnx::Type> type(value, onnx::Value::type);
    protozero::pbf_builder<onnx::TensorType> tensor(type, onnx::Type::tensor_type);
    tensor.add_int32(onnx::TensorType::elem_type, onnx::float_type);
    protozero::pbf_builder<onnx::Shape> shape(tensor, onnx::TensorType::shape);
    protozero::pbf_builder<onnx::Dimension>(shape, onnx::Shape::dim)
        .add_string(onnx::Dimension::dim_param, "batch");
    protozero::pbf_builder<onnx::Dimension>(shape, onnx::Shape::dim)
        .add_int64(onnx::Dimension::dim_value, size);
  }
  void name(const std::string& text) { graph_.add_string(onnx::Graph::name, text); }

 private:
  void node(const char* op, const std::string& first, std::initializer_list<std::string> others,
            bool transposed, const std::string& output) {
    protozero::pbf_builder<onnx::Node> node(graph_, onnx::Graph::node);
    node.add_string(onnx::Node::input, first);
    for (const auto& other : others) {
      node.add_string(onnx::Node::input, other);
    }
    node.add_string(onnx::Node::output, output);
    node.add_string(onnx::Node::name, output);
    node.add_string(onnx::Node::op_type, op);
    if (transposed) {
      protozero::pbf_builder<onnx::Attribute> attribute(node, onnx::Node::attribute);
      attribute.add_string(onnx::Attribute::name, "transB");
      attribute.add_int64(onnx::Attribute::integer, 1);
      attribute.add_int32(onnx::Attribute::type, onnx::integer_attribute);
    }
    current_ = output;
  }

  protozero::pbf_builder<onnx::Graph> graph_;
  std::string current_;
  Index count_ = 0;
  bool has_gelu_ = false;
};

}  // namespace detail

// The bytes of an ONNX model (IR 8, opset 18): input "obs" [batch, O] of raw observations, output "actions"
// [batch, A], as MlpPolicy::act gives them up to rounding; scaling, clipping and the action box are inside.
// `metadata` becomes the model's metadata_props.
MAA_COLD inline std::string onnx_model(const ExportedPolicy& policy, const PolicyMetadata& metadata = {}) {
  using namespace detail;
  std::string graph_bytes;
  {
    OnnxGraph graph(graph_bytes);
    graph.name("policy");
    graph.value(onnx::Graph::input, "obs", policy.observations());
    graph.value(onnx::Graph::output, "actions", policy.actions());
    graph.begin("obs");
    if (!policy.mean.empty()) {
      graph.row("observation_mean", policy.mean);
      graph.row("observation_scale", policy.scale);
      graph.apply("Sub", {"observation_mean"});
      graph.apply("Mul", {"observation_scale"});
      if (policy.clip < no_clip) {
        graph.scalar("observation_low", -policy.clip);
        graph.scalar("observation_high", policy.clip);
        graph.apply("Clip", {"observation_low", "observation_high"});
      }
    }
    const auto layers = policy.layers();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto name = i + 1 == layers.size() ? std::string("mean") : concatenate("layers.", i);
      const std::array<Index, 2> shape{layers[i].out, layers[i].in};
      graph.tensor(name + ".weight", shape, policy.weight(layers[i]));
      graph.row(name + ".bias", policy.bias(layers[i]));
      graph.apply("Gemm", {name + ".weight", name + ".bias"}, true);
      graph.activate(layers[i].activation);
    }
    if (policy.squash == Squash::tanh) {
      graph.activate(Activation::tanh);
    } else if (policy.squash == Squash::clip) {
      graph.scalar("action_low", -1);
      graph.scalar("action_high", 1);
      graph.apply("Clip", {"action_low", "action_high"});
    }
    graph.row("action_half_width", policy.half_width);
    graph.row("action_centre", policy.centre);
    graph.apply("Mul", {"action_half_width"});
    graph.finish("Add", {"action_centre"}, "actions");
  }
  std::string bytes;
  protozero::pbf_builder<onnx::Model> model(bytes);
  model.add_int64(onnx::Model::ir_version, onnx::ir_version);
  model.add_string(onnx::Model::producer_name, "maa");
  model.add_message(onnx::Model::graph, graph_bytes);
  protozero::pbf_builder<onnx::Opset>(model, onnx::Model::opset_import)
      .add_int64(onnx::Opset::version, onnx::opset);
  for (const auto& [key, value] : metadata) {
    protozero::pbf_builder<onnx::Entry> entry(model, onnx::Model::metadata_props);
    entry.add_string(onnx::Entry::key, key);
    entry.add_string(onnx::Entry::value, value);
  }
  return bytes;
}

// Writes it, atomically.
template <class Network, Storage storage>
void save_onnx(const std::filesystem::path& path, const MlpPolicy<Network, storage>& policy,
               const PolicyMetadata& metadata = {}) {
  write_file_atomically(path, onnx_model(ExportedPolicy(policy), metadata));
}

MAA_NAMESPACE_END

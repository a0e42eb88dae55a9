// Inputs are made by the library as it is now, so that they go with its formats; only the last step is wrong.
#include "../temporary_folder.hpp"
#include "parts.hpp"
#include "targets.hpp"

#include <maa/io/npz_archive.hpp>

namespace fuzz {

using namespace maa;

namespace {

// The bytes that save(path) writes.
template <class Save>
std::string bytes_of(const std::string& name, const Save& save) {
  const test::TemporaryFolder folder;
  save(folder / name);
  return test::read_bytes(folder / name);
}

// The file with one thing changed.
template <class Change>
std::string with(const std::string& file, const Change& change) {
  auto parts = take_apart(file);
  require(parts.has_value(), "fuzz: expected a whole file");
  change(*parts);
  return put_together(*parts);
}
std::string with_metadata(const std::string& file, const std::string& key, const std::string& text) {
  return with(file, [&](Parts& parts) {
    require(parts.metadata.contains(key), "fuzz: expected metadata ", key);
    parts.metadata[key] = text;
  });
}
template <class T>
Parts::Tensor tensor(std::string name, Dtype dtype, std::vector<Index> shape, const std::vector<T>& values) {
  return {std::move(name), dtype, std::move(shape),
          std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
}
std::string with_tensor(const std::string& file, const Parts::Tensor& added) {
  return with(file, [&](Parts& parts) {
    std::erase_if(parts.tensors, [&](const auto& tensor) { return tensor.name == added.name; });
    parts.tensors.push_back(added);
  });
}
std::string with_number(const std::string& file, std::string_view name, float value) {
  return with(file,
              [&](Parts& parts) { std::memcpy(parts.tensor(name).bytes.data(), &value, sizeof value); });
}

std::string npy_of(const std::string& header, std::size_t data_bytes) {
  auto text = header;
  text.resize((text.size() + 74) / 64 * 64 - 11, ' ');
  const auto length = static_cast<std::uint16_t>(text.size() + 1);
  return std::string("\x93NUMPY\1\0", 8) + std::string(reinterpret_cast<const char*>(&length), 2) + text +
         '\n' + std::string(data_bytes, '\0');
}
std::string npy_of(const std::string& descr, const std::string& shape, std::size_t data_bytes) {
  return npy_of(concatenate("{'descr': '", descr, "', 'fortran_order': False, 'shape': ", shape, ", }"),
                data_bytes);
}

// An archive of a trajectory's arrays; success as given.
template <class T>
std::string npz_of(const Trajectory& trajectory, std::vector<Index> shape, const std::vector<T>& success) {
  NpzWriter writer;
  const auto add = [&](const char* name, MatrixView<const float> matrix) {
    const Index sizes[] = {matrix.rows, matrix.cols};
    writer.add<float>(name, sizes, matrix.span());
  };
  add("observations", trajectory.observations());
  add("actions", trajectory.actions());
  // std::vector<bool> has no span.
  const Buffer<T> values = [&] {
    Buffer<T> result(std::ssize(success));
    std::copy(success.begin(), success.end(), result.begin());
    return result;
  }();
  writer.add<T>("success", shape, values.span());
  return bytes_of("a.npz", [&](const auto& path) { writer.write(path); });
}
std::string saved(const Trajectory& trajectory, const std::string& kind) {
  return bytes_of("a" + kind, [&](const auto& path) { save_trajectory(path, trajectory); });
}
std::string saved(const Policy& policy) {
  return bytes_of("a.safetensors", [&](const auto& path) { save_policy(path, policy); });
}
std::string saved(const Dataset& data) {
  return bytes_of("a.safetensors", [&](const auto& path) { data.save(path); });
}
// Of its provenance, free text, without the recipe: half of all metadata.
std::string saved(const TinyGenerator& generator) {
  return with(bytes_of("a.safetensors", [&](const auto& path) { generator.save(path); }), [](Parts& parts) {
    std::erase_if(parts.metadata,
                  [](const auto& pair) { return pair.first.starts_with("provenance.recipe."); });
  });
}

Policy boxed_policy() {
  return Policy(Policy::untrained(2).weights(),
                Policy::Box::from_limits(std::array{-1.5f, -3.0f}, std::array{2.5f, 3.0f}));
}

const std::string header_of_a = R"({"a":{"dtype":"DTYPE","shape":[SHAPE],"data_offsets":[0,SIZE]}})";
std::string header_file(const std::string& dtype, const std::string& shape, std::size_t size) {
  auto header = header_of_a;
  const auto put = [&](std::string_view what, const std::string& text) {
    header.replace(header.find(what), what.size(), text);
  };
  put("DTYPE", dtype), put("SHAPE", shape), put("SIZE", concatenate(size));
  return file_of(header, std::string(size, '\0'));
}

}  // namespace

void seeds(Add add) {
  auto demonstrated = demonstration(1);
  const auto policy = saved(Policy::untrained(1));
  add("header", "empty", file_of("{}"));
  add("header", "policy", policy);
  add("header", "metadata",
      file_of(
          R"({"__metadata__":{"a":"1","b":"\u00e9\n"},"c":{"dtype":"I64","shape":[1,2],"data_offsets":[0,16]}})",
          std::string(16, 'x')));
  for (const char* dtype : {"BOOL", "U8", "F16", "BF16", "I32", "F32", "U64", "F64", "C64", "F8_E5M2"}) {
    for (Index code = 0; code <= static_cast<Index>(Dtype::C64); ++code) {
      const auto [name, bytes, number, bits] = dtype_info(static_cast<Dtype>(code));
      if (name == dtype) {
        add("header", dtype, header_file(dtype, "2,3", static_cast<std::size_t>(6 * bytes)));
      }
    }
  }

  add("npy", "float", npy_of("<f4", "(5, 3)", 60));
  add("npy", "half", npy_of("<f2", "(2, 2)", 8));
  add("npy", "big_endian", npy_of(">f8", "(3,)", 24));
  add("npy", "integer", npy_of("<i8", "()", 8));
  add("npy", "small_integer", npy_of("|i1", "(3, 1, 2)", 6));
  add("npy", "unsigned", npy_of("<u2", "(0, 4)", 0));
  add("npy", "flags", npy_of("|b1", "(7,)", 7));
  add("npy", "text", npy_of("<U3", "()", 12));
  add("npy", "fortran", npy_of("{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", 24));

  const auto npz = saved(demonstrated, ".npz");
  add("npz", "trajectory", npz);
  add("npz", "flags", npz_of<bool>(demonstrated, {20}, std::vector<bool>(20, true)));
  demonstrated.set_target_actions(demonstrated.actions());
  for (const std::string kind : {".npz", ".safetensors"}) {
    add("trajectory", "targets" + kind, saved(demonstrated, kind));
    add("trajectory", "plain" + kind, saved(demonstration(2), kind));
  }
  add("trajectory", "flags.npz", npz_of<bool>(demonstrated, {20}, std::vector<bool>(20, true)));

  auto data = small_dataset();
  data.provenance["made by"] = "a test";
  data.trajectories[1].set_target_actions(data.trajectories[1].actions());
  add("dataset", "policies", saved(data));
  Dataset alone(3, 2, 0, {"even", "odd"});
  alone.add_trajectory(demonstration(4));
  add("dataset", "trajectories", saved(alone));
  data.policy_shape = PolicyShape::of<Policy::Network>();
  add("dataset", "interface", saved(with_interface(data)));

  add("policy", "plain", policy);
  add("policy", "boxed", saved(boxed_policy()));
  const auto scaled = with_interface(data).interface;
  add("policy", "scaled", bytes_of("a.safetensors", [&](const auto& path) {
        save_policy(path,
                    Policy(Policy::untrained(3).weights(), scaled.box<Policy>(), scaled.scaling<Policy>()),
                    scaled.metadata);
      }));

  add("generator", "plain", saved(trained(false)));
  add("generator", "all", saved(trained(true)));
  add("generator", "warm", saved(warm_started()));
}

void regressions(Add add) {
  // Integers from files.
  const auto all = saved(trained(true));
  const std::string edges[] = {
      "9223372036854775807",  "9223372036854775806", "4611686018427387904", "1000000000", "-1",
      "-9223372036854775808", "9223372036854775808"};
  for (const auto& edge : edges) {
    for (const std::string name : {"effector", "objects"}) {
      add("generator", concatenate("refused_", name, "_", edge),
          with_metadata(all, "settings.corrective." + name, "[" + edge + "]"));
    }
    for (const std::string name : {"axes", "action", "earlier"}) {
      add("generator", concatenate("refused_", name, "_", edge),
          with_metadata(all, "settings.corrective." + name, edge));
    }
    for (const std::string name : {"diffusion.steps", "sampling.steps"}) {
      add("generator", concatenate("refused_", name, "_", edge),
          with_metadata(all, "settings." + name, edge));
    }
  }
  add("generator", "refused_axes_and_effector",
      with_metadata(with_metadata(all, "settings.corrective.axes", "2"), "settings.corrective.effector",
                    "[9223372036854775806]"));
  add("generator", "refused_diffusion.steps_1000000",
      with_metadata(all, "settings.diffusion.steps", "1000000"));
  std::string many = "[0.5";
  for (int i = 1; i < 100'000; ++i) {
    many += ", 0.5";
  }
  add("generator", "refused_guidances", with_metadata(all, "settings.guidance", many + "]"));
  for (const char* eta : {"2", "nan", "-1", "inf"}) {
    add("generator", concatenate("refused_eta_", eta), with_metadata(all, "settings.sampling.eta", eta));
  }
  add("generator", "refused_guidance_nan", with_metadata(all, "settings.guidance", "[nan]"));
  add("generator", "refused_radius",
      with_number(all, "known.radius", std::numeric_limits<float>::quiet_NaN()));
  add("generator", "deviation_large", with_number(all, "standardizer.deviation", 3e38f));
  add("generator", "refused_deviation_negative", with_number(all, "standardizer.deviation", -1));
  add("generator", "refused_another_tensor",
      with_tensor(all, tensor<float>("other.mean", Dtype::F32, {2}, {0, 0})));

  add("npy", "refused_40_gigabytes", npy_of("<f4", "(10000000000,)", 4));
  add("npy", "refused_product_overflows", npy_of("<f4", "(4294967296, 4294967296)", 4));
  add("npy", "refused_zero_hides_overflow",
      npy_of("<f4", "(0, 4611686018427387904, 4611686018427387904)", 0));
  add("npy", "refused_negative", npy_of("<f4", "(-1,)", 4));
  auto bomb = saved(demonstration(1), ".npz");
  for (const auto& [mark, method, size] : {std::tuple("PK\3\4", 8, 22), std::tuple("PK\1\2", 10, 24)}) {
    // Deflated, and of 4 GB: of every entry.
    for (auto at = bomb.find(mark); at != bomb.npos; at = bomb.find(mark, at + 4)) {
      bomb[at + static_cast<std::size_t>(method)] = 8;
      bomb.replace(at + static_cast<std::size_t>(size), 4, "\x01\x00\x00\xf0", 4);
    }
  }
  add("npz", "refused_4_gigabytes", bomb);

  // Success, one value read as another.
  const auto shown = demonstration(3);
  using Flags = std::vector<bool>;
  using Integers = std::vector<std::int64_t>;
  add("trajectory", "refused_success_false", npz_of<bool>(shown, {}, Flags{false}));
  add("trajectory", "refused_success_true", npz_of<bool>(shown, {}, Flags{true}));
  add("trajectory", "refused_success_false_1", npz_of<bool>(shown, {1}, Flags{false}));
  add("trajectory", "refused_success_false_1_1", npz_of<bool>(shown, {1, 1}, Flags{false}));
  add("trajectory", "accepted_success_flags", npz_of<bool>(shown, {20}, Flags(20, true)));
  for (const Index step : {Index{-7}, Index{-2}, Index{20}, Index{500}, std::numeric_limits<Index>::max()}) {
    add("trajectory", concatenate("refused_success_step_", step),
        npz_of<std::int64_t>(shown, {}, Integers{step}));
  }
  add("trajectory", "accepted_success_none", npz_of<std::int64_t>(shown, {}, Integers{-1}));
  const auto plain = saved(shown, ".safetensors");
  add("trajectory", "refused_success_bool",
      with_tensor(plain, tensor<char>("success", Dtype::BOOL, {}, {0})));
  add("trajectory", "refused_success_bool_1",
      with_tensor(plain, tensor<char>("success", Dtype::BOOL, {1}, {1})));
  add("trajectory", "accepted_success_floats",
      with_tensor(plain, tensor<float>("success", Dtype::F32, {20}, std::vector<float>(20, 1))));
  add("trajectory", "accepted_success_i32",
      with_tensor(plain, tensor<std::int32_t>("success", Dtype::I32, {}, {3})));
  add("trajectory", "accepted_actions_i64",
      with_tensor(plain, tensor<std::int64_t>("actions", Dtype::I64, {20, 2}, Integers(40, 1))));

  // Numbers at the edge, in a prompt.
  for (const float number : {400.0f, 4096.0f, -999.0f, 1e6f, 1e8f, 3e38f}) {
    auto prompt = demonstration(5);
    for (Index i = 0; i < prompt.length(); ++i) {
      prompt.observations()(i, 1) = number;
    }
    add("trajectory", concatenate("accepted_column_", number), saved(prompt, ".npz"));
  }
  add("trajectory", "refused_nan",
      with_number(plain, "observations", std::numeric_limits<float>::quiet_NaN()));

  // Tensors that nobody reads, and boxes.
  const auto policy = saved(boxed_policy());
  add("policy", "refused_third_layer",
      with_tensor(with_tensor(policy, tensor<float>("layers.1.weight", Dtype::F32, {1, 1}, {1})),
                  tensor<float>("layers.1.bias", Dtype::F32, {1}, {1})));
  for (const char* name : {"action_scale", "action_bias", "obs_rms.mean", "normalizer.mean"}) {
    add("policy", concatenate("refused_", name),
        with_tensor(policy, tensor<float>(name, Dtype::F32, {2}, {1, 2})));
  }
  constexpr auto infinite = std::numeric_limits<float>::infinity();
  for (const float number : {-1.0f, std::numeric_limits<float>::quiet_NaN(), infinite, -infinite}) {
    add("policy", concatenate("refused_half_width_", number),
        with_number(policy, "action_half_width", number));
  }
  add("policy", "accepted_half_width_largest", with_number(policy, "action_half_width", 3.4e38f));
  add("policy", "refused_limits_overflow",
      with_number(with_number(policy, "action_centre", 3.4e38f), "action_half_width", 3.4e38f));

  // What the reference readers take.
  add("header", "accepted_null_metadata", file_of(R"({"__metadata__":null})"));
  add("header", "accepted_white_space", file_of(" \n\t{} "));
  add("header", "accepted_F8", header_file("F8_E4M3", "3", 3));
  add("header", "accepted_C64", header_file("C64", "3", 24));
  add("header", "accepted_F4", header_file("F4", "3,2", 3));
  add("header", "refused_F4_half_a_byte", header_file("F4", "3", 2));
  add("header", "refused_overflow", header_file("F32", "4294967296,4294967296", 0));
  add("header", "refused_zero_hides_overflow",
      header_file("F32", "0,9223372036854775807,9223372036854775807", 0));
  add("header", "refused_nested", file_of(std::string(100'000, '[')));
  add("header", "refused_nested_objects", [] {
    std::string text;
    for (int i = 0; i < 100'000; ++i) {
      text += "{\"a\":";
    }
    return file_of(text);
  }());
  add("npy", "accepted_long", npy_of("<f4", "(60L, 39L)", 60 * 39 * 4));
  add("npy", "accepted_question_mark", npy_of("|?", "(3,)", 3));
  add("npy", "accepted_native", npy_of("f4", "(3,)", 12));

  // A data set's numbers.
  const auto data = saved(small_dataset());
  for (const std::int64_t edge :
       {std::int64_t{-2}, std::int64_t{-7}, std::int64_t{20}, std::int64_t{500},
        std::numeric_limits<std::int64_t>::max(), std::numeric_limits<std::int64_t>::min()}) {
    for (const char* name :
         {"trajectory_success", "trajectory_task", "policy_task", "trajectory_has_targets"}) {
      add("dataset", concatenate("refused_", name, "_", edge), with(data, [&](Parts& parts) {
            std::memcpy(parts.tensor(name).bytes.data(), &edge, sizeof edge);
          }));
    }
  }
  for (const std::int64_t edge :
       {std::int64_t{-1}, std::int64_t{21}, std::numeric_limits<std::int64_t>::max()}) {
    add("dataset", concatenate("refused_length_", edge), with(data, [&](Parts& parts) {
          std::memcpy(parts.tensor("trajectory_length").bytes.data(), &edge, sizeof edge);
        }));
  }
  add("dataset", "refused_tasks", with_metadata(data, "task_count", "18446744073709551615"));
  add("dataset", "refused_long_name", with_metadata(data, "task.0", std::string(5000, 'a')));
}

}  // namespace fuzz

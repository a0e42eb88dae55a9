#include "targets.hpp"

#include "../short_recipe.hpp"
#include "../temporary_folder.hpp"
#include "parts.hpp"

#include <maa/core/content_hash.hpp>
#include <maa/io/c_header.hpp>
#include <maa/io/npz_archive.hpp>

namespace fuzz {

using namespace maa;

Trajectory demonstration(std::uint64_t seed) {
  Trajectory trajectory(20, 3, 2);
  Rng rng(seed);
  rng.fill_normal(trajectory.observations().span());
  rng.fill_uniform(trajectory.actions().span(), -1, 1);
  trajectory.success_step = 14;
  trajectory.task = seed % 2 == 0 ? "even" : "odd";
  return trajectory;
}

Dataset small_dataset() {
  Dataset data(3, 2, Policy::parameter_size, {"even", "odd"});
  for (Index i = 0; i < 4; ++i) {
    const auto seed = static_cast<std::uint64_t>(i);
    data.add_policy({i % 2, i, 0}, Policy::untrained(seed).weights());
    data.add_trajectory(demonstration(seed));
  }
  return data;
}

Dataset with_interface(Dataset data) {
  data.interface.observation_mean = {0.5f, -1, 0};
  data.interface.observation_scale = {1, 2, 0.1f};
  data.interface.observation_clip = 5;
  data.interface.action_centre = {0.5f, 0};
  data.interface.action_half_width = {2, 3};
  data.interface.metadata = {{"period", "0.02"},
                             {"joint_names", "a,b"},
                             {"observation_names", "x,y,z"},
                             {"action_names", "push,turn"}};
  return data;
}

namespace {

BehaviorRecipe short_recipe() {
  auto recipe = test::shortened(BehaviorRecipe(), 2, 2);
  recipe.behavior.queries = 4;
  recipe.sampling.steps = 2;
  return recipe;
}

}  // namespace

TinyGenerator trained(bool all) {
  auto recipe = short_recipe();
  if (all) {
    recipe.guidance = {1, 0.5};
    recipe.validation_tasks = {"odd"};
    recipe.behavior.corrective = {.effector = {0}, .objects = {1}, .earlier = 1, .axes = 1};
  }
  TinyGenerator generator{cpu::Backend(1)};
  generator.fit(all ? with_interface(small_dataset()) : small_dataset(), recipe);
  return generator;
}

TinyGenerator warm_started() {
  WarmStart start(trained(false));
  start.slow = {"denoiser."};
  start.rate = 0.1;
  auto recipe = short_recipe();
  recipe.condition = ConditionParts::h;
  TinyGenerator generator{cpu::Backend(1)};
  generator.fit(small_dataset(), recipe, start);
  return generator;
}

namespace {

// A claim about what was accepted: not an Error, which would count as refused.
void demand(bool holds, std::string_view claim) {
  if (!holds) {
    throw std::logic_error(concatenate("broken: ", claim));
  }
}

// Files of this process.
std::filesystem::path in_folder(const std::string& name) {
  static const test::TemporaryFolder folder;
  return folder / name;
}
std::filesystem::path written(std::string_view bytes, const std::string& name) {
  const auto path = in_folder(name);
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  demand(!file.fail(), "the input can be written");
  return path;
}

// Whether to do what is done for one of so many inputs.
bool wanted(std::string_view input, Use use, std::uint64_t one_of) {
  ContentHash hash;
  hash.add(input);
  return use == Use::all || hash.value() % one_of == 0;
}

template <class Action>
bool accepts(const Action& action) {
  try {
    action();
    return true;
  } catch (const Error&) {
    return false;
  }
}

bool same_bits(MatrixView<const float> a, MatrixView<const float> b) {
  return a.rows == b.rows && a.cols == b.cols &&
         std::ranges::equal(std::as_bytes(a.span()), std::as_bytes(b.span()));
}
bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(std::as_bytes(a), std::as_bytes(b));
}

bool safetensors_header(std::string_view input, Use) {
  std::uint64_t length = 0;
  if (input.size() < sizeof length) {
    return false;
  }
  std::memcpy(&length, input.data(), sizeof length);
  if (length > input.size() - sizeof length) {
    return false;
  }
  const auto size = static_cast<Index>(input.size() - sizeof length - length);
  const auto header = detail::parse_safetensors_header(input.substr(sizeof length, length), size, "'input'");
  Index end = 0;
  std::set<std::string> names;
  for (const auto& tensor : header.tensors) {
    demand(tensor.begin == end && tensor.end >= end, "tensors cover the data");
    demand(names.insert(tensor.name).second, "names are unique");
    const auto elements = detail::checked_bytes(tensor.shape, 1);
    demand(elements >= 0 && elements <= 2 * size &&
               elements * dtype_info(tensor.dtype).bits / 8 == tensor.end - tensor.begin,
           "a tensor has the bytes of its shape");
    end = tensor.end;
    detail::json_text(tensor.name);
  }
  demand(end == size, "nothing follows the data");
  return true;
}

template <class T>
bool decodes(const detail::NpyHeader& header, const std::byte* data) {
  return accepts([&] {
    const auto array = detail::decode_npy<T>(header, data, "'input'");
    demand(array.values.size() == detail::checked_bytes(array.shape, 1), "an array has its shape's numbers");
  });
}

bool npy(std::string_view input, Use) {
  const auto bytes = std::as_bytes(std::span(input));
  const auto header =
      detail::parse_npy(bytes.first(std::min(bytes.size(), static_cast<std::size_t>(detail::npy_beginning))),
                        static_cast<Index>(bytes.size()), "'input'");
  const auto* data = bytes.data() + header.data_offset;
  // Each on a copy of its own length, so that a byte beyond is seen.
  const Buffer<std::byte> copy(std::span<const std::byte>(data, bytes.data() + bytes.size()));
  const bool decoded[] = {decodes<float>(header, copy.data()), decodes<double>(header, copy.data()),
                          decodes<std::int64_t>(header, copy.data()),
                          decodes<std::uint8_t>(header, copy.data()),
                          accepts([&] { detail::decode_npy_text(header, copy.data(), "'input'"); })};
  return std::ranges::find(decoded, true) != std::end(decoded);
}

bool npz(std::string_view input, Use) {
  const NpzReader reader(written(input, "input.npz"));
  bool all = true;
  for (const auto& name : reader.names()) {
    const bool numbers = accepts([&] { reader.read_any<float>(name); });
    accepts([&] { reader.read_any<std::int64_t>(name); });
    all = (numbers || accepts([&] { reader.load_text(name); })) && all;
  }
  return all;
}

void demand_same(const PolicyInterface& a, const PolicyInterface& b) {
  demand(same_bits(a.observation_mean, b.observation_mean) &&
             same_bits(a.observation_scale, b.observation_scale) &&
             a.observation_clip == b.observation_clip && same_bits(a.action_centre, b.action_centre) &&
             same_bits(a.action_half_width, b.action_half_width) && a.metadata == b.metadata,
         "an interface that was saved and loaded is the same");
}

void demand_same(const Trajectory& a, const Trajectory& b) {
  demand(same_bits(a.observations(), b.observations()) && same_bits(a.actions(), b.actions()) &&
             same_bits(a.target_actions(), b.target_actions()) && a.success_step == b.success_step &&
             a.task == b.task && a.run == b.run,
         "a trajectory that was saved and loaded is the same");
}

bool trajectory(std::string_view input, Use) {
  const auto kind = input.starts_with("PK") ? std::string(".npz") : std::string(".safetensors");
  const auto loaded = load_trajectory(written(input, "input" + kind));
  for (const std::string other : {".npz", ".safetensors"}) {
    const auto path = in_folder("again" + other);
    // Not all texts of one kind are some of the other.
    const bool saved = accepts([&] { save_trajectory(path, loaded); });
    demand(saved || other != kind, "a trajectory that was loaded can be saved");
    if (saved) {
      demand_same(loaded, load_trajectory(path));
    }
  }
  static const auto generator = trained(true);
  accepts([&] {
    for (const auto& policy : generator.generate(loaded)) {
      demand(first_nonfinite(policy.weights()) < 0, "weights are finite");
    }
    demand(!(generator.novelty({&loaded, 1})[0] < 0), "novelty is not negative");
  });
  return true;
}

bool dataset(std::string_view input, Use use) {
  const auto input_path = written(input, "input.safetensors");
  if (wanted(input, use, 8)) {
    accepts([&] { Dataset::load(input_path, Unread::allow); });
  }
  const auto loaded = Dataset::load(input_path);
  const auto path = in_folder("again.safetensors");
  loaded.save(path);
  const auto again = Dataset::load(path);
  demand(again.content_hash() == loaded.content_hash() && again.policy_shape == loaded.policy_shape &&
             again.provenance == loaded.provenance,
         "a data set that was saved and loaded is the same");
  demand_same(loaded.interface, again.interface);
  const auto split = loaded.split_by_run(0.5, 1);
  demand(split.train.policies.size() + split.validation.policies.size() == loaded.policies.size(),
         "a split has all policies");
  if (wanted(input, use, 4)) {
    accepts([&] { maa::check<Policy>(loaded, cpu::Backend(1)); });
  }
  if (wanted(input, use, 512)) {  // seconds under the sanitizers
    accepts([&] { TinyGenerator{cpu::Backend(1)}.fit(loaded, test::shortened(BehaviorRecipe(), 1, 2)); });
  }
  return true;
}

bool policy(std::string_view input, Use use) {
  const auto path = written(input, "input.safetensors");
  if (wanted(input, use, 8)) {
    accepts([&] { load_policy<Policy>(path, Unread::allow); });
  }
  const auto loaded = load_policy<Policy>(path);
  std::array<float, 3> observation{0.5f, -1, 2};
  std::array<float, 2> action{};
  loaded.act(observation, action);
  const auto small = [](float number) { return std::abs(number) < 1e6f; };
  const auto& scaling = loaded.scaling();
  const bool moderate = std::ranges::all_of(loaded.weights(), small) &&
                        std::ranges::all_of(scaling.mean, small) && std::ranges::all_of(scaling.scale, small);
  for (std::size_t i = 0; i < action.size(); ++i) {
    const auto centre = loaded.box().centre[i], half_width = loaded.box().half_width[i];
    demand(!moderate || (action[i] >= centre - half_width && action[i] <= centre + half_width),
           "actions are inside their box");
  }
  const auto again_path = in_folder("again.safetensors");
  const auto metadata = load_policy_metadata(path);
  save_policy(again_path, loaded, metadata);
  demand(load_policy_metadata(again_path) == metadata, "metadata stay");
  if (wanted(input, use, 4)) {
    accepts([&] { save_c_header(in_folder("policy.h"), loaded, "policy", metadata); });
  }
  const auto again = load_policy<Policy>(again_path);
  demand(same_bits(again.weights(), loaded.weights()) && again.box() == loaded.box() &&
             again.scaling() == loaded.scaling(),
         "a policy that was saved and loaded is the same");
  return true;
}

bool generator(std::string_view input, Use use) {
  static const std::array prompts{demonstration(9), demonstration(10)};
  static Buffer<float> warm(parameter_count<TinyGenerator::Model>);
  const auto input_path = written(input, "input.safetensors");
  if (wanted(input, use, 8)) {
    accepts([&] { TinyGenerator::load(input_path, cpu::Backend(1), Unread::allow); });
    accepts([&] { WarmStart::load(input_path).copy_to(tensors_of<TinyGenerator::Model>(), warm.span()); });
  }
  const auto loaded = TinyGenerator::load(input_path, cpu::Backend(1));
  const auto path = in_folder("again.safetensors");
  loaded.save(path);
  const auto again = TinyGenerator::load(path, cpu::Backend(1));
  demand(same_bits(loaded.state().parameters.span(), again.state().parameters.span()) &&
             fields_of(loaded.state().settings) == fields_of(again.state().settings) &&
             loaded.state().provenance == again.state().provenance,
         "a generator that was saved and loaded is the same");
  demand_same(loaded.interface(), again.interface());
  if (!wanted(input, use, 16)) {
    return true;
  }
  accepts([&] { demand(!(loaded.novelty(prompts)[0] < 0), "novelty is not negative"); });
  const auto& settings = loaded.state().settings;
  GenerateOptions options{.count = 2};
  if (settings.sampling.steps * std::ssize(settings.guidance) > 40) {  // allowed, but slow
    options.sampling = settings.sampling;
    options.sampling->steps = 1;
    options.guidance = {settings.guidance[0]};
  }
  accepts([&] {
    const auto policies = loaded.generate_each(prompts, options);
    const auto same = again.generate_each(prompts, options);
    for (std::size_t i = 0; i < policies.size(); ++i) {
      demand(same_bits(policies[i].weights(), same[i].weights()),
             "a generator that was saved and loaded generates the same");
      demand(first_nonfinite(policies[i].weights()) < 0, "weights are finite");
    }
    accepts([&] { loaded.uncertainty(policies, {prompts.data(), 1}); });
  });
  return true;
}

}  // namespace

std::span<const Target> targets() {
  static constexpr Target all[] = {{"header", safetensors_header}, {"npy", npy},         {"npz", npz},
                                   {"trajectory", trajectory},     {"dataset", dataset}, {"policy", policy},
                                   {"generator", generator}};
  return all;
}

const Target& target(std::string_view name) {
  for (const auto& target : targets()) {
    if (target.name == name) {
      return target;
    }
  }
  fail("fuzz: expected a target, found '", name, "'");
}

}  // namespace fuzz

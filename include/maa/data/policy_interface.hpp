// What lies between a network and the world: the scaling of its observations, the box of its actions, and
// what they are called.
#pragma once

#include <maa/data/trajectory.hpp>
#include <maa/models/policy.hpp>

#include <limits>
#include <map>
#include <string>
#include <vector>

#if MAA_BODIES
#include <maa/io/safetensors.hpp>
#endif

MAA_NAMESPACE_BEGIN

// Text that goes along with a policy, by key. Deployed robots read comma-separated lists, in the order of the
// numbers that they describe: observation_names, action_names, joint_names, default_joint_pos,
// joint_stiffness, joint_damping, action_scale; period is in seconds.
using PolicyMetadata = std::map<std::string, std::string>;

// Of all policies of a data set, and of those that a generator trained on it makes. Trajectories are in the
// world's units; the network reads (x - observation_mean) observation_scale, clamped at +- observation_clip,
// and gives (action - action_centre) / action_half_width: ObservationScaling and ActionBox say more. Runs
// that were trained with statistics of their own are brought to common ones by their first layer. `metadata`
// goes along.
struct PolicyInterface {
  std::vector<float> observation_mean, observation_scale;  // [O], or none
  float observation_clip = no_clip;
  std::vector<float> action_centre, action_half_width;  // [A], or none
  PolicyMetadata metadata;

  // Whether there is any of it.
  bool scales_observations() const { return !observation_mean.empty(); }
  bool scales_actions() const { return !action_centre.empty(); }
  bool transforms() const { return scales_observations() || scales_actions(); }

  // As policies hold them. Error if sizes differ.
  template <class Policy>
  typename Policy::Scaling scaling() const {
    typename Policy::Scaling result;
    if (scales_observations()) {
      require_sizes(Policy::observation_size, Policy::action_size, "interface");
      std::copy(observation_mean.begin(), observation_mean.end(), result.mean.begin());
      std::copy(observation_scale.begin(), observation_scale.end(), result.scale.begin());
      result.clip = observation_clip;
    }
    return result;
  }
  template <class Policy>
  typename Policy::Box box() const {
    typename Policy::Box result;
    if (scales_actions()) {
      require_sizes(Policy::observation_size, Policy::action_size, "interface");
      std::copy(action_centre.begin(), action_centre.end(), result.centre.begin());
      std::copy(action_half_width.begin(), action_half_width.end(), result.half_width.begin());
    }
    return result;
  }
  template <class Policy>
  static PolicyInterface of(const Policy& policy, PolicyMetadata metadata = {}) {
    PolicyInterface result;
    if (policy.scaling() != typename Policy::Scaling()) {
      result.observation_mean.assign(policy.scaling().mean.begin(), policy.scaling().mean.end());
      result.observation_scale.assign(policy.scaling().scale.begin(), policy.scaling().scale.end());
      result.observation_clip = policy.scaling().clip;
    }
    if (policy.box() != typename Policy::Box()) {
      result.action_centre.assign(policy.box().centre.begin(), policy.box().centre.end());
      result.action_half_width.assign(policy.box().half_width.begin(), policy.box().half_width.end());
    }
    result.metadata = std::move(metadata);
    return result;
  }

  // Error, with `where` before it, unless sizes fit, those of observation_names and action_names, too, and
  // numbers make sense: means and centres finite, scales and half widths positive.
  void validate(Index observations, Index actions, std::string_view where) const;

  // A demonstration as the network sees it. Error if sizes differ.
  Trajectory inside(const Trajectory& demonstration) const;

 private:
  void require_sizes(Index observations, Index actions, std::string_view where) const;
};

namespace detail {
// Before the keys of its metadata; and before the names of its tensors in data sets and generators.
inline const std::string interface_prefix = "interface.";
}  // namespace detail

// Tensors observation_mean, observation_scale [O], observation_clip [], action_centre, action_half_width [A],
// those that there are, and metadata interface.KEY; `prefix` before the tensors' names. `interface` must
// outlive the writer.
void add_interface(class SafetensorsWriter& writer, const PolicyInterface& interface,
                   const std::string& prefix);
// Validated; without any of them, an interface that changes nothing.
PolicyInterface read_interface(const class SafetensorsReader& reader, Index observations, Index actions,
                               const std::string& prefix);

#if MAA_BODIES

MAA_COLD MAA_INLINE void PolicyInterface::require_sizes(Index observations, Index actions,
                                                        std::string_view where) const {
  const auto expect = [&](const std::vector<float>& numbers, const std::vector<float>& others, Index size,
                          const char* what) {
    require(
        (numbers.empty() && others.empty()) || (std::ssize(numbers) == size && std::ssize(others) == size),
        where, ": expected ", size, " numbers for each of ", what, ", found ", numbers.size(), " and ",
        others.size());
  };
  expect(observation_mean, observation_scale, observations, "observation_mean and observation_scale");
  expect(action_centre, action_half_width, actions, "action_centre and action_half_width");
}

MAA_COLD MAA_INLINE void PolicyInterface::validate(Index observations, Index actions,
                                                   std::string_view where) const {
  require_sizes(observations, actions, where);
  const auto check = [&](const std::vector<float>& shifts, const std::vector<float>& scales,
                         const char* what) {
    for (std::size_t i = 0; i < shifts.size(); ++i) {
      require(is_finite(shifts[i]) && is_finite(scales[i]) && scales[i] > 0, where, ": expected ", what,
              " finite and positive, found ", shifts[i], " and ", scales[i], " at ", i);
    }
  };
  check(observation_mean, observation_scale, "observation_mean and observation_scale");
  check(action_centre, action_half_width, "action_centre and action_half_width");
  for (std::size_t i = 0; i < action_centre.size(); ++i) {
    require(is_finite(action_centre[i] - action_half_width[i]) &&
                is_finite(action_centre[i] + action_half_width[i]),
            where, ": expected finite limits of actions, found ", action_centre[i], " +- ",
            action_half_width[i], " at ", i);
  }
  require(observation_clip > 0, where, ": expected a positive observation_clip, found ", observation_clip);
  for (const auto& [key, size] : {std::pair("observation_names", observations), {"action_names", actions}}) {
    const auto names = metadata.find(key);
    const Index found =
        names == metadata.end() ? size : std::ranges::count(names->second, ',') + 1;  // of any text
    require(found == size, where, ": expected ", size, " ", key, " with commas between, found ", found, ": ",
            detail::TextPart::quoted(names == metadata.end() ? "" : std::string_view(names->second)));
  }
}

MAA_COLD MAA_INLINE Trajectory PolicyInterface::inside(const Trajectory& demonstration) const {
  require_sizes(demonstration.observation_size(), demonstration.action_size(), "interface");
  Trajectory result = demonstration;
  if (scales_observations()) {
    const auto rows = result.observations();
    for (Index i = 0; i < rows.rows; ++i) {
      for (Index j = 0; j < rows.cols; ++j) {
        const auto at = static_cast<std::size_t>(j);
        const float x = (rows(i, j) - observation_mean[at]) * observation_scale[at];
        rows(i, j) = std::clamp(x, -observation_clip, observation_clip);
      }
    }
  }
  if (scales_actions()) {
    const auto scale = [&](MatrixView<float> rows) {
      for (Index i = 0; i < rows.rows; ++i) {
        for (Index j = 0; j < rows.cols; ++j) {
          const auto at = static_cast<std::size_t>(j);
          rows(i, j) = (rows(i, j) - action_centre[at]) / action_half_width[at];
        }
      }
    };
    scale(result.actions());
    if (demonstration.has_target_actions()) {
      const auto targets = demonstration.target_actions();
      Buffer<float> copy(targets.size());
      std::copy_n(targets.data, targets.size(), copy.data());
      const MatrixView<float> rows(copy.data(), targets.rows, targets.cols);
      scale(rows);
      result.set_target_actions(rows);
    }
  }
  return result;
}

MAA_COLD MAA_INLINE void add_interface(SafetensorsWriter& writer, const PolicyInterface& interface,
                                       const std::string& prefix) {
  const auto add = [&](const char* name, const std::vector<float>& numbers) {
    if (!numbers.empty()) {
      writer.add(prefix + name, {std::ssize(numbers)}, std::span<const float>(numbers));
    }
  };
  add("observation_mean", interface.observation_mean);
  add("observation_scale", interface.observation_scale);
  if (interface.scales_observations() && interface.observation_clip < no_clip) {
    writer.add_scalar(prefix + "observation_clip", interface.observation_clip);
  }
  add("action_centre", interface.action_centre);
  add("action_half_width", interface.action_half_width);
  for (const auto& [key, value] : interface.metadata) {
    writer.set_metadata(detail::interface_prefix + key, value);
  }
}

MAA_COLD MAA_INLINE PolicyInterface read_interface(const SafetensorsReader& reader, Index observations,
                                                   Index actions, const std::string& prefix) {
  PolicyInterface interface;
  const auto read = [&](const char* first, const char* second, Index size, std::vector<float>& firsts,
                        std::vector<float>& seconds) {
    if (reader.contains(prefix + first) || reader.contains(prefix + second)) {
      const std::array<Index, 1> shape{size};
      const auto of = [&](const char* name) {
        const auto numbers = reader.read_weights<float>(prefix + name, shape);
        return std::vector<float>(numbers.begin(), numbers.end());
      };
      firsts = of(first);
      seconds = of(second);
    }
  };
  read("observation_mean", "observation_scale", observations, interface.observation_mean,
       interface.observation_scale);
  if (interface.scales_observations() && reader.contains(prefix + "observation_clip")) {
    interface.observation_clip = reader.read_weights<float>(prefix + "observation_clip", {})[0];
  }
  read("action_centre", "action_half_width", actions, interface.action_centre, interface.action_half_width);
  for (const auto& [key, value] : reader.metadata()) {
    if (key.starts_with(detail::interface_prefix)) {
      interface.metadata[key.substr(detail::interface_prefix.size())] = value;
    }
  }
  interface.validate(observations, actions, reader.path());
  return interface;
}

#endif

MAA_NAMESPACE_END

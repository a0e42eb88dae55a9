// The compiled part of the Python package: one policy type (policy_type.hpp, made by CMakeLists.txt), its
// generator, and what acts. What needs no compiler is in maa/*.py.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <maa/core/nearest_names.hpp>
#include <maa/generator.hpp>
#include <maa/io/c_header.hpp>
#if defined(MAA_PYTHON_ONNX)
#include <maa/io/onnx.hpp>
#endif

#include <mutex>
#include <shared_mutex>

#include "policy_type.hpp"

namespace nb = nanobind;

namespace maa::python {
namespace {

// Of NumPy, or of anything else on the CPU that speaks DLPack. Those of a number type are converted to it.
using Numbers = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Texts = std::map<std::string, std::string>;

using Row = std::vector<float>;  // of any sequence

nb::handle float32() {
  static const auto* type = new nb::object(nb::module_::import_("numpy").attr("float32"));  // outlives exit
  return *type;
}
// numpy.empty(shape, float32), which is quicker than handing an array over.
nb::object empty(nb::handle shape) {
  static const auto* make = new nb::object(nb::module_::import_("numpy").attr("empty"));
  return (*make)(shape, float32());
}
float* data_of(nb::handle array) {
  return nb::cast<nb::ndarray<float, nb::c_contig>>(array).data();
}
nb::object copied(std::span<const float> values) {
  auto result = empty(nb::int_(values.size()));
  std::copy(values.begin(), values.end(), data_of(result));
  return result;
}

struct Acting {
  Policy policy;
  PolicyMetadata metadata;

  Acting(Vector weights, Row mean, Row scale, std::optional<float> clip, Row centre, Row half_width,
         PolicyMetadata metadata_)
      : metadata(std::move(metadata_)) {
    PolicyInterface interface;
    interface.observation_mean = std::move(mean);
    interface.observation_scale = std::move(scale);
    interface.observation_clip = clip.value_or(interface.observation_clip);
    interface.action_centre = std::move(centre);
    interface.action_half_width = std::move(half_width);
    interface.validate(Policy::observation_size, Policy::action_size, "policy");
    policy = Policy({weights.data(), weights.size()}, interface.box<Policy>(), interface.scaling<Policy>());
  }
  Acting(Policy policy_, PolicyMetadata metadata_)
      : policy(std::move(policy_)), metadata(std::move(metadata_)) {}

  // [O] -> [A], or [rows, O] -> [rows, A].
  nb::object act(nb::handle found) const {
    const auto observations = as<Numbers>(found);
    require_shape(observations, "act");
    if (observations.ndim() == 2) {
      const auto rows = observations.shape(0);
      const auto from = as<Floats>(found);
      const auto actions = empty(nb::make_tuple(rows, outputs));
      auto* to = data_of(actions);
      const nb::gil_scoped_release others_run;
      policy.act_batch({from.data(), rows * inputs}, {to, rows * outputs});
      return actions;
    }
    static const auto* shape = new nb::object(nb::int_(outputs));
    const auto actions = empty(*shape);
    const Policy::Action to(data_of(actions), outputs);
    if (observations.dtype() == nb::dtype<double>()) {  // as simulators have them; quicker than by NumPy
      const auto* doubles = static_cast<const double*>(observations.data());
      std::array<float, inputs> copy;
      std::transform(doubles, doubles + inputs, copy.begin(), [](double x) { return static_cast<float>(x); });
      policy.act(copy, to);
    } else {
      const auto from = as<Floats>(found);
      policy.act(Policy::Observation(from.data(), inputs), to);
    }
    return actions;
  }

  // The same shapes. Equal seeds give equal noise. P: Policy, where that has a log_std head.
  template <class P>
  nb::object sample(nb::handle found, std::uint64_t seed) const {
    const P& sampling = policy;
    const auto from = as<Floats>(found);
    require_shape(from, "sample");
    const auto rows = from.ndim() == 2 ? from.shape(0) : 1;
    const auto actions = from.ndim() == 2 ? empty(nb::make_tuple(rows, outputs)) : empty(nb::int_(outputs));
    auto* to = data_of(actions);
    Rng rng(seed);
    const nb::gil_scoped_release others_run;
    for (std::size_t i = 0; i < rows; ++i) {
      sampling.sample(Policy::Observation(from.data() + i * inputs, inputs),
                      Policy::Action(to + i * outputs, outputs), rng);
    }
    return actions;
  }

 private:
  static constexpr auto inputs = static_cast<std::size_t>(Policy::observation_size);
  static constexpr auto outputs = static_cast<std::size_t>(Policy::action_size);

  template <class Array>
  static void require_shape(const Array& observations, const char* where) {
    const auto dimensions = observations.ndim();
    const bool fits = (dimensions == 1 || dimensions == 2) && observations.shape(dimensions - 1) == inputs;
    require(fits, where, ": expected observations of shape [", inputs, "] or [rows, ", inputs, "], found ",
            dimensions, " dimensions, the last of ",
            dimensions == 0 ? 0 : observations.shape(dimensions - 1));
  }
  template <class Array>
  static Array as(nb::handle found) {
    Array result;
    if (!nb::try_cast(found, result)) {  // a list, say
      static const auto* convert = new nb::object(nb::module_::import_("numpy").attr("asarray"));
      result = nb::cast<Array>((*convert)(found, float32()));
    }
    return result;
  }
};

// Values of options by name over their defaults. Error for a name that there is none of.
template <class Options>
Options read_options(const Texts& changes, std::string_view where) {
  Texts texts;
  std::vector<std::string> names;
  for (const auto& [name, text] : fields_of(Options())) {
    texts[name] = text;
    names.push_back(name);
  }
  for (const auto& [name, text] : changes) {
    if (!texts.contains(name)) {
      fail(where, ": expected the name of an option, found ", detail::quote(name), "; the nearest are ",
           nearest_names(name, names));
    }
    texts[name] = text;
  }
  return read_fields<Options>(texts, where);
}
template <class Options>
Texts default_options() {
  Texts texts;
  for (const auto& [name, text] : fields_of(Options())) {
    texts[name] = text;
  }
  return texts;
}

// (observations [T, O], actions [T, A], first successful step or None)
using Demonstration = std::tuple<Matrix, Matrix, std::optional<Index>>;

// Ctrl-C, and what a callback raises, must pass through code that knows nothing of Python: it stops, and then
// this raises what stopped it.
class Interruptible {
 public:
  // What `call` returns, with the GIL; false once anything was raised.
  template <class Call>
  bool go_on(const Call& call) {
    const nb::gil_scoped_acquire own;
    try {
      if (PyErr_CheckSignals() != 0) {
        throw nb::python_error();
      }
      return call();
    } catch (...) {
      raised_ = std::current_exception();
      return false;
    }
  }
  // With the GIL. Runs `work` without it.
  template <class Work>
  auto run(const Work& work) {
    try {
      auto result = [&] {
        const nb::gil_scoped_release others_run;
        return work();
      }();
      rethrow();
      return result;
    } catch (const Error&) {
      rethrow();
      throw;
    }
  }

 private:
  void rethrow() {
    if (raised_) {
      std::rethrow_exception(std::exchange(raised_, nullptr));
    }
  }
  std::exception_ptr raised_;
};

class Generating {
 public:
  explicit Generating(int threads) : generator_(cpu::Backend(threads)) {}

  bool fit(const std::filesystem::path& dataset, const Texts& options, nb::object callback,
           const std::filesystem::path& checkpoint, Index checkpoint_every) {
    auto recipe = read_options<BehaviorRecipe>(options, "fit");
    recipe.checkpoint = checkpoint;
    recipe.checkpoint_every = checkpoint_every;
    Interruptible interruptible;
    return interruptible.run([&] {
      const auto lock = locked<std::unique_lock<std::shared_mutex>>();
      return generator_.fit(Dataset::load(dataset), recipe, [&](const TrainProgress& progress) {
        return interruptible.go_on([&] {
          if (callback.is_none()) {
            return true;
          }
          const auto answer = callback(nb::str(progress.stage.data(), progress.stage.size()), progress.step,
                                       progress.steps, progress.loss);
          return answer.is_none() || nb::cast<bool>(answer);
        });
      });
    });
  }

  void load(const std::filesystem::path& path) {
    const nb::gil_scoped_release others_run;
    const auto lock = locked<std::unique_lock<std::shared_mutex>>();
    generator_ = Generator::load(path, generator_.backend());
  }
  void save(const std::filesystem::path& path) const {
    const nb::gil_scoped_release others_run;
    const auto lock = locked<std::shared_lock<std::shared_mutex>>();
    generator_.save(path);
  }
  bool trained() const {
    const auto lock = locked<std::shared_lock<std::shared_mutex>>();
    return generator_.trained();
  }

  std::vector<Acting> generate(const std::vector<Demonstration>& shown, const Texts& changes) const {
    auto options = read_options<GenerateOptions>(changes, "generate");
    const auto demonstrations = trajectories(shown);
    Interruptible interruptible;
    options.progress = [&](const auto&...) { return interruptible.go_on([] { return true; }); };
    return interruptible.run([&] {
      const auto lock = locked<std::shared_lock<std::shared_mutex>>();
      std::vector<Acting> result;
      for (auto& policy : generator_.generate(demonstrations, options)) {
        result.emplace_back(std::move(policy), generator_.interface().metadata);
      }
      return result;
    });
  }
  bool looked_up(const Acting& policy) const {
    const auto lock = locked<std::shared_lock<std::shared_mutex>>();
    return generator_.looked_up(policy.policy);
  }
  std::vector<double> novelty(const std::vector<Demonstration>& shown) const {
    const auto demonstrations = trajectories(shown);
    const nb::gil_scoped_release others_run;
    const auto lock = locked<std::shared_lock<std::shared_mutex>>();
    return generator_.novelty(demonstrations);
  }

 private:
  using Generator = maa::Generator<Policy>;

  // A callback of fit, or another thread, may call what fit does not allow meanwhile.
  template <class Lock>
  Lock locked() const {
    Lock lock(mutex_, std::try_to_lock);
    require(lock.owns_lock(),
            "generator: expected one that is not in use, found that it is being fitted, "
            "or generates");
    return lock;
  }
  static std::vector<Trajectory> trajectories(const std::vector<Demonstration>& shown) {
    std::vector<Trajectory> result;
    for (const auto& [observations, actions, success] : shown) {
      const auto view = [](const Matrix& matrix) {
        return MatrixView<const float>(matrix.data(), static_cast<Index>(matrix.shape(0)),
                                       static_cast<Index>(matrix.shape(1)));
      };
      result.emplace_back(view(observations), view(actions));
      result.back().success_step = success;
      result.back().validate();
    }
    return result;
  }

  Generator generator_;
  mutable std::shared_mutex mutex_;
};

}  // namespace
}  // namespace maa::python

namespace nanobind::detail {
template <>
struct type_caster<maa::python::Demonstration> {
  NB_TYPE_CASTER(maa::python::Demonstration, const_name("tuple"))
  bool from_python(handle source, uint8_t flags, cleanup_list* cleanup) noexcept {
    if (!PyTuple_Check(source.ptr()) || PyTuple_GET_SIZE(source.ptr()) != 3) {
      return false;
    }
    make_caster<maa::python::Matrix> observations, actions;
    make_caster<std::optional<maa::Index>> success;
    if (!observations.from_python(PyTuple_GET_ITEM(source.ptr(), 0), flags, cleanup) ||
        !actions.from_python(PyTuple_GET_ITEM(source.ptr(), 1), flags, cleanup) ||
        !success.from_python(PyTuple_GET_ITEM(source.ptr(), 2), flags, cleanup)) {
      return false;
    }
    value = {observations.value, actions.value, success.value};
    return true;
  }
};
}  // namespace nanobind::detail

namespace maa::python {

namespace {
template <class P>
void add_sample(nb::class_<Acting>& acting) {
  if constexpr (P::Network::has_log_std) {
    acting.def("sample", &Acting::sample<P>, nb::arg("observations"), nb::kw_only(), nb::arg("seed"),
               "As act, with the noise of the log_std head; equal seeds give equal noise.");
  }
}
}  // namespace

NB_MODULE(_native, module) {
  static const auto* error = new nb::object(nb::module_::import_("maa.errors").attr("Error"));
  nb::register_exception_translator([](const std::exception_ptr& thrown, void*) {
    try {
      std::rethrow_exception(thrown);
    } catch (const Error& found) {
      PyErr_SetString(error->ptr(), found.what());
    }
  });

  module.def("structure", [] {
    Texts result;
    for (const auto& [name, text] : structure_of<Policy::Network>()) {
      result[name] = text;
    }
    return result;
  });
  module.def("require_dataset", [](const std::filesystem::path& path) { Dataset::load(path); });
  module.def("fit_options", &default_options<BehaviorRecipe>);
  module.def("generate_options", &default_options<GenerateOptions>);

  nb::class_<Acting> acting(module, "Policy",
                            "A policy that acts, of the type that the package was built for.");
  add_sample<Policy>(acting);
  acting
      .def(nb::init<Vector, Row, Row, std::optional<float>, Row, Row, PolicyMetadata>(), nb::arg("weights"),
           nb::kw_only(), nb::arg("observation_mean") = Row(), nb::arg("observation_scale") = Row(),
           nb::arg("observation_clip") = nb::none(), nb::arg("action_centre") = Row(),
           nb::arg("action_half_width") = Row(), nb::arg("metadata") = PolicyMetadata(),
           "Of flat weights [P], and what lies between the network and the world.")
      .def("act", &Acting::act, nb::arg("observations"),
           "observations [O] -> actions [A], or [rows, O] -> [rows, A]; float32, in the world's units. "
           "Arrays of NumPy, or others on the CPU that speak DLPack.")
      .def_prop_ro(
          "weights", [](const Acting& self) { return copied(self.policy.weights()); },
          "A copy of the flat weights [P]: hidden layers, mean, log_std; each weight, then bias.")
      .def_prop_ro(
          "interface",
          [](const Acting& self) {
            const auto interface = PolicyInterface::of(self.policy);
            nb::dict result;
            const auto add = [&](const char* name, const std::vector<float>& values) {
              if (!values.empty()) {
                result[name] = copied(values);
              }
            };
            add("observation_mean", interface.observation_mean);
            add("observation_scale", interface.observation_scale);
            if (interface.scales_observations() && interface.observation_clip < maa::no_clip) {
              result["observation_clip"] = interface.observation_clip;
            }
            add("action_centre", interface.action_centre);
            add("action_half_width", interface.action_half_width);
            return result;
          },
          "Observation scaling and action box, those that there are; __init__ takes them.")
      .def_rw("metadata", &Acting::metadata, "Text by key, which goes to files.")
      .def(
          "save",
          [](const Acting& self, const std::filesystem::path& path) {
            save_policy(path, self.policy, self.metadata);
          },
          nb::arg("path"))
      .def_static(
          "load",
          [](const std::filesystem::path& path) {
            return Acting(load_policy<Policy>(path), load_policy_metadata(path));
          },
          nb::arg("path"))
#if defined(MAA_PYTHON_ONNX)
      .def(
          "to_onnx",
          [](const Acting& self, const std::filesystem::path& path) {
            save_onnx(path, self.policy, self.metadata);
          },
          nb::arg("path"), "Input obs [batch, O], output actions [batch, A], opset 18.")
#endif
      .def(
          "to_c_header",
          [](const Acting& self, const std::filesystem::path& path, const std::string& name) {
            save_c_header(path, self.policy, name, self.metadata);
          },
          nb::arg("path"), nb::arg("name") = "policy", "C99 and C++: NAME_act(observation, action).");

  nb::class_<Generating>(module, "Generator")
      .def(nb::init<int>(), nb::arg("threads"))
      .def("fit", &Generating::fit, nb::arg("dataset"), nb::arg("options"), nb::arg("callback").none(),
           nb::arg("checkpoint"), nb::arg("checkpoint_every"))
      .def("load", &Generating::load)
      .def("save", &Generating::save)
      .def_prop_ro("trained", &Generating::trained)
      .def("generate", &Generating::generate)
      .def("looked_up", &Generating::looked_up)
      .def("novelty", &Generating::novelty);
}

}  // namespace maa::python

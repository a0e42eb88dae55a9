#include "temporary_folder.hpp"

#include <maa/data/trajectory.hpp>
#include <maa/io/npz.hpp>
#include <maa/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <map>

using maa::Index;
using maa::MatrixView;
using maa::Trajectory;
using test::error_of;
using test::fixture;
using test::has;

namespace {

Trajectory example(bool targets) {
  Trajectory trajectory(4, 3, 2);
  for (Index i = 0; i < 12; ++i) {
    trajectory.observations().data[i] = 0.1f * static_cast<float>(i);
  }
  for (Index i = 0; i < 8; ++i) {
    trajectory.actions().data[i] = -1.0f / static_cast<float>(i + 1);
  }
  if (targets) {
    trajectory.set_target_actions(MatrixView<const float>(trajectory.observations().data, 4, 2));
  }
  trajectory.success_step = 2;
  trajectory.task = "öffnen";
  trajectory.run = -5;
  return trajectory;
}

// [n, 1]
xt::xarray<double> column(const std::vector<double>& values) {
  auto array = xt::xarray<double>::from_shape({values.size(), 1});
  std::copy(values.begin(), values.end(), array.data());
  return array;
}
// [n]
xt::xarray<double> list(const std::vector<double>& values) {
  auto array = xt::xarray<double>::from_shape({values.size()});
  std::copy(values.begin(), values.end(), array.data());
  return array;
}

// A file of the kind that the name says, of `length` steps, with one more array of any number type.
template <class T>
void write_with(const std::filesystem::path& path, const char* name, const std::vector<Index>& shape,
                const std::vector<double>& numbers, Index length = 4) {
  std::vector<char> bytes;
  for (const double number : numbers) {
    const auto stored = static_cast<T>(number);
    bytes.insert(bytes.end(), reinterpret_cast<const char*>(&stored),
                 reinterpret_cast<const char*>(&stored) + sizeof(T));
  }
  std::map<std::string, std::vector<Index>> zeros{{"observations", {length, 3}}, {"actions", {length, 2}}};
  zeros.erase(name);
  if (path.extension() == ".npz") {
    maa::NpzWriter writer;
    for (const auto& [other, size] : zeros) {
      writer.add<float>(other, size, std::vector<float>(static_cast<std::size_t>(size[0] * size[1])));
    }
    writer.add<T>(name, shape, {reinterpret_cast<const T*>(bytes.data()), numbers.size()});
    writer.write(path);
    return;
  }
  std::string dtype = std::is_floating_point_v<T> ? "F" : std::is_signed_v<T> ? "I" : "U";
  dtype = std::is_same_v<T, bool> ? "BOOL" : dtype + maa::concatenate(8 * sizeof(T));
  std::string header, data;
  const auto add = [&](const std::string& what, const std::string& type, const std::vector<Index>& size,
                       const std::string& values) {
    header += maa::concatenate(header.empty() ? "{" : ",", "\"", what, "\":{\"dtype\":\"", type,
                               "\",\"shape\":", maa::detail::shape_text(size), ",\"data_offsets\":[",
                               data.size(), ",", data.size() + values.size(), "]}");
    data += values;
  };
  for (const auto& [other, size] : zeros) {
    add(other, "F32", size, std::string(static_cast<std::size_t>(size[0] * size[1]) * sizeof(float), '\0'));
  }
  add(name, dtype, shape, {bytes.begin(), bytes.end()});
  header += '}';
  const std::uint64_t size = header.size();
  test::write_bytes(path, std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + data);
}

bool same_numbers(MatrixView<const float> a, MatrixView<const float> b) {
  return a.rows == b.rows && a.cols == b.cols && std::equal(a.data, a.data + a.size(), b.data);
}

}  // namespace

TEST_CASE("trajectory: copies views with strides and xtensor expressions") {
  const std::vector<float> numbers{0, 1, 2, 3, 4, 5, 6, 7};
  const MatrixView<const float> all(numbers.data(), 2, 4);
  const Trajectory from_views(all.col_range(0, 3), all.col_range(3, 1));
  CHECK(from_views.length() == 2);
  CHECK(from_views.observation_size() == 3);
  CHECK(from_views.action_size() == 1);
  CHECK(from_views.observations()(1, 2) == 6);
  CHECK(from_views.actions()(1, 0) == 7);
  CHECK_FALSE(from_views.has_target_actions());
  CHECK(from_views.target_actions().rows == 0);

  const xt::xarray<double> observations{{0, 1, 2}, {4, 5, 6}};
  const xt::xtensor<int, 2> actions{{3}, {7}};
  const Trajectory from_arrays(observations, actions);
  CHECK(same_numbers(from_arrays.observations(), from_views.observations()));
  CHECK(same_numbers(from_arrays.actions(), from_views.actions()));
  CHECK(has(error_of([&] { Trajectory(observations, column({1.0})); }), "expected 2 actions, found 1"));
  CHECK(has(error_of([&] { Trajectory(observations, list({1.0, 2.0})); }), "expected 2 dimensions, found 1"));
  CHECK(has(error_of([&] { Trajectory(all, all.row_range(0, 1)); }), "expected [2, 4], found [1, 4]"));
  CHECK(has(error_of([&] { Trajectory(-1, 3, 2); }), "sizes of at least 0, found -1"));
  CHECK(has(error_of([&] { Trajectory(Index{1} << 40, 3, 2); }), "sizes of at most"));
}

TEST_CASE("trajectory: a copy is independent") {
  auto original = example(true);
  const auto copy = original;
  original.observations()(0, 0) = 7;
  CHECK(copy.observations()(0, 0) == 0);
}

TEST_CASE("trajectory: validation names step and quantity") {
  example(true).validate();
  auto nan = example(false);
  nan.actions()(3, 1) = std::nanf("");
  CHECK(has(error_of([&] { nan.validate(); }), "found nan in action 1 of step 3"));
  auto late = example(false);
  late.success_step = 4;
  CHECK(has(error_of([&] { late.validate(); }), "expected a success step below 4, found 4"));
  CHECK(has(error_of([&] { Trajectory().validate(); }), "found 0 steps"));
  auto targets = example(false);
  CHECK(has(error_of([&] { targets.set_target_actions(nan.actions().row_range(0, 3)); }),
            "expected [4, 2], found [3, 2]"));
  targets.set_target_actions(nan.actions());
  CHECK(has(error_of([&] { targets.validate(); }), "in target action 1 of step 3"));
}

TEST_CASE("trajectory: files of both kinds give the same bits back") {
  const test::TemporaryFolder folder;
  for (const auto* name : {"a.npz", "a.safetensors"}) {
    for (const bool full : {true, false}) {
      CAPTURE(name);
      auto trajectory = example(full);
      if (!full) {
        trajectory.success_step.reset();
        trajectory.task.clear();
      }
      maa::save_trajectory(folder / name, trajectory);
      const auto read = maa::load_trajectory(folder / name);
      CHECK(same_numbers(read.observations(), trajectory.observations()));
      CHECK(same_numbers(read.actions(), trajectory.actions()));
      CHECK(read.has_target_actions() == full);
      CHECK(same_numbers(read.target_actions(), trajectory.target_actions()));
      CHECK(read.success_step == trajectory.success_step);
      CHECK(read.task == trajectory.task);
      CHECK(read.run == -5);
    }
  }
}

TEST_CASE("trajectory: NumPy's archives, success as flags, step or none") {
  const auto flags = maa::load_trajectory(fixture("npy/trajectory_flags.npz"));
  CHECK(flags.length() == 5);
  CHECK(flags.observation_size() == 3);
  CHECK(flags.observations()(4, 1) == 4.25f);
  CHECK(flags.actions()(3, 1) == -3.5f);
  CHECK(flags.target_actions()(3, 1) == -2.5f);
  CHECK(flags.success_step == 2);
  CHECK(flags.task == "pick");
  CHECK(flags.run == 4);
  const auto step = maa::load_trajectory(fixture("npy/trajectory_step.npz"));
  CHECK(step.success_step == 3);
  CHECK(step.task.empty());
  CHECK(same_numbers(step.observations(), flags.observations()));
  CHECK(maa::load_trajectory(fixture("npy/trajectory_none.npz")).success_step == std::nullopt);
}

TEST_CASE("trajectory: files that say something else are refused") {
  const test::TemporaryFolder folder;
  const auto attempt = [&](const xt::xarray<double>& observations, const xt::xarray<double>& actions,
                           const xt::xarray<double>& success) {
    maa::NpzWriter writer;
    writer.add("observations", observations);
    writer.add("actions", actions);
    writer.add("success", success);
    writer.write(folder / "a.npz");
    return error_of([&] { maa::load_trajectory(folder / "a.npz"); });
  };
  const auto two = column({1.0, 2.0});
  const xt::xarray<double> none(-1.0);
  CHECK(attempt(two, two, none) == "no error");
  CHECK(has(attempt(two, column({1.0}), none), "expected 2 actions, found 1"));
  CHECK(has(attempt(list({1.0, 2.0}), two, none), "'observations': expected 2 dimensions, found shape [2]"));
  CHECK(has(attempt(column({1.0, 2.0, 3.0}), two, none),
            "expected 3 actions, found 2: leave out the last observation"));
  CHECK(has(attempt(xt::zeros<double>({2, 1, 1}), two, none),
            "found shape [2, 1, 1], not [steps, numbers per step]"));
  CHECK(has(attempt(column({1.0, HUGE_VAL}), two, none),
            "a.npz': trajectory of task '': expected finite numbers, found inf"));
  // What a file calls its task is shown in part and on one line.
  Trajectory odd(2, 1, 1);
  odd.task = "\x1b[31m\n" + std::string(5'000, 'x');
  odd.success_step = 2;
  const auto message = error_of([&] { odd.validate(); });
  CHECK(has(message, "trajectory of task '\\x1b[31m\\x0axxx"));
  CHECK(message.size() < 300);
  CHECK(has(attempt(column({1.0, 1e300}), two, none), "found inf"));
  CHECK(has(attempt(two, two, xt::xarray<double>(2.0)), "expected a step from -1 (none) to 1, found 2"));
  CHECK(has(attempt(two, two, xt::xarray<double>(0.5)), "found 0.5"));
  CHECK(has(attempt(two, two, list({0.0, 3.0})), "expected 0 or 1 per step, found 3"));
  CHECK(has(attempt(two, two, list({0.0, 1.0, 0.0})), "of shape [2], or the first"));
  CHECK(has(attempt(two, two, xt::xarray<double>(std::nan(""))), "found nan"));

  maa::SafetensorsWriter writer;
  writer.add_scalar("observations", 1.0f);
  writer.write(folder / "a.safetensors");
  CHECK(has(error_of([&] { maa::load_trajectory(folder / "a.safetensors"); }),
            "expected 2 dimensions, found shape []"));
  writer.set_metadata("format", "maa.dataset");
  writer.write(folder / "a.safetensors");
  CHECK(has(error_of([&] { maa::load_trajectory(folder / "a.safetensors"); }),
            "expected a file of format 'maa trajectory', found 'maa.dataset'"));
  CHECK(
      has(error_of([&] { maa::load_trajectory(folder / "a.pt"); }), "as .npz or .safetensors, found '.pt'"));
}

TEST_CASE("trajectory: a bool is a flag and an integer a step, in files of both kinds") {
  const test::TemporaryFolder folder;
  // What both files say: "step N", "none", or the error.
  const auto read = [&]<class T>(T, const std::vector<Index>& shape, const std::vector<double>& numbers,
                                 Index length = 4) {
    std::vector<std::string> said;
    for (const char* name : {"a.npz", "a.safetensors"}) {
      write_with<T>(folder / name, "success", shape, numbers, length);
      std::string text;
      const auto error = error_of([&] {
        const auto step = maa::load_trajectory(folder / name).success_step;
        text = step ? maa::concatenate("step ", *step) : "none";
      });
      said.push_back(text.empty() ? error.substr(error.find(name) + std::string(name).size()) : text);
    }
    CHECK(said[0] == said[1]);
    return said[0];
  };
  for (const double value : {0.0, 1.0}) {  // np.savez(..., success=False), True
    for (const auto& shape : std::vector<std::vector<Index>>{{}, {1}, {1, 1}}) {
      CHECK(has(read(bool(), shape, {value}), "expected a flag per step, of shape [4], or"));
    }
    CHECK(read(bool(), {1}, {value}, 1) == (value > 0 ? "step 0" : "none"));
    CHECK(has(read(std::int64_t(), {1}, {value}, 1), "may mean either"));
  }
  CHECK(has(read(bool(), {4, 1}, {0, 0, 1, 1}), "found bools of shape [4, 1]"));
  const auto for_numbers = [&](auto type) {
    CHECK(read(type, {4}, {0, 0, 1, 0}) == "step 2");
    CHECK(read(type, {4}, {0, 0, 0, 0}) == "none");
    CHECK(has(read(type, {4}, {0, 2, 0, 0}), "expected 0 or 1 per step, found 2"));
    CHECK(read(type, {}, {0}) == "step 0");
    CHECK(read(type, {1}, {3}) == "step 3");
    CHECK(read(type, {}, {0}, 1) == "step 0");
    CHECK(has(read(type, {}, {4}), "from -1 (none) to 3, found 4"));
    CHECK(has(read(type, {3}, {0, 0, 1}), "found numbers of shape [3]"));
  };
  CHECK(read(bool(), {4}, {0, 0, 1, 0}) == "step 2");
  for_numbers(std::int64_t());
  for_numbers(std::int32_t());
  for_numbers(std::int8_t());
  for_numbers(std::uint8_t());
  for_numbers(std::uint64_t());
  for_numbers(float());
  for_numbers(double());
  CHECK(read(std::int32_t(), {}, {-1}) == "none");
  CHECK(read(double(), {}, {-1}) == "none");
  CHECK(has(read(std::int32_t(), {}, {-7}), "from -1 (none) to 3, found -7"));
  CHECK(has(read(double(), {}, {-0.5}), "found -0.5"));
  CHECK(has(read(double(), {}, {std::nan("")}), "found nan"));
}

TEST_CASE("trajectory: observations, actions and runs of any number type, in files of both kinds") {
  const test::TemporaryFolder folder;
  for (const std::string name : {"a.npz", "a.safetensors"}) {
    CAPTURE(name);
    const auto check = [&](auto type) {
      write_with<decltype(type)>(folder / name, "actions", {2, 2}, {0, 1, 1, 0}, 2);
      const auto trajectory = maa::load_trajectory(folder / name);
      CHECK(trajectory.actions()(0, 1) == 1);
      CHECK(trajectory.actions()(1, 1) == 0);
    };
    check(bool());
    check(std::uint8_t());
    check(std::int16_t());
    check(std::int64_t());
    check(float());
    check(double());
    write_with<std::int32_t>(folder / name, "run", {}, {-3});
    CHECK(maa::load_trajectory(folder / name).run == -3);
    write_with<bool>(folder / name, "run", {}, {1});
    CHECK(has(error_of([&] { maa::load_trajectory(folder / name); }), "expected one integer, found bools"));
    write_with<double>(folder / name, "run", {}, {1});
    CHECK(has(error_of([&] { maa::load_trajectory(folder / name); }), "expected integers, found floating"));
    write_with<std::uint64_t>(folder / name, "run", {}, {1e19});
    CHECK(has(error_of([&] { maa::load_trajectory(folder / name); }), "fit the integer type"));
  }
}

TEST_CASE("trajectory: an invalid one is not written") {
  const test::TemporaryFolder folder;
  auto trajectory = example(false);
  maa::save_trajectory(folder / "a.npz", trajectory);
  trajectory.actions()(0, 0) = std::nanf("");
  CHECK(error_of([&] { maa::save_trajectory(folder / "a.npz", trajectory); }) != "no error");
  CHECK(maa::load_trajectory(folder / "a.npz").actions()(0, 0) == -1.0f);
  trajectory.actions()(0, 0) = 0;
  CHECK(has(error_of([&] { maa::save_trajectory(folder / "a.txt", trajectory); }),
            "ending in .npz or .safetensors"));
}

// Damaged files of policies, generators and checkpoints: an Error that names the file, or a load equal to
// that of the whole file; never a crash, and never other numbers.
#include <doctest/doctest.h>

#include <maa/generator.hpp>

#include "short_recipe.hpp"
#include "small_config.hpp"
#include "temporary_folder.hpp"

namespace {

using namespace maa;

using Policy = MlpPolicy<MlpNetwork<3, 2, HiddenLayers<Hidden<4, Activation::elu>>>>;

using TinyGenerator = Generator<Policy, test::TinyConfig>;

Trajectory demonstration(std::uint64_t seed) {
  Trajectory trajectory(10, 3, 2);
  Rng rng(seed);
  rng.fill_normal(trajectory.observations().span());
  rng.fill_uniform(trajectory.actions().span(), -1, 1);
  trajectory.success_step = 7;
  trajectory.task = "task";
  return trajectory;
}

Dataset dataset() {
  Dataset data(3, 2, Policy::parameter_size, {"task"});
  for (Index run = 0; run < 3; ++run) {
    data.add_policy({0, run, 0}, Policy::untrained(static_cast<std::uint64_t>(run)).weights());
    data.add_trajectory(demonstration(static_cast<std::uint64_t>(run)));
  }
  return data;
}

BehaviorRecipe options() {
  auto result = test::shortened(BehaviorRecipe(), 1, 2);
  result.behavior.queries = 4;
  return result;
}

TinyGenerator trained() {
  TinyGenerator generator{cpu::Backend(1)};
  generator.fit(dataset(), options());
  return generator;
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return std::ranges::equal(std::as_bytes(a), std::as_bytes(b));
}

Policy boxed_policy() {
  Policy::Box box;
  box.centre = {0.5f, 0};
  box.half_width = {2, 3};
  return Policy(Policy::untrained(1).weights(), box);
}

// Bytes before the data.
std::size_t header_end(const std::string& whole) {
  std::uint64_t length = 0;
  std::memcpy(&length, whole.data(), sizeof length);
  return static_cast<std::size_t>(length) + sizeof length;
}

// Cuts the file at every byte if it is small, else at every byte of its header and at 500 places in the data:
// `load` must throw an Error that names the file. The file is whole again afterwards.
template <class Load>
void check_truncations(const std::filesystem::path& path, const Load& load) {
  const auto whole = test::read_bytes(path);
  const auto header = header_end(whole);
  REQUIRE(header < whole.size());
  REQUIRE(test::error_of(load) == "no error");
  const auto step = whole.size() < 4096 ? 1 : (whole.size() - header) / 500 + 1;
  for (auto size = whole.size() - 1;; size -= size >= header + step ? step : 1) {
    std::filesystem::resize_file(path, size);
    const auto message = test::error_of(load);
    if (!test::has(message, path.string())) {
      FAIL("cut to " << size << " of " << whole.size() << " bytes: " << message);
    }
    if (size == 0) {
      break;
    }
  }
  test::write_bytes(path, whole);
}

// Changes every byte of the header in `variants` ways and calls check(position) with the damaged file there.
template <class Check>
void for_damaged_headers(const std::filesystem::path& path, int variants, const Check& check) {
  const auto whole = test::read_bytes(path);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](std::size_t position, char byte) {
    file.seekp(static_cast<std::streamoff>(position));
    file.put(byte);
    file.flush();
  };
  Rng rng(1);
  for (std::size_t position = 0; position < header_end(whole); ++position) {
    for (int i = 0; i < variants; ++i) {
      const auto change = static_cast<int>(rng.below(255)) + 1;
      // Half of them single bits, which keep more of the text well formed.
      const auto mask = i % 2 == 0 ? 1 << change % 8 : change;
      CAPTURE(position);
      CAPTURE(mask);
      put(position, static_cast<char>(whole[position] ^ mask));
      check(position);
    }
    put(position, whole[position]);
  }
  CHECK(file.good());
}

TEST_CASE("a policy file cut at any byte is an Error") {
  const test::TemporaryFolder folder;
  const auto path = folder / "policy.safetensors";
  save_policy(path, boxed_policy());
  check_truncations(path, [&] { load_policy<Policy>(path); });
}

TEST_CASE("a policy file with a damaged header is an Error or the same policy") {
  const test::TemporaryFolder folder;
  const auto path = folder / "policy.safetensors";
  const auto policy = boxed_policy();
  save_policy(path, policy);
  int same = 0;
  int refused = 0;
  for_damaged_headers(path, 8, [&](std::size_t) {
    try {
      const auto loaded = load_policy<Policy>(path);
      ++same;
      REQUIRE(same_bits(loaded.weights(), policy.weights()));
      REQUIRE(loaded.box() == policy.box());
    } catch (const Error& error) {
      ++refused;
      REQUIRE(test::has(error.what(), path.string()));
    }
  });
  CHECK(same > 0);  // for example another letter in a metadata text
  CHECK(refused > same);
}

TEST_CASE("a generator file cut at any byte is an Error") {
  const test::TemporaryFolder folder;
  const auto path = folder / "generator.safetensors";
  trained().save(path);
  check_truncations(path, [&] { TinyGenerator::load(path, cpu::Backend(1)); });
}

TEST_CASE("a generator file with a damaged header is an Error or the same generator") {
  const test::TemporaryFolder folder;
  const auto path = folder / "generator.safetensors";
  const auto generator = trained();
  generator.save(path);
  const auto prompt = demonstration(9);
  const auto policy = generator.generate(prompt)[0];
  // Options are texts: there another digit makes another valid file.
  const auto options_end = test::read_bytes(path).find('}');
  int same = 0;
  int refused = 0;
  for_damaged_headers(path, 2, [&](std::size_t position) {
    try {
      const auto loaded = TinyGenerator::load(path, cpu::Backend(1));
      ++same;
      REQUIRE(same_bits(loaded.state().parameters.span(), generator.state().parameters.span()));
      const auto again = loaded.generate(prompt);
      REQUIRE((position < options_end || same_bits(again[0].weights(), policy.weights())));
    } catch (const Error&) {
      ++refused;
    }
  });
  CHECK(same > 0);
  CHECK(refused > same);
}

// The file with another text for a key of its metadata.
std::string with_metadata(const std::string& whole, const std::string& key, const std::string& text) {
  const auto end = header_end(whole);
  auto header = whole.substr(8, end - 8);
  const auto quoted = "\"" + key + "\":\"";
  const auto at = header.find(quoted);
  REQUIRE(at != header.npos);
  const auto first = at + quoted.size();
  header.replace(first, header.find('"', first) - first, text);
  const std::uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + whole.substr(end);
}

TEST_CASE("a generator file with a tensor that nobody reads is an Error, or allowed") {
  const test::TemporaryFolder folder;
  const auto path = folder / "generator.safetensors";
  trained().save(path);
  const auto whole = test::read_bytes(path);
  const auto end = header_end(whole);
  auto header = whole.substr(8, end - 8);
  const auto last = whole.size() - end;
  header.insert(
      header.rfind('}'),
      concatenate(R"(,"other.mean":{"dtype":"F8_E4M3","shape":[0],"data_offsets":[)", last, ",", last, "]}"));
  const std::uint64_t size = header.size();
  test::write_bytes(
      path, std::string(reinterpret_cast<const char*>(&size), sizeof size) + header + whole.substr(end));
  CHECK(test::has(test::error_of([&] { TinyGenerator::load(path, cpu::Backend(1)); }),
                  "found 'other.mean' [0]"));
  CHECK(TinyGenerator::load(path, cpu::Backend(1), Unread::allow).trained());
}

TEST_CASE("any number in a generator's options: an Error that names file and option, or policies") {
  const test::TemporaryFolder folder;
  const auto path = folder / "generator.safetensors";
  const auto generator = trained();
  generator.save(path);
  const auto whole = test::read_bytes(path);
  const auto attempt = [&](const std::string& file, const std::string& key, const std::string& text) {
    test::write_bytes(path, with_metadata(file, key, text));
    const auto message = test::error_of(
        [&] { TinyGenerator::load(path, cpu::Backend(1)).generate(demonstration(9), {.count = 2}); });
    CAPTURE(key);
    CAPTURE(text);
    CAPTURE(message);
    CHECK((message == "no error" || test::has(message, path.string()) || test::has(message, "generate: ")));
    return message;
  };
  auto settings = generator.state().settings;
  settings.corrective = {.effector = {0}, .objects = {1}, .earlier = 1, .axes = 1};
  auto corrective = whole;
  for (const auto& field : fields_of(settings, "settings.")) {
    corrective = with_metadata(corrective, field.name, field.text);
  }
  for (const auto& file : {whole, corrective}) {
    REQUIRE(attempt(file, "settings.diffusion.steps", "100") == "no error");
    for (const auto& field : fields_of(settings, "settings.")) {
      for (const char* number : {"-9223372036854775808", "-1", "0", "1", "2", "7", "10000", "1000000",
                                 "1000000000", "2147483648", "4611686018427387904", "9223372036854775807",
                                 "9223372036854775808", "1e300", "-1e300", "1e-300", "nan", "inf", ""}) {
        attempt(file, field.name, field.text[0] == '[' ? concatenate("[", number, "]") : number);
      }
    }
  }
  std::string many = "[0.5";
  for (int i = 1; i < 100'000; ++i) {
    many += ", 0.5";
  }
  CHECK(test::has(attempt(whole, "settings.guidance", many + "]"), "at most 100 elements"));
  CHECK(test::has(attempt(whole, "settings.sampling.steps", "101"),
                  "expected sampling.steps from 1 to 100, the timesteps of the diffusion"));
}

TEST_CASE("a checkpoint cut at any byte is an Error, and the whole one still resumes") {
  const test::TemporaryFolder folder;
  const auto data = dataset();
  auto chosen = options();
  chosen.checkpoint = folder / "checkpoint.safetensors";
  TinyGenerator generator{cpu::Backend(1)};
  const auto stop = [](const TrainProgress& progress) { return progress.stage != "behavior"; };
  REQUIRE_FALSE(generator.fit(data, chosen, stop));
  const auto whole_path = folder / "whole.safetensors";
  std::filesystem::copy_file(chosen.checkpoint, whole_path);
  const auto whole = test::read_bytes(whole_path);
  const auto fit = [&] {
    TinyGenerator resumed{cpu::Backend(1)};
    resumed.fit(data, chosen);
  };
  for (std::size_t i = 0; i < 200; ++i) {
    test::write_bytes(chosen.checkpoint, whole.substr(0, i * whole.size() / 200));
    REQUIRE(test::has(test::error_of(fit), chosen.checkpoint.string()));
  }
  // The two numbers that are no weights, each out of range.
  for (const auto* name : {"stage", "trainer.step"}) {
    const SafetensorsReader reader(whole_path);
    auto damaged = whole;
    damaged[header_end(whole) + static_cast<std::size_t>(reader.info(name).begin)] = 100;
    test::write_bytes(chosen.checkpoint, damaged);
    CHECK(test::has(test::error_of(fit), "found 100"));
  }
  test::write_bytes(chosen.checkpoint, whole);
  CHECK(test::error_of(fit) == "no error");
}

}  // namespace

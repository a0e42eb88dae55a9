// Exported policies act as MlpPolicy::act: C headers here, compiled as C and as C++; ONNX models are written
// for tests/export/check_onnx.py.
#include <doctest/doctest.h>

#include <maa/io/c_header.hpp>
#if __has_include(<protozero/pbf_builder.hpp>)
#include <maa/io/onnx.hpp>
#endif

#include "errors.hpp"
#include "temporary_folder.hpp"

#include <cstdlib>
#include <fstream>

namespace {

using namespace maa;

template <Activation first, Activation second, Squash squash, Index observations = 11>
using Policy = MlpPolicy<
    MlpNetwork<observations, 3, HiddenLayers<Hidden<33, first>, Hidden<20, second>>, Heads::mean, squash>>;
using Gelu = Policy<Activation::gelu, Activation::tanh, Squash::tanh>;

// A policy of that type with or without an interface, and weights that saturate some of its units.
template <class P>
P policy_of(bool with_interface) {
  auto weights = Buffer<float>(P::untrained(3).weights());
  for (float& weight : weights) {
    weight *= 2;
  }
  typename P::Scaling scaling;
  typename P::Box box;
  if (with_interface) {
    Rng rng(1);
    rng.fill_normal(std::span<float>(scaling.mean));
    rng.fill_uniform(std::span<float>(scaling.scale), 0.3, 3.0);
    scaling.clip = 1.25f;
    rng.fill_normal(std::span<float>(box.centre));
    rng.fill_uniform(std::span<float>(box.half_width), 0.25, 1.0);
  }
  return P(std::as_const(weights).span(), box, scaling);
}

void write_numbers(const std::filesystem::path& path, std::span<const float> numbers) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(numbers.data()),
             static_cast<std::streamsize>(numbers.size_bytes()));
}

constexpr Index rows = 10'000;

// Writes NAME.observations, NAME.actions (what act gives), NAME.h and NAME.onnx.
template <class P>
Buffer<float> write_exports(const std::filesystem::path& folder, const std::string& name, const P& policy) {
  Buffer<float> observations(rows * P::observation_size), actions(rows * P::action_size);
  Rng(5).fill_normal(observations.span());
  for (Index i = 0; i < rows; ++i) {
    policy.act(std::as_const(observations)
                   .span()
                   .subspan(static_cast<std::size_t>(i * P::observation_size), P::observation_size),
               actions.span().subspan(static_cast<std::size_t>(i * P::action_size), P::action_size));
  }
  write_numbers(folder / (name + ".observations"), observations.span());
  write_numbers(folder / (name + ".actions"), actions.span());
  const PolicyMetadata metadata{{"joint_names", "hip,knee"}};
  save_c_header(folder / (name + ".h"), policy, name, metadata);
#if __has_include(<protozero/pbf_builder.hpp>)
  save_onnx(folder / (name + ".onnx"), policy, metadata);
#endif
  return actions;
}

// Compiles a program of the header with warnings as errors and runs it over the observations.
Buffer<float> run_c_program(const std::filesystem::path& folder, const std::string& name,
                            const std::string& language, Index actions) {
  std::ofstream(folder / "main.c")
      << "#include \"" << name << ".h\"\n#include <stdio.h>\n"
      << "int main(void) {\n  float o[" << name << "_observation_size], a[" << name
      << "_action_size];\n  while (fread(o, sizeof o, 1, stdin) == 1) {\n    " << name
      << "_act(o, a);\n    fwrite(a, sizeof a, 1, stdout);\n  }\n  return 0;\n}\n";
  const auto program = (folder / "program").string();
  const auto compile = std::string(MAA_TEST_COMPILER) + " -x " + language +
                       " -O2 -Wall -Wextra -Wpedantic -Werror " + (folder / "main.c").string() + " -lm -o " +
                       program;
  REQUIRE(std::system(compile.c_str()) == 0);
  const auto result = folder / "result";
  const auto run = program + " < " + (folder / (name + ".observations")).string() + " > " + result.string();
  REQUIRE(std::system(run.c_str()) == 0);
  Buffer<float> found(rows * actions);
  std::ifstream(result, std::ios::binary)
      .read(reinterpret_cast<char*>(found.data()), static_cast<std::streamsize>(found.span().size_bytes()));
  return found;
}

void check_close(const Buffer<float>& found, const Buffer<float>& expected, double bound) {
  double worst = 0;
  for (Index i = 0; i < expected.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i])));
  }
  CHECK(worst <= bound);
}

template <class P>
void check_exports(const std::string& name, bool with_interface) {
  CAPTURE(name);
  const test::TemporaryFolder temporary;
  const char* kept = std::getenv("MAA_TEST_EXPORTS");  // where check_onnx.py looks
  const std::filesystem::path folder = kept != nullptr ? std::filesystem::path(kept) : temporary / "exports";
  std::filesystem::create_directories(folder);
  const auto expected = write_exports(folder, name, policy_of<P>(with_interface));
  check_close(run_c_program(folder, name, "c -std=c99", P::action_size), expected, 1e-6);
  check_close(run_c_program(folder, name, "c++ -std=c++11", P::action_size), expected, 1e-6);
}

TEST_CASE("C headers act as the policy, with every activation, squashing, scaling and box") {
  check_exports<Policy<Activation::relu, Activation::elu, Squash::tanh>>("relu_elu_tanh", false);
  check_exports<Policy<Activation::mish, Activation::identity, Squash::clip>>("mish_identity_clip", true);
  check_exports<Gelu>("gelu_tanh_tanh", true);
  check_exports<Policy<Activation::elu, Activation::tanh, Squash::none, 5>>("elu_tanh_none", true);
}

TEST_CASE("names that are no identifiers are errors, and metadata cannot end its comment") {
  const auto policy = policy_of<Gelu>(false);
  for (const char* name : {"", "2legs", "a-b", "a b"}) {
    CHECK_THROWS_WITH_AS(c_header_text(ExportedPolicy(policy), name), doctest::Contains("C identifier"),
                         Error);
  }
  const auto text = c_header_text(ExportedPolicy(policy), "policy", {{"note", "*/ int evil; /*\nnext"}});
  CHECK(text.find("*/ int evil") == std::string::npos);
  CHECK(text.find("note:  / int evil; /  next") != std::string::npos);
}

}  // namespace

// Whatever call to the device fails: an Error comes out, nothing leaks, and the same backend then computes
// the right numbers.
#include <doctest/doctest.h>

#include "temporary_folder.hpp"

#include <maa/backend/cuda/transfer.hpp>
#include <maa/testing/emulated_device.hpp>
#include <maa/testing/failing_device.hpp>

#include <numeric>

using namespace maa;

namespace {

// Passes calls on to a device that lives on.
class Borrowed : public cuda::Driver {
 public:
  explicit Borrowed(cuda::Driver& device) : device_(device) {}
  std::string describe() const override { return device_.describe(); }
  void* allocate(Index bytes) override { return device_.allocate(bytes); }
  void release(void* memory) noexcept override { device_.release(memory); }
  void* allocate_staging(Index bytes) override { return device_.allocate_staging(bytes); }
  void release_staging(void* memory) noexcept override { device_.release_staging(memory); }
  void run(std::span<const cuda::Command> commands) override { device_.run(commands); }
  std::unique_ptr<Graph> record(std::span<const cuda::Command> commands) override {
    return device_.record(commands);
  }
  void launch(const Graph& graph) override { device_.launch(graph); }
  void synchronize() override { device_.synchronize(); }

 private:
  cuda::Driver& device_;
};

struct Result {
  std::vector<float> weights;
  double loss = 0;
  friend bool operator==(const Result&, const Result&) = default;
};

constexpr Index rows = 6, inputs = 5, outputs = 4, steps = 4;

std::vector<float> numbers(Index count, float scale) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = scale * static_cast<float>((i * 7 + 3) % 11) - 1;
  }
  return values;
}

// Steps of a linear regression: y = x W + b - target; W += x' y (a plain sum instead of a descent: no kernel
// is needed that others write), and the first two floats of y as the bits of a scalar.
Result train(const cuda::Backend& backend) {
  auto& context = backend.context();
  const auto session = backend.session();
  auto& workspace = session.workspace();
  const auto scope = workspace.scope();
  cuda::Array<float> weights(backend, inputs * outputs);
  const auto start = numbers(inputs * outputs, 0.01f);
  upload(backend, std::span<const float>(start), weights.span());
  Result result;
  for (Index step = 0; step < steps; ++step) {
    const auto inner = workspace.scope();
    const auto x_host = numbers(rows * inputs, 0.1f * static_cast<float>(step + 1));
    const auto target_host = numbers(rows * outputs, 0.2f);
    const auto x = uploaded(backend, MatrixView<const float>(x_host.data(), rows, inputs), workspace);
    const auto* const target = context.transient(std::span<const float>(target_host));
    const auto y = workspace.matrix<cuda::Real>(rows, outputs);
    cuda::Product forward;
    forward.a = raw(x.data), forward.b = raw(weights.data()), forward.c = raw(y.data);
    forward.m = rows, forward.n = outputs, forward.k = inputs;
    forward.a_row = inputs, forward.b_row = outputs, forward.c_row = outputs;
    context.append(forward);
    add_matrix(backend, cuda::In(target, rows, outputs), y);
    cuda::Product gradient;
    gradient.a = raw(x.data), gradient.b = raw(y.data), gradient.c = raw(weights.data());
    gradient.m = inputs, gradient.n = outputs, gradient.k = rows;
    gradient.a_row = inputs, gradient.b_row = outputs, gradient.c_row = outputs;
    gradient.a_transposed = 1, gradient.accumulate = 1;
    context.append(gradient);
    const auto scalar = context.make_scalar();
    auto* const place = reinterpret_cast<cuda::Real*>(context.address_of(scalar));
    copy_matrix(backend, cuda::In(y.data, 1, 2), cuda::Out(place, 1, 2));
    for (int i = 0; i < 4; ++i) {  // long enough for a graph
      add_row(backend, y, weights.data(), y);
    }
    result.loss = read(backend, scalar);
  }
  cuda::Array<float> copy(backend, inputs * outputs);  // released with work pending
  copy_matrix(backend, cuda::In(weights.data(), 1, weights.size()), cuda::Out(copy.data(), 1, copy.size()));
  result.weights.resize(static_cast<std::size_t>(copy.size()));
  download(backend, copy.span(), result.weights);
  return result;
}

}  // namespace

TEST_CASE("any call to the device may fail") {
  testing::EmulatedDevice device;
  testing::FailingDevice failing(device);
  Result expected;
  Index calls = 0;
  {
    const cuda::Backend backend(std::make_unique<Borrowed>(failing));
    failing.fail_at(-1);
    expected = train(backend);
    CHECK(backend.context().graph_launches() > 0);
    calls = failing.calls();
  }
  CHECK(device.blocks() == 0);
  CHECK(calls > 40);

  for (Index call = 0; call < calls; ++call) {
    CAPTURE(call);
    {
      const cuda::Backend backend(std::make_unique<Borrowed>(failing));
      failing.fail_at(call);
      const auto message = test::error_of([&] { train(backend); });
      CAPTURE(message);
      REQUIRE(failing.has_failed());
      CHECK(test::has(message, "on purpose, call " + std::to_string(call)));
      for (int again = 0; again < 2; ++again) {
        CHECK(train(backend) == expected);
      }
      CHECK(backend.context().graph_launches() > 0);
    }
    CHECK(device.blocks() == 0);
  }
}

TEST_CASE("any call may fail in a backend that is in use") {
  testing::EmulatedDevice device;
  testing::FailingDevice failing(device);
  Index calls = 0, failures = 0;
  {
    const cuda::Backend backend(std::make_unique<Borrowed>(failing));
    const auto expected = train(backend);
    failing.fail_at(-1);
    CHECK(train(backend) == expected);
    calls = failing.calls();
    for (Index call = 0; call < calls; ++call) {
      CAPTURE(call);
      failing.fail_at(call);
      const auto message = test::error_of([&] { train(backend); });
      CAPTURE(message);
      // Graphs take fewer calls than the first run.
      failures += failing.has_failed();
      CHECK(test::has(message, "on purpose, call " + std::to_string(call)) == failing.has_failed());
      failing.fail_at(-1);
      CHECK(train(backend) == expected);
    }
    CHECK(failures > 10);
  }
  CHECK(device.blocks() == 0);
}

TEST_CASE("a failure while memory is given back is told later") {
  testing::EmulatedDevice device;
  testing::FailingDevice failing(device);
  {
    const cuda::Backend backend(std::make_unique<Borrowed>(failing));
    cuda::Array<float> array(backend, 4);
    std::vector<float> values(4);
    download(backend, array.span(), values);
    const auto scalar = backend.context().make_scalar();
    {
      const cuda::Array<float> gone(backend, 4);
      failing.fail_at(0);
    }
    CHECK(failing.has_failed());
    CHECK(test::error_of([&] { download(backend, array.span(), values); }) ==
          "cuda: work started earlier has failed: command fails on purpose, call 0");
    CHECK(test::error_of([&] { read(backend, scalar); }) ==
          "cuda: a scalar was read after a later reading or failure");
    download(backend, array.span(), values);
    CHECK(values == std::vector<float>(4, 0));
  }
  CHECK(device.blocks() == 0);
}

TEST_CASE("a reading that fails leaves no half-read scalars") {
  testing::EmulatedDevice device;
  testing::FailingDevice failing(device);
  {
    const cuda::Backend backend(std::make_unique<Borrowed>(failing));
    auto& context = backend.context();
    bool finished = false;
    for (Index call = 0; call < 20; ++call) {
      CAPTURE(call);
      const auto scalar = context.make_scalar();
      auto* const place = reinterpret_cast<cuda::Real*>(context.address_of(scalar));
      const double value = static_cast<double>(call) + 0.5;
      const auto* const bits = context.transient(std::span<const double>(&value, 1));
      copy_matrix(backend, cuda::In(reinterpret_cast<const cuda::Real*>(bits), 1, 2), cuda::Out(place, 1, 2));
      failing.fail_at(call);
      const auto message = test::error_of([&] { read(backend, scalar); });
      if (message == "no error") {
        CHECK(call > 2);
        finished = true;
        break;
      }
      failing.fail_at(-1);
      double found = value;
      const auto later = test::error_of([&] { found = read(backend, scalar); });
      CHECK(found == value);
      CHECK((later == "no error" || test::has(later, "failure")));
    }
    CHECK(finished);
  }
  CHECK(device.blocks() == 0);
}

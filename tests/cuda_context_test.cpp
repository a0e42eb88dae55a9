// Lists of commands and graphs, transient memory, scalars, blocks of memory and sessions of the CUDA backend.
#include <doctest/doctest.h>

#include "cuda_device.hpp"
#include "temporary_folder.hpp"

#include <maa/backend/cuda/context.hpp>

#include <numeric>
#include <thread>

using namespace maa;

namespace {

std::vector<float> numbers(Index count, float first = 1) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), first);
  return values;
}

// to += from, `times` commands.
void add(const cuda::Backend& backend, cuda::In from, cuda::Out to, int times) {
  for (int i = 0; i < times; ++i) {
    add_matrix(backend, from, to);
  }
}

// A view of device memory with host numbers that last until the list has run.
cuda::In transient(const cuda::Backend& backend, const std::vector<float>& values) {
  return {backend.context().transient(std::span<const float>(values)), 1, static_cast<Index>(values.size())};
}

// Host and device memory do not mix: what would mix them does not compile.
static_assert(std::is_invocable_v<decltype(&cuda::copy_matrix), const cuda::Backend&, cuda::In, cuda::Out>);
static_assert(
    !std::is_invocable_v<decltype(&cuda::copy_matrix), const cuda::Backend&, MatrixView<float>, cuda::Out>);
static_assert(
    !std::is_invocable_v<decltype(&cuda::copy_matrix), const cuda::Backend&, cuda::In, MatrixView<float>>);
static_assert(!std::is_convertible_v<cuda::Real, float> && !std::is_convertible_v<float*, cuda::Real*>);
static_assert(!std::is_convertible_v<cuda::Out, MatrixView<const float>>);
static_assert(!std::is_invocable_v<decltype(&cuda::fill_zero), const cuda::Backend&, cuda::In>);  // read only
static_assert(!std::is_convertible_v<Workspace&, cuda::Workspace&>);
static_assert(cuda::DeviceMemory::holds<cuda::Real> && !cuda::DeviceMemory::holds<float>);

}  // namespace

TEST_CASE("a list that comes again is a graph") {
  const auto backend = test_backend();
  auto& context = backend.context();
  DeviceMatrix from(backend, 1, 300, numbers(300)), to(backend, 1, 300);
  context.flush();

  for (int round = 1; round <= 4; ++round) {
    add(backend, from.view(), to.view(), 10);
    CHECK(context.pending() == 10);
    context.flush();
    CHECK(context.pending() == 0);
    CHECK(context.graphs() == (round < 2 ? 0 : 1));
    CHECK(context.graph_launches() == round - 1);
  }
  CHECK(to.values()[6] == 40.0f * 7);
  CHECK(context.graph_launches() == 3);  // a reading changes no list

  SUBCASE("a list read in place of flushed is the same list") {
    add(backend, from.view(), to.view(), 10);
    CHECK(to.values()[6] == 50.0f * 7);
    CHECK(context.graph_launches() == 4);
  }
  SUBCASE("one argument differs") {
    add(backend, from.view(), to.view(), 9);
    add_matrix(backend, from.view().col_range(0, 299), to.view().col_range(0, 299));
    CHECK(to.values()[299] == 49.0f * 300);
    CHECK(context.graph_launches() == 3);
  }
  SUBCASE("one command more, or in another order") {
    add(backend, from.view(), to.view(), 11);
    context.flush();
    for (int twice = 0; twice < 2; ++twice) {
      add(backend, from.view(), to.view(), 9);
      copy_matrix(backend, from.view(), to.view());
      context.flush();
    }
    CHECK(context.graph_launches() == 4);
    copy_matrix(backend, from.view(), to.view());
    add(backend, from.view(), to.view(), 9);
    CHECK(to.values()[6] == 10.0f * 7);
    CHECK(context.graph_launches() == 4);
  }
  SUBCASE("short lists are not worth one") {
    for (int i = 0; i < 5; ++i) {
      add(backend, from.view(), to.view(), 2);
      context.flush();
    }
    CHECK(to.values()[6] == 50.0f * 7);
    CHECK(context.graph_launches() == 3);
  }
  SUBCASE("only the lists used last are kept") {
    for (Index cols = 1; cols <= 70; ++cols) {
      add(backend, from.view().col_range(0, cols), to.view().col_range(0, cols), 8);
      context.flush();
    }
    add(backend, from.view(), to.view(), 10);
    context.flush();
    CHECK(context.graph_launches() == 3);
    CHECK(context.graphs() == 0);
    CHECK(to.values()[0] == 50.0f + 70 * 8);
  }
}

TEST_CASE("equal steps are one graph also with numbers that differ") {
  const auto backend = test_backend();
  auto& context = backend.context();
  DeviceMatrix sum(backend, 1, 3);
  context.flush();
  for (int step = 1; step <= 5; ++step) {
    for (int i = 0; i < 8; ++i) {
      add_matrix(backend, transient(backend, {static_cast<float>(step), static_cast<float>(i), 1}),
                 sum.view());
    }
    context.flush();
  }
  CHECK(context.graph_launches() == 4);
  CHECK(sum.values() == std::vector<float>{15 * 8, 28 * 5, 40});
}

TEST_CASE("transient memory lasts until its list ends") {
  const auto backend = test_backend();
  auto& context = backend.context();

  SUBCASE("arrays do not overlap, and grow") {
    std::vector<DeviceMatrix> results;
    std::vector<cuda::In> views;
    const Index sizes[] = {1, 0,       63, 64,      65, 200'000,
                           1, 400'000, 7,  900'000, 2};  // beyond the first megabyte
    float first = 1;
    for (const Index size : sizes) {
      views.push_back(transient(backend, numbers(size, first)));
      first += static_cast<float>(size);
    }
    for (std::size_t i = 0; i < views.size(); ++i) {  // all are still there
      CHECK(reinterpret_cast<std::uintptr_t>(views[i].data) % 64 == 0);
      results.emplace_back(backend, 1, views[i].cols);
      copy_matrix(backend, views[i], results.back().view());
    }
    first = 1;
    for (std::size_t i = 0; i < views.size(); ++i) {
      CHECK(results[i].values() == numbers(sizes[i], first));
      first += static_cast<float>(sizes[i]);
    }
  }
  SUBCASE("a step that did not fit at first fits later, at equal addresses") {
    DeviceMatrix sum(backend, 1, 400'000);
    std::vector<const void*> addresses;
    for (int step = 0; step < 4; ++step) {
      addresses.clear();
      for (int i = 0; i < 8; ++i) {
        const auto view = transient(backend, std::vector<float>(400'000, static_cast<float>(step + 1)));
        addresses.push_back(view.data);
        add_matrix(backend, view, sum.view());
      }
      context.flush();
    }
    CHECK(context.graph_launches() >= 1);
    CHECK(sum.values() == std::vector<float>(400'000, 8 * 10));
    for (int i = 0; i < 8; ++i) {
      CHECK(transient(backend, std::vector<float>(400'000)).data == addresses[static_cast<std::size_t>(i)]);
    }
  }
  SUBCASE("also when the list is started on the way because it is long") {
    DeviceMatrix sum(backend, 1, 2), other(backend, 1, 2);
    const auto one = transient(backend, {1, 2});
    add(backend, one, sum.view(), 9000);
    const auto two = transient(backend, {10, 20});
    add(backend, two, other.view(), 9000);
    add(backend, one, sum.view(), 1);
    CHECK(sum.values() == std::vector<float>{9001, 18002});
    CHECK(other.values() == std::vector<float>{90'000, 180'000});
  }
  SUBCASE("also when memory is given back, large arrays are uploaded or memory is taken on the way") {
    DeviceMatrix sum(backend, 1, 2);
    const auto one = transient(backend, {1, 2});
    { const DeviceMatrix gone(backend, 5, 5); }
    const auto two = transient(backend, {10, 20});
    DeviceMatrix large(backend, 1, (1 << 20) + 1, numbers((1 << 20) + 1));
    const auto three = transient(backend, {100, 200});
    for (const auto view : {one, two, three}) {
      add_matrix(backend, view, sum.view());
    }
    CHECK(sum.values() == std::vector<float>{111, 222});
    CHECK(large.values() == numbers((1 << 20) + 1));
  }
  SUBCASE("a list filled exactly to where it is started") {
    DeviceMatrix sum(backend, 1, 1);
    for (int before : {8189, 8190, 8191, 8192, 8193}) {
      context.flush();
      fill_zero(backend, sum.view());
      context.flush();
      const std::vector<float> nothing{0}, one{1};
      DeviceMatrix zero(backend, 1, 1, nothing);
      context.flush();
      add(backend, zero.view(), sum.view(), before);
      const auto a = transient(backend, one);
      add(backend, a, sum.view(), 2);
      CHECK(sum.values()[0] == 2);
    }
  }
}

TEST_CASE("uploads and downloads of any size") {
  const auto backend = test_backend();
  constexpr Index piece = 1 << 20;  // numbers in one piece
  for (const Index size : {Index{0}, Index{1}, piece - 1, piece, piece + 1, 2 * piece, 2 * piece + 12'345}) {
    CAPTURE(size);
    DeviceMatrix matrix(backend, 1, size, numbers(size));
    CHECK(matrix.values() == numbers(size));
  }
  DeviceMatrix matrix(backend, 1, 4);
  CHECK(matrix.values() == std::vector<float>(4, 0));
  CHECK(test::error_of([&] { upload(backend, std::span<const float>(numbers(3)), matrix.view().span()); }) ==
        "upload: expected 4 numbers, found 3");
  auto few = numbers(3);
  CHECK(test::error_of([&] { download(backend, matrix.view().span(), few); }) ==
        "download: expected 3 numbers, found 4");
  // Pieces come after what is pending, and before what follows.
  DeviceMatrix large(backend, 1, piece + 1), sum(backend, 1, piece + 1);
  const auto ones = std::vector<float>(piece + 1, 1.0f), twos = std::vector<float>(piece + 1, 2.0f);
  upload(backend, std::span<const float>(ones), large.view().span());
  add_matrix(backend, large.view(), sum.view());
  upload(backend, std::span<const float>(twos), large.view().span());
  add_matrix(backend, large.view(), sum.view());
  CHECK(sum.values() == std::vector<float>(piece + 1, 3.0f));
}

TEST_CASE("scalars are read once and together") {
  const auto backend = test_backend();
  auto& context = backend.context();
  // Bytes of doubles, written by a kernel that copies floats.
  const auto write = [&](double value) {
    const auto scalar = context.make_scalar();
    const auto* const from =
        reinterpret_cast<const cuda::Real*>(context.transient(std::span<const double>(&value, 1)));
    auto* const to = reinterpret_cast<cuda::Real*>(context.address_of(scalar));
    copy_matrix(backend, cuda::In(from, 1, 2), cuda::Out(to, 1, 2));
    return scalar;
  };
  const auto a = write(1.5), b = write(-2.25);
  const auto* const address = context.address_of(a);
  CHECK(read(backend, b) == -2.25);
  CHECK(read(backend, a) == 1.5);
  CHECK(read(backend, a) == 1.5);  // as often as one likes
  CHECK(test::error_of([&] { context.address_of(a); }) ==
        "cuda: a scalar was used after a later reading or failure");

  const auto c = write(3);
  CHECK(context.address_of(c) == address);  // equal steps use equal places
  CHECK(read(backend, a) == 1.5);           // still the last reading
  CHECK(read(backend, c) == 3);
  const std::string too_late = "cuda: a scalar was read after a later reading or failure";
  CHECK(test::error_of([&] { read(backend, a); }) == too_late);
  CHECK(test::error_of([&] { read(backend, cuda::Scalar()); }) == too_late);

  const auto d = write(4);
  context.drop();
  CHECK(test::error_of([&] { read(backend, d); }) == too_late);
  CHECK(test::error_of([&] { read(backend, c); }) == too_late);
  for (int i = 0; i < 256; ++i) {
    context.make_scalar();
  }
  CHECK(test::error_of([&] { context.make_scalar(); }) ==
        "cuda: expected at most 256 scalars between two readings");
}

TEST_CASE("memory is given back after the commands that use it") {
  const auto backend = test_backend();
  DeviceMatrix sum(backend, 1, 100);
  {
    DeviceMatrix from(backend, 1, 100, numbers(100));
    add(backend, from.view(), sum.view(), 3);
    CHECK(backend.context().pending() > 0);
  }
  CHECK(backend.context().pending() == 0);
  DeviceMatrix other(backend, 1, 100, numbers(100, 1000));  // may have the same address
  CHECK(sum.values()[9] == 30);
  CHECK(other.values() == numbers(100, 1000));
  // A backend may end before its arrays.
  cuda::Array<float> array;
  { array = cuda::Array<float>(test_backend(), 10); }
  CHECK(array.size() == 10);
}

TEST_CASE("sessions of two threads take turns") {
  const auto backend = test_backend();
  DeviceMatrix first(backend, 1, 50, numbers(50)), second(backend, 1, 50, numbers(50, 100));
  backend.context().flush();
  std::string errors[2];
  const auto work = [&](DeviceMatrix& matrix, std::string& error) {
    for (int i = 0; i < 50 && error.empty(); ++i) {
      error = test::error_of([&] {
        const auto session = backend.session();
        auto& workspace = session.workspace();
        const auto scope = workspace.scope();
        const auto copy = workspace.matrix<cuda::Real>(1, 50);
        copy_matrix(backend, matrix.view(), copy);
        const auto inner = backend.session();  // of the same thread
        add_matrix(backend, transient(backend, std::vector<float>(50, 1.0f)), copy);
        copy_matrix(backend, copy, matrix.view());
        const DeviceMatrix gone(backend, 2, 2);
        require(matrix.values().size() == 50, "no numbers");
      });
      error = error == "no error" ? "" : error;
    }
  };
  std::thread other(work, std::ref(second), std::ref(errors[1]));
  work(first, errors[0]);
  other.join();
  CHECK(errors[0] == "");
  CHECK(errors[1] == "");
  CHECK(first.values() == numbers(50, 51));
  CHECK(second.values() == numbers(50, 150));
}

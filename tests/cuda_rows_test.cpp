// What lies between the models, on the CUDA backend against the CPU's: ops with a number for every row or
// column, random numbers, sampling, embedding of timesteps.
#include "cuda_device.hpp"
#include "ops_helpers.hpp"

#include <maa/backend/cuda/embedding.hpp>
#include <maa/backend/cuda/random.hpp>
#include <maa/backend/cuda/rows.hpp>

#include <algorithm>

using namespace ops;
using namespace maa;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::array<Index, 2> shapes[] = {{1, 1}, {3, 7}, {17, 33}, {2, 300}, {0, 5}};

// The same numbers on host and device, in rows that lie `gap` numbers apart.
struct Numbers {
  Index rows, cols, width;
  std::vector<float> values;
  DeviceMatrix device;

  Numbers(const cuda::Backend& backend, Index rows_, Index cols_, std::uint64_t seed, Index gap = 3)
      : rows(rows_),
        cols(cols_),
        width(cols_ + gap),
        values(random<float>(rows_ * width, seed)),
        device(backend, rows_, width, values) {}
  MatrixView<float> host() { return matrix(values, rows, width).col_range(0, cols); }
  cuda::Out view() { return device.view().col_range(0, cols); }
  // The largest difference, gaps included; infinity where only one is NaN.
  double error() const {
    const auto found = device.values();
    double worst = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const double error =
          std::abs(double(found[i]) - double(values[i])) / std::max(1.0, std::abs(double(values[i])));
      worst = std::isnan(found[i]) && std::isnan(values[i]) ? worst : test::larger(worst, error);
    }
    return worst;
  }
};

std::vector<double> numbers_of_double(Index count, std::uint64_t seed) {
  return random<double>(count, seed);
}

}  // namespace

TEST_CASE("cuda: ops with a number for every row") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const auto& shape : shapes) {
    const Index rows = shape[0], cols = shape[1];
    CAPTURE(rows);
    CAPTURE(cols);
    const auto a = numbers_of_double(rows, 1), b = numbers_of_double(rows, 2);
    Numbers x(backend, rows, cols, 3), y(backend, rows, cols, 4, 1), out(backend, rows, cols, 5, 2);
    cpu::scale_rows<float>(host, a, x.host());
    scale_rows(backend, a, x.view());
    CHECK(x.error() < 1e-6);
    for (const double limit : {0.5, double(infinity)}) {
      cpu::combine_rows<float>(host, a, x.host(), b, y.host(), limit, out.host());
      combine_rows(backend, a, x.view(), b, y.view(), limit, out.view());
      CHECK(out.error() < 1e-6);
      cpu::scale_rows_inside<float>(host, out.host(), limit, b, y.host());
      scale_rows_inside(backend, out.view(), limit, b, y.view());
      CHECK(y.error() < 1e-6);
    }
    // In place, over either input.
    cpu::combine_rows<float>(host, a, x.host(), b, y.host(), 1, x.host());
    combine_rows(backend, a, x.view(), b, y.view(), 1, x.view());
    CHECK(x.error() < 1e-6);
    cpu::combine_rows<float>(host, a, x.host(), b, y.host(), 1, y.host());
    combine_rows(backend, a, x.view(), b, y.view(), 1, y.view());
    CHECK(y.error() < 1e-6);
  }
}

TEST_CASE("cuda: gathering rows") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  Numbers from(backend, 5, 7, 1), to(backend, 8, 7, 2, 2);
  const std::vector<Index> rows{4, 0, 0, 3, 1, 4, 2, 2};
  cpu::gather_rows<float>(host, from.host(), rows, to.host());
  gather_rows(backend, from.view(), rows, to.view());
  CHECK(to.error() == 0);
  gather_rows(backend, cuda::In(), std::vector<Index>{}, to.view().row_range(0, 0).col_range(0, 0));
  check_error("gather_rows: expected rows from 0 to 4, found 5", [&] {
    gather_rows(backend, from.view(), std::vector<Index>{0, 5}, to.view().row_range(0, 2));
  });
  check_error("gather_rows: expected rows from 0 to 4, found -1", [&] {
    gather_rows(backend, from.view(), std::vector<Index>{-1, 0}, to.view().row_range(0, 2));
  });
  check_error("gather_rows: expected 8 rows, found 2", [&] {
    gather_rows(backend, from.view(), std::vector<Index>{0, 1}, to.view());
  });
}

TEST_CASE("cuda: means of groups of rows") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const Index size : {1, 2, 5}) {
    Numbers rows(backend, 3 * size, 11, 1), means(backend, 3, 11, 2, 1);
    cpu::mean_of_groups<float>(host, rows.host(), means.host());
    mean_of_groups(backend, rows.view(), means.view());
    CHECK(means.error() < 1e-6);
    cpu::mean_of_groups_backward<float>(host, means.host(), rows.host());
    mean_of_groups_backward(backend, means.view(), rows.view());
    CHECK(rows.error() < 1e-6);
  }
  Numbers rows(backend, 5, 3, 1), means(backend, 2, 3, 2);
  check_error("mean_of_groups: expected rows of 3 numbers in 2 groups of one size, found [5, 3]",
              [&] { mean_of_groups(backend, rows.view(), means.view()); });
  check_error("mean_of_groups_backward: expected rows of 3 numbers in 2 groups of one size, found [5, 3]",
              [&] { mean_of_groups_backward(backend, means.view(), rows.view()); });
}

TEST_CASE("cuda: ops with a number for every column") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const auto& shape : shapes) {
    const Index rows = shape[0], cols = shape[1];
    CAPTURE(rows);
    CAPTURE(cols);
    const auto offset = random<float>(cols, 1);
    auto scale = random<float>(cols, 2);
    for (auto& value : scale) {
      value = std::abs(value) + 0.1f;
    }
    Numbers x(backend, rows, cols, 3);
    const auto before = x.values;
    cpu::standardize_columns<float>(host, offset, scale, x.host());
    standardize_columns(backend, offset, scale, x.view());
    CHECK(x.error() < 1e-6);
    CHECK((rows == 0 || x.device.values() != before));
    cpu::unstandardize_columns<float>(host, offset, scale, x.host());
    unstandardize_columns(backend, offset, scale, x.view());
    CHECK(x.error() < 3e-6);
    CHECK(difference(x.device.values(), before) < 1e-5);
    cpu::scale_columns<float>(host, scale, x.host());
    scale_columns(backend, scale, x.view());
    CHECK(x.error() < 3e-6);
    cpu::affine_columns<float>(host, scale, offset, x.host());
    affine_columns(backend, scale, offset, x.view());
    CHECK(x.error() < 5e-6);
  }
  Numbers x(backend, 2, 3, 1);
  const std::vector<float> none, two(2), three(3);
  standardize_columns(backend, none, none, x.view());
  unstandardize_columns(backend, none, none, x.view());
  scale_columns(backend, none, x.view());
  affine_columns(backend, none, none, x.view());
  CHECK(x.error() == 0);
  check_error("standardize_columns: expected 3 columns, found 2",
              [&] { standardize_columns(backend, two, two, x.view()); });
  check_error("standardize_columns: expected 3 scales, found 2",
              [&] { standardize_columns(backend, three, two, x.view()); });
  check_error("unstandardize_columns: expected 3 scales, found 2",
              [&] { unstandardize_columns(backend, three, two, x.view()); });
  check_error("scale_columns: expected 3 columns, found 2", [&] { scale_columns(backend, two, x.view()); });
  check_error("affine_columns: expected 3 factors, found 2",
              [&] { affine_columns(backend, two, three, x.view()); });
}

TEST_CASE("cuda: scaling, adding, limiting and transposing") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const auto& shape : shapes) {
    const Index rows = shape[0], cols = shape[1];
    CAPTURE(rows);
    CAPTURE(cols);
    Numbers x(backend, rows, cols, 1), y(backend, rows, cols, 2, 1), turned(backend, cols, rows, 3);
    cpu::scale<float>(host, 0.3f, x.host());
    scale(backend, 0.3f, x.view());
    CHECK(x.error() < 1e-6);
    cpu::add_scaled<float>(host, -1.7f, x.host(), y.host());
    add_scaled(backend, -1.7f, x.view(), y.view());
    CHECK(y.error() < 1e-6);
    cpu::clamp<float>(host, 0.25f, x.host(), y.host());
    clamp(backend, 0.25f, x.view(), y.view());
    CHECK(y.error() < 1e-6);
    cpu::clamp<float>(host, 0.125f, x.host(), x.host());
    clamp(backend, 0.125f, x.view(), x.view());
    CHECK(x.error() == 0);
    cpu::transpose<float>(host, y.host(), turned.host());
    transpose(backend, y.view(), turned.view());
    CHECK(turned.error() < 1e-6);
    cpu::add_transposed<float>(host, turned.host(), x.host());
    add_transposed(backend, turned.view(), x.view());
    CHECK(x.error() < 1e-6);
  }
  DeviceMatrix odd(backend, 1, 3, {std::nanf(""), infinity, -infinity});
  clamp(backend, 2, odd.view(), odd.view());
  CHECK(std::isnan(odd.values()[0]));
  CHECK(odd.values()[1] == 2);
  CHECK(odd.values()[2] == -2);
  Numbers x(backend, 2, 3, 1);
  check_error("add_scaled: from: expected [2, 2], found [2, 3]",
              [&] { add_scaled(backend, 1, x.view(), x.view().col_range(0, 2)); });
  check_error("clamp: from: expected [2, 2], found [2, 3]",
              [&] { clamp(backend, 1, x.view(), x.view().col_range(0, 2)); });
  check_error("transpose: from: expected [3, 2], found [2, 3]",
              [&] { transpose(backend, x.view(), x.view()); });
  check_error("add_transposed: from: expected [3, 2], found [2, 3]",
              [&] { add_transposed(backend, x.view(), x.view()); });
}

TEST_CASE("cuda: guidance and steps of the sampler") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  SamplerCoefficients c{1.3, -0.8, 0.4, 0.9, 0.7, 0.6, 0.35, 0.2, 0.5};
  for (const auto& shape : shapes) {
    const Index rows = shape[0], cols = shape[1];
    Numbers x(backend, rows, cols, 1), prediction(backend, rows, cols, 2, 1),
        other(backend, rows, cols, 3, 2);
    cpu::guide<float>(host, other.host(), 2.5, prediction.host());
    guide(backend, other.view(), 2.5, prediction.view());
    CHECK(prediction.error() < 1e-6);
    for (const bool noisy : {true, false}) {
      for (const double limit : {0.7, double(infinity)}) {
        c.noise = noisy ? 0.5 : 0;
        c.limit = limit;
        cpu::sampler_step<float>(host, c, prediction.host(), noisy ? other.host() : MatrixView<float>(),
                                 x.host());
        sampler_step(backend, c, prediction.view(), noisy ? other.view() : cuda::Out(), x.view());
        CHECK(x.error() < 3e-6);
      }
    }
  }
  c.noise = 1;
  Numbers x(backend, 2, 3, 1);
  check_error("sampler step: noise: expected [2, 3], found [0, 0]",
              [&] { sampler_step(backend, c, x.view(), cuda::In(), x.view()); });
  check_error("sampler step: prediction: expected [2, 3], found [0, 0]",
              [&] { sampler_step(backend, c, cuda::In(), x.view(), x.view()); });
  check_error("guide: without: expected [2, 3], found [0, 0]",
              [&] { guide(backend, cuda::In(), 1, x.view()); });
}

TEST_CASE("cuda: Philox is the host's") {
  Rng rng(1);
  for (int i = 0; i < 1000; ++i) {
    std::uint32_t words[6];
    for (auto& word : words) {
      word = i == 0 ? 0 : i == 1 ? 0xffffffffu : static_cast<std::uint32_t>(rng.next_u64() >> 32);
    }
    const auto joined = [&](int low) { return words[low] | std::uint64_t{words[low + 1]} << 32; };
    // A fork's state is a whole block.
    const auto expected = Rng(joined(4), joined(2) ^ 0x9e3779b97f4a7c15ull).fork(joined(0)).state();
    const auto found = cuda::kernels::philox({words[0], words[1], words[2], words[3]}, words[4], words[5]);
    CHECK((std::uint64_t{found.a} << 32 | found.b) == expected.seed);
    CHECK((std::uint64_t{found.c} << 32 | found.d) == expected.stream);
  }
}

TEST_CASE("cuda: normal numbers are those of the host's streams") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const Rng::State late{0x123456789abcdef0ull, 0xfedcba9876543210ull,
                        0xfffffffeull};  // the position's low word wraps
  for (const Index count : {0, 1, 2, 3, 4, 5, 1000}) {
    CAPTURE(count);
    Rng expected(late), rng(late);
    std::vector<float> values(static_cast<std::size_t>(count));
    expected.fill_normal<float>(values, 0.5);
    DeviceMatrix device(backend, 1, count, poisoned<float>(count));
    fill_normal(backend, rng, device.view(), 0.5);
    CHECK(rng.state() == expected.state());
    CHECK(difference(device.values(), values) < 1e-6);
  }
  // Rows of a contiguous matrix are one sequence.
  Rng expected(7), rng(7);
  std::vector<float> values(15);
  expected.fill_normal<float>(values);
  DeviceMatrix device(backend, 5, 3);
  fill_normal(backend, rng, device.view());
  CHECK(difference(device.values(), values) < 1e-6);
  CHECK(rng.state() == expected.state());
  DeviceMatrix wide(backend, 5, 4);
  check_error("expected contiguous rows", [&] { fill_normal(backend, rng, wide.view().col_range(0, 3)); });
}

TEST_CASE("cuda: rows of normal numbers have streams of their own") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const auto& shape : shapes) {
    const Index rows = shape[0], cols = shape[1];
    std::vector<Rng> expected, streams;
    for (Index i = 0; i < rows; ++i) {
      expected.push_back(Rng(3).fork(static_cast<std::uint64_t>(i)));
      expected.back().skip(static_cast<std::uint64_t>(i));
    }
    streams = expected;
    Numbers to(backend, rows, cols, 1);
    for (int draw = 0; draw < 2; ++draw) {
      cpu::fill_normal<float>(host, expected, to.host());
      fill_normal(backend, streams, to.view());
      CHECK(to.error() < 1e-6);
      for (std::size_t i = 0; i < streams.size(); ++i) {
        CHECK(streams[i].state() == expected[i].state());
      }
    }
  }
  std::vector<Rng> streams(2);
  DeviceMatrix to(backend, 3, 2);
  check_error("fill_normal: expected 3 random streams, found 2",
              [&] { fill_normal(backend, streams, to.view()); });
}

TEST_CASE("skipping draws") {
  Rng drawn(5, 6), skipped(5, 6);
  for (int i = 0; i < 3; ++i) {
    drawn.next_u64();
  }
  skipped.skip(3);
  CHECK(drawn.state() == skipped.state());
  CHECK(drawn.next_u64() == skipped.next_u64());
}

TEST_CASE("cuda: embedding of timesteps") {
  const auto backend = test_backend();
  const auto session = backend.session();
  const cpu::Backend host(1);
  for (const Index dim : {4, 10, 256}) {
    const std::vector<Index> timesteps{0, 1, 17, 17, 999};
    Numbers y(backend, 5, dim, 1);
    cpu::sinusoidal_embedding<float>(host, timesteps, y.host());
    sinusoidal_embedding(backend, timesteps, y.view());
    CHECK(y.error() < 2e-7);
  }
  DeviceMatrix y(backend, 2, 6);
  sinusoidal_embedding(backend, std::vector<Index>{}, y.view().row_range(0, 0));
  check_error("sinusoidal_embedding: y: expected [1, 6], found [2, 6]",
              [&] { sinusoidal_embedding(backend, std::vector<Index>{1}, y.view()); });
  check_error("sinusoidal_embedding: expected an even dimension of at least 4, found 5", [&] {
    sinusoidal_embedding(backend, std::vector<Index>{1, 2}, y.view().col_range(0, 5));
  });
}

TEST_CASE("cuda: numbers that change from call to call are no part of a graph") {
  const auto backend = test_backend();
  const auto session = backend.session();
  DeviceMatrix x(backend, 4, 4), y(backend, 4, 4), from(backend, 9, 4, random<float>(36, 1));
  Rng rng(1);
  std::vector<Rng> streams(4, Rng(9));
  const auto run = [&](Index step) {
    const std::vector<double> factors(4, static_cast<double>(step));
    const std::vector<Index> steps(4, step);
    const std::vector<float> columns(4, static_cast<float>(step));
    fill_normal(backend, rng, x.view());
    fill_normal(backend, streams, y.view());
    scale_rows(backend, factors, x.view());
    combine_rows(backend, factors, x.view(), factors, y.view(), 1e9, y.view());
    scale_rows_inside(backend, x.view(), 1e9, factors, y.view());
    standardize_columns(backend, columns, columns, y.view());
    gather_rows(backend, from.view(), steps, x.view());
    add_scaled(backend, 1, x.view(), y.view());
    sinusoidal_embedding(backend, steps, x.view());
    add_scaled(backend, 1, x.view(), y.view());
    return y.values();
  };
  std::vector<std::vector<float>> with_graphs;
  for (Index step = 1; step < 6; ++step) {
    with_graphs.push_back(run(step));
  }
  CHECK(backend.context().graph_launches() >= 3);
  CHECK(backend.context().graphs() == 1);
  const auto fresh = test_backend();
  const cpu::Backend host(1);
  Rng host_rng(1);
  std::vector<Rng> host_streams(4, Rng(9));
  for (Index step = 1; step < 6; ++step) {
    Numbers a(fresh, 4, 4, 0, 0), b(fresh, 4, 4, 0, 0), rows(fresh, 9, 4, 1, 0);
    const std::vector<double> factors(4, static_cast<double>(step));
    const std::vector<Index> steps(4, step);
    const std::vector<float> columns(4, static_cast<float>(step));
    cpu::fill_normal<float>(host, host_rng, a.host());
    cpu::fill_normal<float>(host, host_streams, b.host());
    cpu::scale_rows<float>(host, factors, a.host());
    cpu::combine_rows<float>(host, factors, a.host(), factors, b.host(), 1e9, b.host());
    cpu::scale_rows_inside<float>(host, a.host(), 1e9, factors, b.host());
    cpu::standardize_columns<float>(host, columns, columns, b.host());
    cpu::gather_rows<float>(host, rows.host(), steps, a.host());
    cpu::add_scaled<float>(host, 1, a.host(), b.host());
    cpu::sinusoidal_embedding<float>(host, steps, a.host());
    cpu::add_scaled<float>(host, 1, a.host(), b.host());
    CHECK(difference(with_graphs[static_cast<std::size_t>(step - 1)], b.values) < 1e-5);
  }
}

#include "temporary_folder.hpp"

#include <maa/core/rng.hpp>
#include <maa/io/parameters.hpp>

#include <doctest/doctest.h>

using maa::Buffer;
using maa::Index;
using test::error_of;
using test::has;

namespace {

std::string file_of(const std::string& header, const std::string& data, std::uint64_t length) {
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}
std::string file_of(const std::string& header, const std::string& data) {
  return file_of(header, data, header.size());
}

template <class T>
std::string bytes_of(std::initializer_list<T> values) {
  return {reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T)};
}

std::string open_error(const std::filesystem::path& path, const std::string& bytes) {
  test::write_bytes(path, bytes);
  return error_of([&] { maa::SafetensorsReader reader(path); });
}

// Reads whatever a file that may be damaged holds.
void read_everything(const maa::SafetensorsReader& reader) {
  for (const auto& tensor : reader.tensors()) {
    switch (tensor.dtype) {
      case maa::Dtype::F16:
      case maa::Dtype::BF16:
      case maa::Dtype::F32:
      case maa::Dtype::F64:
        reader.read<float>(tensor.name);
        break;
      case maa::Dtype::I64:
        reader.read<std::int64_t>(tensor.name);
        break;
      default:
        error_of([&] { reader.read<std::uint8_t>(tensor.name); });
    }
  }
}

const std::string small_header =
    R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"I64","shape":[],"data_offsets":[24,32]}})";
const std::string small_data = bytes_of<float>({0, 1, 2, 3, 4, 5}) + bytes_of<std::int64_t>({-7});

// A model with one tensor of each order.
struct Convolution {
  template <class T>
  struct Weights {
    T* weight;
    T* bias;
  };
  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template tensor<2, 3, 4>("weight", maa::Init::zeros(), maa::Role::weight, maa::Order::taps_first,
                                   w.weight...);
    visit.template tensor<2>("bias", maa::Init::zeros(), maa::Role::bias, w.bias...);
  }
};

}  // namespace

TEST_CASE("safetensors: reads the format as documented") {
  const test::TemporaryFolder folder;
  test::write_bytes(folder / "file", file_of(small_header + "   ", small_data));
  const maa::SafetensorsReader reader(folder / "file");
  CHECK(reader.names() == std::vector<std::string>{"a", "b"});
  CHECK(reader.contains("a"));
  CHECK_FALSE(reader.contains("c"));
  CHECK(reader.metadata() == std::map<std::string, std::string>{{"k", "v"}});
  CHECK(reader.info("a").dtype == maa::Dtype::F32);
  CHECK(reader.info("a").shape == std::vector<Index>{2, 3});
  const auto a = reader.read<float>("a", {2, 3});
  CHECK(std::vector<float>(a.begin(), a.end()) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(reader.read<double>("a")[5] == 5.0);
  CHECK(reader.read<std::int64_t>("b", {})[0] == -7);
}

TEST_CASE("safetensors: wrong requests name file, tensor, expected and found") {
  const test::TemporaryFolder folder;
  test::write_bytes(folder / "file", file_of(small_header, small_data));
  const maa::SafetensorsReader reader(folder / "file");
  const auto shape = error_of([&] { reader.read<float>("a", {3, 2}); });
  CHECK(has(shape, (folder / "file").string()));
  CHECK(has(shape, "tensor 'a': expected shape [3, 2], found [2, 3]"));
  CHECK(has(error_of([&] { reader.read<float>("b", {}); }), "expected dtype F32, found I64"));
  CHECK(has(error_of([&] { reader.read<std::int32_t>("b", {}); }), "expected dtype I32, found I64"));
  CHECK(has(error_of([&] { reader.read<float>("c", {1}); }), "expected a tensor 'c', found none"));
  std::vector<float> values(5, 9.0f);
  const std::vector<Index> right{2, 3};
  CHECK(has(error_of([&] { reader.read_into("a", right, std::span(values)); }),
            "expected room for 6 numbers, found 5"));
  CHECK(values == std::vector<float>(5, 9.0f));
  values.resize(6);
  reader.read_into("a", right, std::span(values));
  CHECK(values[4] == 4.0f);
}

TEST_CASE("safetensors: truncation at every byte and trailing bytes give an Error") {
  const test::TemporaryFolder folder;
  const auto whole = file_of(small_header, small_data);
  CHECK(open_error(folder / "file", whole) == "no error");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    CAPTURE(size);
    CHECK(open_error(folder / "file", whole.substr(0, size)) != "no error");
  }
  CHECK(has(open_error(folder / "file", whole + '\0'), "trailing bytes"));
}

TEST_CASE("safetensors: a file that shrinks after opening gives an Error") {
  const test::TemporaryFolder folder;
  const auto whole = file_of(small_header, small_data);
  test::write_bytes(folder / "file", whole);
  const maa::SafetensorsReader reader(folder / "file");
  std::filesystem::resize_file(folder / "file", whole.size() - 1);
  CHECK(has(error_of([&] { reader.read<std::int64_t>("b"); }), "found the end of the file"));
  CHECK(reader.read<float>("a").size() == 6);
}

TEST_CASE("safetensors: malformed headers are refused with the reason") {
  const test::TemporaryFolder folder;
  struct Case {
    const char* header;
    std::size_t data_bytes;
    const char* reason;
  };
  const Case cases[] = {
      {"", 0, "found zeros"},
      {"", 300, "found zeros"},
      {"[]", 0, "expected a JSON object"},
      {"7", 0, "expected a JSON object"},
      {"\xef\xbb\xbf{}", 0, "expected a JSON object"},
      {"{", 0, "invalid JSON"},
      {"{}}", 0, "invalid JSON"},
      {"{\"\xff\":1}", 0, "invalid JSON"},
      {R"({"a":7})", 0, "expected an object per tensor, found the number 7"},
      {R"({"a":[1]})", 0, "expected an object per tensor, found an array"},
      {R"({"a":null})", 0, "expected an object per tensor, found null"},
      {R"({"a":{}})", 0, "expected the keys dtype, shape and data_offsets, found 0"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, "found 2 of them"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4, "found 'x'"},
      {R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4, "found 'F33'"},
      {R"({"a":{"dtype":1,"shape":[1],"data_offsets":[0,4]}})", 4, "expected a text as dtype"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "'dtype' twice"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       8, "expected unique tensor names, found 'a' twice"},
      {R"({"__metadata__":{"k":"1","k":"2"}})", 0, "'k' twice"},
      {R"({"__metadata__":{"k":1}})", 0, "expected texts as metadata"},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, "'__metadata__' twice"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "found the number -1"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "found the number '1.0'"},
      {R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", 4, "found the text '1'"},
      {R"({"a":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}})", 4, "found an array"},
      {R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4, "found the number 1"},
      {R"({"a":{"dtype":"F32","shape":{},"data_offsets":[0,4]}})", 4, "found an object"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, "overflows"},
      {R"({"a":{"dtype":"F32","shape":[0,4611686018427387904,4],"data_offsets":[0,0]}})", 0, "overflows"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", 4,
       "18446744073709551615"},
      {R"({"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}})", 4,
       "99999999999999999999"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 4, "expected 2 data_offsets, found 3"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "in order, found [4, 0]"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4,
       "expected 8 bytes of data, found 4 (cut short?)"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4,
       "expected 8 bytes for F32 [2], found 4"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "a gap"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
       12, "overlapping"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5, "trailing bytes"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.header);
    const auto message = open_error(folder / "file", file_of(c.header, std::string(c.data_bytes, '\0')));
    CAPTURE(message);
    CHECK(has(message, c.reason));
    CHECK(has(message, (folder / "file").string()));
  }
  CHECK(has(open_error(folder / "file", file_of(std::string("{}\0x", 4), "")), "without zero bytes"));
  CHECK(has(open_error(folder / "file", file_of("{}", "", 3)),
            "expected a header of 3 bytes, found 2 (cut short?)"));
  CHECK(has(open_error(folder / "file", file_of("{}", "", ~0ull)),
            "at most 100000000 bytes, found 18446744073709551615"));
  CHECK(has(open_error(folder / "file", file_of(std::string(1 << 20, '['), "")), "expected a JSON object"));
  CHECK(has(open_error(folder / "file", file_of(R"({"a":)" + std::string(1 << 20, '['), "")),
            "found an array"));
}

TEST_CASE("safetensors: what the reference reader takes is taken") {
  const test::TemporaryFolder folder;
  const auto open = [&](const std::string& header, std::size_t data_bytes) {
    return open_error(folder / "file", file_of(header, std::string(data_bytes, '\0')));
  };
  CHECK(open(R"({"__metadata__":null})", 0) == "no error");
  CHECK(open(R"({"__metadata__":null,"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4) ==
        "no error");
  CHECK(open(" \n\t{}", 0) == "no error");
  for (const char* dtype : {"F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}) {
    CHECK(open(maa::concatenate(R"({"a":{"dtype":")", dtype, R"(","shape":[3],"data_offsets":[0,3]}})"), 3) ==
          "no error");
  }
  CHECK(open(R"({"a":{"dtype":"C64","shape":[3],"data_offsets":[0,24]}})", 24) == "no error");
  CHECK(open(R"({"a":{"dtype":"F4","shape":[3,2],"data_offsets":[0,3]}})", 3) == "no error");
  CHECK(open(R"({"a":{"dtype":"F6_E2M3","shape":[12],"data_offsets":[0,9]}})", 9) == "no error");
  CHECK(has(open(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2),
            "expected whole bytes, found F4 [3]"));
  CHECK(has(open(R"({"a":{"dtype":"F6_E3M2","shape":[4],"data_offsets":[0,4]}})", 4), "expected 3 bytes"));
  CHECK(has(open(R"({"a":{"dtype":"F4","shape":[9223372036854775807,8],"data_offsets":[0,0]}})", 0),
            "overflows"));
  // Their numbers are nobody's.
  test::write_bytes(folder / "file", file_of(R"({"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}})",
                                             std::string(8, 'x')));
  const maa::SafetensorsReader reader(folder / "file");
  CHECK(has(error_of([&] { reader.read<float>("a"); }), "expected dtype F32, found C64"));
  CHECK(has(error_of([&] { reader.read_any<std::int64_t>("a"); }), "found C64"));
}

TEST_CASE("safetensors: files of other kinds, and names that are not there, are named") {
  const test::TemporaryFolder folder;
  const auto open = [&](const std::string& bytes) { return open_error(folder / "file", bytes); };
  CHECK(has(open("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"), "found a Git LFS pointer"));
  CHECK(has(open("\n<!DOCTYPE html><html>"), "found an HTML page"));
  CHECK(has(open("<HTML><body>404"), "found an HTML page"));
  CHECK(has(open("\xef\xbb\xbf<html><body>404"), "found an HTML page"));
  CHECK(has(open("<?xml version=\"1.0\"?><Error>"), "found an XML page"));
  CHECK(has(open("Access denied."), "found plain text"));
  CHECK(has(open("404"), "found plain text"));
  CHECK(has(open("[1, 2, 3, 4]\n"), "found JSON text"));
  CHECK(has(open(""), "expected a safetensors file, found an empty file"));
  CHECK(has(open(std::string(500, '\0')), "found zeros (a download that has not finished?)"));
  CHECK(has(open(std::string(8, '\0') + "\1{}"), "expected a JSON object"));
  CHECK(has(open(std::string(3, '\1')), "at least 8 bytes, found 3"));
  CHECK(has(open("PK\x03\x04 and more"), "found a zip archive (.npz, or PyTorch's .pt)"));
  CHECK(has(open("\x93NUMPY\x01 and more"), "found an .npy array"));
  CHECK(has(open("\x80\x02 a pickle"), "found a Python pickle"));
  CHECK(has(open("{\"weight_map\": {}}"), "found JSON text"));

  const auto find = [&](const std::vector<std::string>& names, const char* name) {
    maa::SafetensorsWriter writer;
    for (const auto& other : names) {
      writer.add_scalar(other, 1.0f);
    }
    writer.write(folder / "file");
    return error_of([&] { maa::SafetensorsReader(folder / "file").info(name); });
  };
  CHECK(has(find({"obs", "acts", "layer.0.weight"}, "layers.0.weight"),
            "found none among 3: 'layer.0.weight', "));
  CHECK(has(find({}, "a"), "expected a tensor 'a', found none"));
  CHECK(has(find({"_orig_mod.a", "_orig_mod.b"}, "a"),
            "found none among 2, but '_orig_mod.a': take '_orig_mod.' off"));
  CHECK(has(find({"xa"}, "a"), "found none among 1: 'xa'"));
  std::vector<std::string> many;
  for (int i = 0; i < 100; ++i) {
    many.push_back(maa::concatenate("t", i));
  }
  CHECK(has(find(many, "a"), " and 92 more"));
  CHECK(find({std::string(100'000, 'x')}, "a").size() < 500);
}

TEST_CASE("errors: no control characters, no endless messages") {
  CHECK(error_of([] { maa::fail("a\x1b[31mred\x7f\xc2\x9b\n", "b\xc3\xa4"); }) ==
        "a\\x1b[31mred\\x7f\xc2\\x9b\nb\xc3\xa4");
  CHECK(error_of([] { maa::fail("found ", maa::detail::quote("a\nb\x1b")); }) == "found 'a\\x0ab\\x1b'");
  CHECK(error_of([] { maa::fail(std::string(10'000'000, 'x')); }).size() < 10'000);
}

TEST_CASE("safetensors: a damaged header never does worse than an Error") {
  const test::TemporaryFolder folder;
  const auto whole = file_of(small_header, small_data);
  maa::Rng rng(1);
  for (std::size_t position = 0; position < 8 + small_header.size(); ++position) {
    auto damaged = whole;
    damaged[position] = static_cast<char>(rng.below(256));
    test::write_bytes(folder / "file", damaged);
    error_of([&] { read_everything(maa::SafetensorsReader(folder / "file")); });
  }
  Index accepted = 0;
  for (std::size_t position = 0; position < small_header.size(); ++position) {
    for (int byte = static_cast<int>(position) % 4; byte < 256; byte += 4) {
      auto damaged = small_header;
      damaged[position] = static_cast<char>(byte);
      const auto message = error_of([&] {
        const auto header = maa::detail::parse_safetensors_header(damaged, 32, "file");
        maa::require(header.tensors.size() == 2 || header.metadata.empty(), "another header");
      });
      accepted += message == "no error";
      CHECK((message == "no error" || has(message, "file") || message == "another header"));
    }
  }
  CHECK(accepted > 0);  // for example another letter in a name
}

TEST_CASE("safetensors: what is written is read back bit by bit, and the bytes are those of the format") {
  const test::TemporaryFolder folder;
  const std::vector<float> floats{1.5f, -0.0f, 1e-42f, std::bit_cast<float>(0x7fc12345u)};
  const std::vector<double> doubles{0.1, std::bit_cast<double>(0xfff0000000000000ull)};
  const std::vector<std::int64_t> longs{std::numeric_limits<std::int64_t>::min(), 5};
  const std::vector<std::int32_t> ints{-3};
  const std::vector<std::uint64_t> words{~0ull};
  const std::vector<std::uint8_t> bytes{1, 255, 0};
  maa::SafetensorsWriter writer;
  writer.set_metadata("z\n\"", "grün");
  writer.set_metadata("a", "");
  writer.add("bytes", {3}, std::span(bytes));
  writer.add("floats", {2, 2}, std::span(floats));
  writer.add("doubles", {2}, std::span(doubles));
  writer.add("longs \xce\xb1", {1, 2}, std::span(longs));
  writer.add("ints", {1}, std::span(ints));
  writer.add("words", {}, std::span(words));
  writer.add("nothing", {0, 7}, std::span<const float>());
  writer.write(folder / "file");
  writer.write(folder / "again");
  CHECK(test::read_bytes(folder / "file") == test::read_bytes(folder / "again"));

  const maa::SafetensorsReader reader(folder / "file");
  CHECK(reader.metadata() == std::map<std::string, std::string>{{"a", ""}, {"z\n\"", "grün"}});
  const auto same = [](const auto& read, const auto& written) {
    return read.span().size_bytes() == std::span(written).size_bytes() &&
           std::memcmp(read.data(), written.data(), read.span().size_bytes()) == 0;
  };
  CHECK(same(reader.read<float>("floats", {2, 2}), floats));
  CHECK(same(reader.read<double>("doubles", {2}), doubles));
  CHECK(same(reader.read<std::int64_t>("longs \xce\xb1", {1, 2}), longs));
  CHECK(same(reader.read<std::int32_t>("ints", {1}), ints));
  CHECK(same(reader.read<std::uint64_t>("words", {}), words));
  CHECK(same(reader.read<std::uint8_t>("bytes", {3}), bytes));
  CHECK(reader.read<float>("nothing", {0, 7}).empty());
  for (const auto& tensor : reader.tensors()) {
    CHECK(tensor.begin % maa::dtype_info(tensor.dtype).bytes == 0);
  }

  maa::SafetensorsWriter small;
  const std::vector<float> numbers{0, 1, 2, 3, 4, 5};
  small.set_metadata("k", "v");
  small.add("a", {2, 3}, std::span(numbers));
  small.write(folder / "small");
  std::string expected =
      R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2, 3],"data_offsets":[0,24]}})";
  expected.resize((expected.size() + 7) / 8 * 8, ' ');
  CHECK(test::read_bytes(folder / "small") == file_of(expected, bytes_of<float>({0, 1, 2, 3, 4, 5})));
}

TEST_CASE("safetensors: the writer refuses what could not be read back") {
  maa::SafetensorsWriter writer;
  const std::vector<float> values(4);
  writer.add("a", {4}, std::span(values));
  CHECK(has(error_of([&] { writer.add("a", {4}, std::span(values)); }), "expected a new name, found 'a'"));
  CHECK(has(error_of([&] { writer.add("b", {2, 3}, std::span(values)); }), "shape [2, 3], found 4"));
  CHECK(has(error_of([&] { writer.add("b", {-2, -2}, std::span(values)); }), "shape [-2, -2], found 4"));
  CHECK(has(error_of([&] { writer.add("\xff", {4}, std::span(values)); }), "expected UTF-8"));
  CHECK(has(error_of([&] { writer.add("__metadata__", {4}, std::span(values)); }), "expected a new name"));
  CHECK(has(error_of([&] { writer.set_metadata("k", "\xc3"); }), "expected UTF-8"));
  const test::TemporaryFolder folder;
  writer.write(folder / "file");  // still usable
  CHECK(maa::SafetensorsReader(folder / "file").names() == std::vector<std::string>{"a"});
}

TEST_CASE("safetensors: a failed write leaves the old file") {
  const test::TemporaryFolder folder;
  test::write_bytes(folder / "old", "precious");
  std::filesystem::create_directory(folder / "directory");
  maa::SafetensorsWriter writer;
  writer.add_scalar("a", 1.0f);
  CHECK(error_of([&] { writer.write(folder / "directory"); }) != "no error");
  CHECK(error_of([&] { writer.write(folder / "none" / "file"); }) != "no error");
  CHECK(folder.names().size() == 2);
  CHECK(test::read_bytes(folder / "old") == "precious");
}

TEST_CASE("safetensors: half precision and double are read as float") {
  const test::TemporaryFolder folder;
  std::string halves;
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    halves += static_cast<char>(bits & 0xff);
    halves += static_cast<char>(bits >> 8);
  }
  test::write_bytes(folder / "file",
                    file_of(R"({"f16":{"dtype":"F16","shape":[65536],"data_offsets":[0,131072]},)"
                            R"("bf16":{"dtype":"BF16","shape":[65536],"data_offsets":[131072,262144]},)"
                            R"("f64":{"dtype":"F64","shape":[2],"data_offsets":[262144,262160]}})",
                            halves + halves + bytes_of<double>({0.1, 1e300})));
  const maa::SafetensorsReader reader(folder / "file");
  const auto f16 = reader.read<float>("f16");
  const auto bf16 = reader.read<double>("bf16");
  Index wrong = 0;
  for (Index bits = 0; bits < 0x10000; ++bits) {
    const auto value = [&](int exponent_bits, int fraction_bits) {
      const auto fraction = static_cast<double>(bits & ((1 << fraction_bits) - 1));
      const int exponent = static_cast<int>(bits >> fraction_bits) & ((1 << exponent_bits) - 1);
      const int bias = (1 << (exponent_bits - 1)) - 1;
      const double sign = bits & 0x8000 ? -1 : 1;
      if (exponent == (1 << exponent_bits) - 1) {
        return fraction == 0 ? sign * HUGE_VAL : std::nan("");
      }
      const double one = exponent == 0 ? 0 : std::ldexp(1.0, fraction_bits);
      return sign * std::ldexp(one + fraction, std::max(exponent, 1) - bias - fraction_bits);
    };
    const auto differs = [](double a, double b) {
      return std::isnan(a) ? !std::isnan(b) : (a != b || std::signbit(a) != std::signbit(b));
    };
    wrong += differs(value(5, 10), f16[bits]) || differs(value(8, 7), bf16[bits]);
  }
  CHECK(wrong == 0);
  CHECK(reader.read<float>("f64")[0] == 0.1f);
  CHECK(reader.read<double>("f64")[0] == 0.1);
  const std::vector<Index> shape{2};
  CHECK(has(error_of([&] { reader.read_weights<float>("f64", shape); }),
            "tensor 'f64': expected finite numbers, found inf at index 1"));
  CHECK(reader.read_weights<double>("f64", shape)[1] == 1e300);
}

TEST_CASE("safetensors: NaN weights are refused and leave the target") {
  const test::TemporaryFolder folder;
  const std::vector<float> weights{1, 2, std::numeric_limits<float>::quiet_NaN()};
  maa::SafetensorsWriter writer;
  writer.add("w", {3}, std::span(weights));
  writer.write(folder / "file");
  const maa::SafetensorsReader reader(folder / "file");
  std::vector<float> target(3, 9.0f);
  const std::vector<Index> shape{3};
  CHECK(has(error_of([&] { reader.read_weights_into("w", shape, std::span(target)); }),
            "tensor 'w': expected finite numbers, found nan at index 2"));
  CHECK(target == std::vector<float>(3, 9.0f));
}

TEST_CASE("parameters: PyTorch's shapes and order in the file, the library's in memory") {
  const test::TemporaryFolder folder;
  const auto tensors = maa::tensors_of<Convolution>("net.");
  Buffer<float> values(maa::parameter_count<Convolution>);
  for (Index tap = 0; tap < 4; ++tap) {
    for (Index pair = 0; pair < 6; ++pair) {
      values[tap * 6 + pair] = static_cast<float>(pair * 4 + tap);  // its place in the file
    }
  }
  values[24] = -1, values[25] = -2;
  maa::SafetensorsWriter writer;
  maa::add_parameters(writer, tensors, std::as_const(values).span());
  writer.write(folder / "file");
  const maa::SafetensorsReader reader(folder / "file");
  const auto weight = reader.read<float>("net.weight", {2, 3, 4});
  for (Index i = 0; i < 24; ++i) {
    CHECK(weight[i] == static_cast<float>(i));
  }
  Buffer<double> read(values.size());
  maa::read_parameters(reader, tensors, read.span());
  CHECK(std::equal(read.begin(), read.end(), values.begin()));
}

TEST_CASE("parameters: on any error the target is untouched") {
  const test::TemporaryFolder folder;
  const auto tensors = maa::tensors_of<Convolution>();
  Buffer<float> target(maa::parameter_count<Convolution>);
  std::fill(target.begin(), target.end(), 9.0f);
  const auto attempt = [&](std::vector<Index> bias_shape, std::vector<float> bias, const char* bias_name) {
    const Buffer<float> weight(24);
    maa::SafetensorsWriter writer;
    writer.add("weight", {2, 3, 4}, weight.span());
    writer.add(bias_name, std::move(bias_shape), std::span(bias));
    writer.write(folder / "file");
    return error_of(
        [&] { maa::read_parameters(maa::SafetensorsReader(folder / "file"), tensors, target.span()); });
  };
  CHECK(has(attempt({3}, {1, 2, 3}, "bias"), "tensor 'bias': expected shape [2], found [3]"));
  CHECK(has(attempt({2}, {1, 2}, "base"), "expected a tensor 'bias', found none"));
  CHECK(has(attempt({2}, {1, HUGE_VALF}, "bias"), "found inf at index 1"));
  CHECK(std::all_of(target.begin(), target.end(), [](float v) { return v == 9.0f; }));
  CHECK(attempt({2}, {1, 2}, "bias") == "no error");
  CHECK(target[25] == 2.0f);
  CHECK(has(error_of([&] {
              maa::read_parameters(maa::SafetensorsReader(folder / "file"), tensors, target.span().first(25));
            }),
            "expected numbers 24 to 26, found 25"));
}

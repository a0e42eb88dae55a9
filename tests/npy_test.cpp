#include "temporary_folder.hpp"

#include <maa/io/npz.hpp>

#include <doctest/doctest.h>
#include <sys/resource.h>

using maa::Index;
using test::error_of;
using test::fixture;
using test::has;

namespace {

// The fixtures' array: [3, 4], element [i, j] = 10 i + j.
template <class T>
bool is_grid(const xt::xarray<T>& array) {
  if (array.dimension() != 2 || array.shape(0) != 3 || array.shape(1) != 4) {
    return false;
  }
  for (std::size_t i = 0; i < 12; ++i) {
    if (array(i / 4, i % 4) != static_cast<T>(10 * (i / 4) + i % 4)) {
      return false;
    }
  }
  return true;
}

// The most memory that this process has had.
double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

std::string npy_of(const std::string& header, const std::string& data, char version = 1) {
  std::string text = "\x93NUMPY";
  text += version;
  text += '\0';
  for (int byte = 0; byte < (version == 1 ? 2 : 4); ++byte) {
    text += static_cast<char>(header.size() >> (8 * byte) & 0xff);
  }
  return text + header + data;
}

}  // namespace

TEST_CASE("npy: every number type of NumPy as float and double") {
  for (const auto* name :
       {"le_f2", "le_f4", "le_f8", "be_f2", "be_f4", "be_f8", "le_i2", "le_i4", "le_i8", "be_i4", "be_i8",
        "i1", "u1", "le_u2", "be_u8", "fortran", "version_1", "version_2", "version_3"}) {
    CAPTURE(name);
    const auto path = fixture("npy") / (std::string(name) + ".npy");
    CHECK(is_grid(maa::load_npy<float>(path)));
    CHECK(is_grid(maa::load_npy<double>(path)));
  }
}

TEST_CASE("npy: integers, flags, scalars, empty and Fortran-ordered arrays") {
  for (const auto* name : {"le_i2", "le_i4", "le_i8", "be_i4", "be_i8", "i1", "u1", "le_u2", "be_u8"}) {
    CAPTURE(name);
    const auto path = fixture("npy") / (std::string(name) + ".npy");
    CHECK(is_grid(maa::load_npy<std::int64_t>(path)));
    CHECK(is_grid(maa::load_npy<std::uint8_t>(path)));
  }
  const auto flags = maa::load_npy<std::uint8_t>(fixture("npy/flags.npy"));
  CHECK(flags.size() == 12);
  CHECK(flags(0, 1) == 1);
  CHECK(flags(2, 2) == 0);
  const auto scalar = maa::load_npy<std::int64_t>(fixture("npy/scalar.npy"));
  CHECK(scalar.dimension() == 0);
  CHECK(scalar() == -7);
  const auto empty = maa::load_npy<float>(fixture("npy/empty.npy"));
  CHECK(empty.shape(0) == 0);
  CHECK(empty.shape(1) == 4);
  const auto cube = maa::load_npy<std::int32_t>(fixture("npy/fortran_3d.npy"));
  for (std::size_t i = 0; i < 24; ++i) {
    CHECK(cube(i / 12, i / 4 % 3, i % 4) == static_cast<std::int32_t>(i));
  }
}

TEST_CASE("npy: what does not fit is refused") {
  CHECK(has(error_of([] { maa::load_npy<std::int64_t>(fixture("npy/le_f4.npy")); }),
            "expected integers, found floating"));
  CHECK(has(error_of([] { maa::load_npy<std::uint64_t>(fixture("npy/scalar.npy")); }),
            "fit the integer type asked for, found -7"));
  CHECK(has(error_of([] { maa::load_npy<float>(fixture("npy/object.npy")); }), "Python objects (a pickle)"));
  CHECK(has(error_of([] { maa::load_npy<float>(fixture("npy/complex.npy")); }), "found '<c8'"));
  CHECK(has(error_of([] { maa::load_npy<float>(fixture("npy/record.npy")); }), "found structures"));
  CHECK(has(error_of([] { maa::load_npy<float>(fixture("npy/none.npy")); }), "No such file"));
}

TEST_CASE("npy: malformed files are refused with the reason") {
  const test::TemporaryFolder folder;
  const auto load = [&](const std::string& bytes) {
    test::write_bytes(folder / "a.npy", bytes);
    return error_of([&] { maa::load_npy<float>(folder / "a.npy"); });
  };
  struct Case {
    const char* header;
    std::size_t data_bytes;
    const char* reason;
  };
  const Case cases[] = {
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8, "no error"},
      {"{'descr':\"<f4\",'fortran_order':True,'shape':(2)}\n", 8, "no error"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 7,
       "expected 8 bytes of data for shape [2], found 7"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 9, "found 9"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8, "sizes of at least 0"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2.5,), }", 8, "expected )"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8,
       "sizes of at least 0"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 0, "overflows"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904, 4), }", 0, "overflows"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }", 8,
       "expected 4000000000000 bytes"},
      {"{'descr': '<f3', 'fortran_order': False, 'shape': (2,), }", 6, "found '<f3'"},
      {"{'descr': 'f4', 'fortran_order': False, 'shape': (2,), }", 8, "no error"},
      {"{'descr': '|?', 'fortran_order': False, 'shape': (2L, 1L), }", 2, "no error"},
      {"{'descr': '?', 'fortran_order': False, 'shape': (2,), }", 2, "no error"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2L,), }", 8, "no error"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2LL,), }", 8, "expected )"},
      {"{'descr': 'x', 'fortran_order': False, 'shape': (2,), }", 8, "found 'x'"},
      {"{'descr': 'O', 'fortran_order': False, 'shape': (2,), }", 8, "a pickle"},
      {"{'descr': '|', 'fortran_order': False, 'shape': (2,), }", 8, "found '|'"},
      {"{'descr': '<f', 'fortran_order': False, 'shape': (2,), }", 8, "found '<f'"},
      {"{'descr': '<f4x', 'fortran_order': False, 'shape': (2,), }", 8, "found '<f4x'"},
      {"{'descr': '<f-4', 'fortran_order': False, 'shape': (2,), }", 8, "found '<f-4'"},
      {"{'descr': '<U1', 'fortran_order': False, 'shape': (2,), }", 8, "expected numbers, found text"},
      {"{'descr': '<U99999999999', 'fortran_order': False, 'shape': (2,), }", 8, "found '<U99999999999'"},
      {"{'descr': 7, 'fortran_order': False, 'shape': (2,), }", 8, "expected a text"},
      {"{'descr': '<f4', 'fortran_order': 0, 'shape': (2,), }", 8, "expected True or False"},
      {"{'descr': '<f4', 'fortran_order': False}", 8, "found fewer"},
      {"{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}", 8, "once, found 'descr'"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", 8, "once, found 'x'"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} x", 8, "expected the end of the header"},
      {"{'descr': '<f4", 8, "closing quote"},
      {"{", 8, "expected a text"},
      {"", 8, "expected {"},
  };
  for (const auto& c : cases) {
    CAPTURE(c.header);
    const auto message = load(npy_of(c.header, std::string(c.data_bytes, '\0')));
    CAPTURE(message);
    CHECK(has(message, c.reason));
  }
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  CHECK(load(npy_of(good, std::string(8, '\0'), 2)) == "no error");
  CHECK(has(load(npy_of(good, std::string(8, '\0'), 4)), "found 4.0"));
  CHECK(has(load("PK\3\4 not an array"), "found a zip archive"));
  CHECK(has(load("version https://git-lfs.github.com/spec/v1"), "found a Git LFS pointer"));
  CHECK(has(load("nothing that is known"), "found plain text"));
  CHECK(has(load("nothing that is \x01 known"), "found other data"));
  CHECK(
      has(load(npy_of("{'descr': '<U1048577', 'fortran_order': False, 'shape': ()}", "")), "U1 to U1048576"));
  std::string many = "{'descr': '<f4', 'fortran_order': False, 'shape': (";
  for (int i = 0; i < 65; ++i) {
    many += "1,";
  }
  CHECK(has(load(npy_of(many + ")}", std::string(4, '\0'))), "up to 64 sizes"));
}

TEST_CASE("npy and npz: truncation at every byte gives an Error, damage never worse") {
  const test::TemporaryFolder folder;
  const auto attempt = [&](const std::string& name, const std::string& bytes) {
    test::write_bytes(folder / name, bytes);
    return error_of([&] {
      if (name == "a.npy") {
        maa::load_npy<double>(folder / name);
      } else {
        const maa::NpzReader reader(folder / name);
        reader.load<double>("grid");
        reader.load<double>("flags");
        reader.load_text("word");
      }
    });
  };
  const std::pair<const char*, const char*> files[] = {
      {"a.npy", "npy/le_f4.npy"}, {"a.npz", "npy/stored.npz"}, {"b.npz", "npy/deflated.npz"}};
  for (const auto& file : files) {
    const std::string name = file.first;
    const std::string source = file.second;
    CAPTURE(source);
    const auto whole = test::read_bytes(fixture(source));
    CHECK(attempt(name, whole) == "no error");
    for (std::size_t size = 0; size < whole.size(); ++size) {
      CAPTURE(size);
      CHECK(attempt(name, whole.substr(0, size)) != "no error");
    }
    for (std::size_t position = 0; position < whole.size(); ++position) {
      auto damaged = whole;
      damaged[position] = static_cast<char>(damaged[position] ^ (1 << position % 8));
      attempt(name, damaged);
    }
  }
}

TEST_CASE("npz: archives of NumPy, stored and deflated") {
  for (const auto* name : {"npy/stored.npz", "npy/deflated.npz"}) {
    CAPTURE(name);
    const maa::NpzReader reader(fixture(name));
    CHECK(reader.names() == std::vector<std::string>{"flags", "grid", "word"});
    CHECK(is_grid(reader.load<float>("grid")));
    CHECK(reader.load<std::uint8_t>("flags")(2, 3) == 1);
    CHECK(reader.load_text("word") == "grün π 🙂");
    CHECK(has(error_of([&] { reader.load<float>("none"); }), "expected an array 'none', found none among 3"));
    CHECK(has(error_of([&] { reader.load<float>("word"); }), "array 'word': expected numbers, found text"));
    CHECK(has(error_of([&] { reader.load_text("grid"); }), "array 'grid': expected one text"));
  }
  CHECK(has(error_of([] { maa::NpzReader reader(fixture("npy/le_f4.npy")); }), "expected a zip archive"));
}

TEST_CASE("npz: a false size is not allocated, damaged data is found by its checksum") {
  const test::TemporaryFolder folder;
  const auto whole = test::read_bytes(fixture("npy/deflated.npz"));
  const auto entry = whole.find("PK\1\2");
  REQUIRE(entry != whole.npos);
  auto huge = whole;
  huge.replace(entry + 24, 4, "\xf0\xff\xff\x7f");  // uncompressed size of the first entry: 2 GiB
  test::write_bytes(folder / "a.npz", huge);
  const auto message = error_of([&] { maa::NpzReader(folder / "a.npz").load<float>("grid"); });
  CHECK(has(message, "found a size of 2147483632"));

  const auto stored = test::read_bytes(fixture("npy/stored.npz"));
  auto damaged = stored;
  damaged[stored.find("NUMPY") + 130] ^= 1;  // a number of the first array
  test::write_bytes(folder / "a.npz", damaged);
  CHECK(has(error_of([&] { maa::NpzReader(folder / "a.npz").load<double>("grid"); }), "CRC"));
}

TEST_CASE("npy and npz: large files of other things are refused before they are read") {
  const test::TemporaryFolder folder;
  const auto sparse = [&](const std::string& name, const std::string& beginning) {
    test::write_bytes(folder / name, beginning);
    std::filesystem::resize_file(folder / name, std::uintmax_t{1} << 32);
    return folder / name;
  };
  const double before = peak_megabytes();
  const auto npy = [&](const std::string& beginning) {
    return error_of([&] { maa::load_npy<float>(sparse("a.npy", beginning)); });
  };
  const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
  CHECK(has(npy(""), "expected an .npy array, found zeros"));
  CHECK(has(npy("\x93NUMPY\1"), "expected { in the header"));
  CHECK(has(npy(npy_of(good, "")), "expected 8 bytes of data for shape [2], found 4294967229"));
  CHECK(has(npy("\x93NUMPY\2" + std::string(1, '\0') + "\xff\xff\xff\xff"),
            "expected a header of at most 65524 bytes that the file has, found 4294967295"));
  CHECK(has(error_of([&] { maa::NpzReader reader(sparse("a.npz", "PK\3\4")); }), "expected a zip archive"));
  CHECK(peak_megabytes() < before + 64);
}

TEST_CASE("npz: a small file cannot ask for much memory") {
  const test::TemporaryFolder folder;
  // 65 MiB of zeros take 65 kB.
  const maa::Buffer<std::byte> zeros(Index{65} << 20);
  const auto path = (folder / "a.npz").string();
  zip_t* const archive = zip_open(path.c_str(), ZIP_CREATE, nullptr);
  REQUIRE(archive != nullptr);
  zip_source_t* const source =
      zip_source_buffer(archive, zeros.data(), static_cast<zip_uint64_t>(zeros.size()), 0);
  REQUIRE(zip_file_add(archive, "grid.npy", source, 0) == 0);
  REQUIRE(zip_close(archive) == 0);
  const maa::NpzReader reader(path);
  const double before = peak_megabytes();
  CHECK(has(error_of([&] { reader.load<float>("grid"); }), "expected at most 67108864 bytes out of"));
  CHECK(peak_megabytes() < before + 32);
}

TEST_CASE("npy and npz: what is written is read back bit by bit") {
  const test::TemporaryFolder folder;
  const xt::xarray<float> floats{{1.5f, -0.0f}, {1e-42f, std::bit_cast<float>(0x7fc12345u)}};
  const xt::xarray<std::int64_t> longs{std::numeric_limits<std::int64_t>::min(), 7};
  const xt::xarray<bool> flags{true, false, true};
  const auto same = [](const auto& a, const auto& b) {
    return a.shape() == b.shape() && std::memcmp(a.data(), b.data(), a.size() * sizeof(*a.data())) == 0;
  };
  maa::save_npy(folder / "a.npy", floats);
  CHECK(same(maa::load_npy<float>(folder / "a.npy"), floats));
  CHECK(test::read_bytes(folder / "a.npy").size() % 64 == 16);  // data begins at a multiple of 64

  maa::NpzWriter writer;
  writer.add("floats", floats);
  writer.add("longs", longs);
  writer.add("flags", flags);
  writer.add("sum", floats + 1.0f);  // any expression
  writer.add_text("word", "grün π 🙂");
  writer.add_text("none", "");
  CHECK(has(error_of([&] { writer.add("longs", longs); }), "expected a new name, found 'longs'"));
  CHECK(has(error_of([&] { writer.add_text("bad", "\xff"); }), "expected UTF-8"));
  writer.write(folder / "a.npz");
  writer.write(folder / "b.npz");
  CHECK(test::read_bytes(folder / "a.npz") == test::read_bytes(folder / "b.npz"));
  const maa::NpzReader reader(folder / "a.npz");
  CHECK(same(reader.load<float>("floats"), floats));
  CHECK(same(reader.load<std::int64_t>("longs"), longs));
  CHECK(reader.load<std::uint8_t>("flags") == xt::xarray<std::uint8_t>{1, 0, 1});
  CHECK(reader.load<float>("sum")(0, 0) == 2.5f);
  CHECK(reader.load_text("word") == "grün π 🙂");
  CHECK(reader.load_text("none").empty());
}

TEST_CASE("npz: other files, other names and texts with zeros") {
  const test::TemporaryFolder folder;
  const auto open = [&](const std::string& bytes) {
    test::write_bytes(folder / "a.npz", bytes);
    return error_of([&] { maa::NpzReader reader(folder / "a.npz"); });
  };
  CHECK(has(open("version https://git-lfs.github.com/spec/v1\n"),
            "expected a zip archive (.npz), found a Git LFS pointer"));
  CHECK(has(open("<!doctype html><html></html>"), "found an HTML page"));
  CHECK(has(open(""), "found an empty file"));
  CHECK(has(open(std::string(500, '\0')), "found zeros"));
  CHECK(has(open("Not found"), "found plain text"));
  CHECK(has(open(std::string("\x02\0\0\0\0\0\0\0{}", 10)), "found a safetensors file"));
  maa::NpzWriter writer;
  for (const char* name : {"observation", "action", "reward"}) {
    writer.add<float>(name, {}, std::array{1.0f});
  }
  writer.add_text("task", std::string("a\0b", 3));
  writer.write(folder / "a.npz");
  const maa::NpzReader reader(folder / "a.npz");
  CHECK(
      has(error_of([&] { reader.read_any<float>("observations"); }),
          "expected an array 'observations', found none among 4: 'observation', 'action', 'reward', 'task'"));
  CHECK(reader.load_text("task") == std::string("a\0b", 3));
  CHECK(has(error_of([&] { writer.add_text("end", std::string("a\0", 2)); }), "does not end in zeros"));
  auto bytes = test::read_bytes(folder / "a.npz");
  bytes.resize(bytes.size() / 2);
  CHECK(has(open(bytes), "found a zip archive (.npz, or PyTorch's .pt) that is damaged or cut short"));
}

TEST_CASE("npz: a failed write leaves the old file") {
  const test::TemporaryFolder folder;
  std::filesystem::create_directory(folder / "a.npz");
  maa::NpzWriter writer;
  writer.add("a", xt::xarray<float>{1.0f});
  CHECK(has(error_of([&] { writer.write(folder / "a.npz"); }), "expected a regular file"));
  CHECK(folder.names() == std::vector<std::string>{"a.npz"});
}

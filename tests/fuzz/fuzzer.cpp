// libFuzzer's side: the target is the one that the program is called by (build/fuzz/tests/NAME), and inputs
// are changed where their numbers are.
#include "parts.hpp"
#include "targets.hpp"

#include <cstdio>
#include <cstdlib>
#include <random>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using namespace maa;
using Random = std::minstd_rand;

const fuzz::Target* chosen = nullptr;

// An input, taken apart if it is a safetensors file.
struct Input {
  std::string bytes;
  std::optional<fuzz::Parts> parts;
};
// Some that were accepted, from which every other change begins: what is new to the fuzzer is mostly another
// way to be refused, so that of its own inputs one of a hundred was used at all.
std::vector<Input> accepted_inputs;
std::size_t accepted = 0;
// The latest accepted. Its memory stays: the fuzzer would look for a leak whenever an input leaves more than
// it found.
std::string latest;

std::size_t below(Random& random, std::size_t limit) {
  return random() % limit;
}
template <class Values>
auto& one_of(Random& random, Values& values) {
  return values[below(random, std::size(values))];
}

constexpr std::string_view edges[] = {"0",
                                      "1",
                                      "2",
                                      "3",
                                      "4",
                                      "7",
                                      "9",
                                      "10",
                                      "99",
                                      "100",
                                      "101",
                                      "1000",
                                      "65536",
                                      "1000000",
                                      "1000000000",
                                      "-1",
                                      "-7",
                                      "2147483647",
                                      "2147483648",
                                      "4294967295",
                                      "4294967296",
                                      "1152921504606846976",
                                      "4611686018427387904",
                                      "9223372036854775806",
                                      "9223372036854775807",
                                      "-9223372036854775808",
                                      "9223372036854775808",
                                      "18446744073709551615",
                                      "18446744073709551616",
                                      "1e300",
                                      "-1e300",
                                      "1e999",
                                      "1e-320",
                                      "0.5",
                                      "-0.5",
                                      "1e6",
                                      "1e-9",
                                      "3.4e38",
                                      "nan",
                                      "inf",
                                      "-inf",
                                      "",
                                      "true",
                                      "false",
                                      "none",
                                      "[]",
                                      "both"};

// What options and networks are named by in files.
constexpr std::string_view names[] = {
    "ddim",   "ddpm",     "epsilon",          "sample",  "v_prediction", "leading", "trailing",
    "h",      "v",        "linspace",         "success", "segments",     "first",   "whole",
    "mean",   "none",     "mean_and_log_std", "tanh",    "clip",         "[tanh]",  "[relu, elu]",
    "[gelu]", "by_layer", "identity",         "mish",    "unet1d",       "even"};

// Another name, or a list with another number of elements.
void change_name(Random& random, std::string& text) {
  const auto comma = text.find(',');
  if (comma == text.npos || below(random, 4) == 0) {
    text = one_of(random, names);
  } else if (below(random, 2) == 0) {
    text.erase(comma, 1);
  } else {
    text.insert(below(random, text.size() + 1), 1, ',');
  }
}

// Another number for one of a text; now and then more of it, as lists have. Another name if it has none.
void change_value(Random& random, std::string& text) {
  const auto is_part = [](char c) { return (c >= '0' && c <= '9') || c == '-' || c == '.'; };
  std::vector<std::pair<std::size_t, std::size_t>> numbers;
  for (std::size_t i = 0; i < text.size();) {
    const auto first = i;
    while (i < text.size() && is_part(text[i])) {
      ++i;
    }
    if (i > first) {
      numbers.emplace_back(first, i - first);
    } else {
      ++i;
    }
  }
  std::string other(below(random, 2) == 0 ? edges[below(random, 6)] : one_of(random, edges));
  if (below(random, 8) == 0) {
    const auto count = below(random, 200);
    for (std::size_t i = 0; i < count; ++i) {
      other += concatenate(", ", one_of(random, edges));
    }
  }
  if (numbers.empty() && below(random, 4) != 0) {
    change_name(random, text);
  } else if (numbers.empty()) {
    text = other;
  } else {
    const auto [first, size] = one_of(random, numbers);
    text.replace(first, size, other);
  }
}

template <class T>
void change_elements(Random& random, std::string& bytes, std::initializer_list<double> values) {
  const auto count = bytes.size() / sizeof(T);
  const double value = *(values.begin() + static_cast<std::ptrdiff_t>(below(random, values.size())));
  T other{};
  if constexpr (std::is_integral_v<T>) {  // 2^63 has no place
    other =
        value >= 0x1p63 ? std::numeric_limits<T>::max() : static_cast<T>(static_cast<std::int64_t>(value));
  } else {
    other = static_cast<T>(std::abs(value) > 3.4e38 && std::isfinite(value) ? std::copysign(3.4e38, value)
                                                                            : value);
  }
  const auto only = below(random, count);
  const bool all = below(random, 4) == 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (all || i == only) {
      std::memcpy(bytes.data() + i * sizeof(T), &other, sizeof(T));
    }
  }
}

// The number of one of things with names. Those of one beginning ("denoiser.") count as ten at most.
template <class Things, class Name>
std::size_t one_by_name(Random& random, const Things& things, const Name& name_of) {
  for (;;) {
    const auto number = below(random, things.size());
    const std::string_view name = name_of(*std::next(things.begin(), static_cast<std::ptrdiff_t>(number)));
    const auto beginning = name.substr(0, name.find('.') + 1);
    const auto alike = std::ranges::count_if(things, [&](const auto& thing) {
      return !beginning.empty() && name_of(thing).starts_with(beginning);
    });
    if (below(random, static_cast<std::size_t>(std::max<std::ptrdiff_t>(alike, 1))) < 10) {
      return number;
    }
  }
}

// As many bytes as the shape says, unless it is none that a file this small could hold.
template <class Tensor>
void resize_to_shape(Tensor& tensor) {
  const auto size = detail::checked_bytes(tensor.shape, std::max<Index>(dtype_info(tensor.dtype).bytes, 1));
  if (size >= 0 && size <= Index{1} << 20) {
    tensor.bytes.resize(static_cast<std::size_t>(size), '\0');
  }
}

// One thing of a file: a number of its metadata or in a tensor, a shape, a name, or that it is there.
void change(Random& random, fuzz::Parts& parts) {
  const auto choice = below(random, 16);
  if (choice < 7 && !parts.metadata.empty()) {
    auto at = parts.metadata.begin();
    std::advance(
        at, static_cast<std::ptrdiff_t>(one_by_name(
                random, parts.metadata, [](const auto& pair) -> std::string_view { return pair.first; })));
    choice == 0 ? static_cast<void>(parts.metadata.erase(at)) : change_value(random, at->second);
    return;
  }
  if (parts.tensors.empty()) {
    return;
  }
  const auto number =
      one_by_name(random, parts.tensors, [](const auto& tensor) -> std::string_view { return tensor.name; });
  auto& tensor = parts.tensors[number];
  if (choice < 12 && !tensor.bytes.empty()) {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    switch (dtype_info(tensor.dtype).bytes) {
      case 1:
        return change_elements<std::uint8_t>(random, tensor.bytes, {0, 1, 2, 127, 255});
      case 4:
        return change_elements<float>(random, tensor.bytes,
                                      {0, 1, -1, 1e-45, 1e-30, 400, -999, 1e5, 1e6, 1e8, 1e20, -1e20, 3.4e38,
                                       -3.4e38, infinite, std::nan("")});
      case 8:
        return tensor.dtype == Dtype::F64
                   ? change_elements<double>(random, tensor.bytes,
                                             {0, 1, -1, 1e-320, 1e300, infinite, std::nan("")})
                   : change_elements<std::int64_t>(
                         random, tensor.bytes,
                         {0, 1, 2, -1, -2, -7, 19, 20, 21, 500, 0x1p31, 0x1p32, 0x1p62, 0x1p63, -0x1p63});
      default:
        return;
    }
  }
  switch (choice) {
    case 12:
      parts.tensors.erase(parts.tensors.begin() + static_cast<std::ptrdiff_t>(number));
      return;
    case 13:  // whose numbers are another's
      std::swap(tensor.name, parts.tensors[below(random, parts.tensors.size())].name);
      return;
    case 14: {  // another shape, and as many bytes as it needs
      const std::vector<Index> shapes[] = {{},     {0},    {1},     {1, 1},     {2}, {19}, {20},
                                           {1, 2}, {0, 3}, {20, 0}, {20, 1, 3}, {3}, {8}};
      if (tensor.shape.empty() || below(random, 2) == 0) {
        tensor.shape = one_of(random, shapes);
      } else {  // more or fewer of what it has
        auto& size = tensor.shape[below(random, tensor.shape.size())];
        const Index few = std::min<Index>(size, 1000);
        const Index sizes[] = {0, 1, 2, std::max<Index>(few - 1, 0), few + 1, 2 * few};
        size = one_of(random, sizes);
      }
      resize_to_shape(tensor);
      return;
    }
    default: {  // another dtype of as many bytes, or of as many numbers
      constexpr Dtype all[] = {Dtype::BOOL, Dtype::U8,  Dtype::I8,  Dtype::F16, Dtype::BF16,    Dtype::I32,
                               Dtype::F32,  Dtype::I64, Dtype::U64, Dtype::F64, Dtype::F8_E4M3, Dtype::C64};
      tensor.dtype = one_of(random, all);
      resize_to_shape(tensor);
    }
  }
}

// The header of an .npy array says how long it is.
void change_npy(Random& random, std::string& input) {
  const auto end = input.find('\n');
  if (!input.starts_with("\x93NUMPY") || end == input.npos || end < 10) {
    return;
  }
  auto text = input.substr(10, end - 10);
  const auto size = text.size();
  text.erase(text.find_last_not_of(' ') + 1);
  change_value(random, text);
  text.resize(std::max(text.size(), size), ' ');
  const auto length = static_cast<std::uint16_t>(text.size() + 1);
  input =
      input.substr(0, 8) + std::string(reinterpret_cast<const char*>(&length), 2) + text + input.substr(end);
}

std::uint32_t checksum(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
    }
  }
  return ~crc;
}

// Of every stored entry of a zip archive, where its sizes still make sense: or most changes of what is inside
// would be found by it.
void mend_checksums(std::string& zip) {
  const auto number = [&](std::size_t at, std::size_t size) {
    std::uint32_t value = 0;
    std::memcpy(&value, zip.data() + at, size);
    return std::size_t{value};
  };
  for (auto at = zip.find("PK\3\4"); at != zip.npos && at + 30 <= zip.size();
       at = zip.find("PK\3\4", at + 4)) {
    const auto first = at + 30 + number(at + 26, 2) + number(at + 28, 2);
    if (number(at + 8, 2) != 0 || first > zip.size() || number(at + 18, 4) > zip.size() - first) {
      continue;
    }
    const auto crc = checksum(std::string_view(zip).substr(first, number(at + 18, 4)));
    std::memcpy(zip.data() + at + 14, &crc, sizeof crc);
    for (auto entry = zip.find("PK\1\2"); entry != zip.npos && entry + 46 <= zip.size();
         entry = zip.find("PK\1\2", entry + 4)) {
      if (number(entry + 42, 4) == at) {
        std::memcpy(zip.data() + entry + 16, &crc, sizeof crc);
      }
    }
  }
}

// The latest goes among the accepted, now and then in another's place once there are many.
void keep_latest(Random& random) {
  constexpr std::size_t most = 200;
  if (!latest.empty() && (accepted_inputs.size() < most || below(random, 8) == 0)) {
    Input input{latest, fuzz::take_apart(latest)};
    if (accepted_inputs.size() < most) {
      accepted_inputs.push_back(std::move(input));
    } else {
      one_of(random, accepted_inputs) = std::move(input);
    }
  }
  latest.clear();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char*** arguments) {
  chosen = &fuzz::target(std::filesystem::path((*arguments)[0]).filename().string());
  latest.reserve(1 << 20);
  std::atexit([] { std::fprintf(stderr, "stat::accepted_units: %zu\n", accepted); });
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    if (chosen->run(input, fuzz::Use::share)) {
      ++accepted;
      latest = input.substr(0, latest.capacity());
    }
  } catch (const Error&) {
  }
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  static Input last;  // the same is changed several times in a row
  Random random(seed + 1);
  keep_latest(random);
  std::string input(reinterpret_cast<const char*>(data), size);
  std::optional<fuzz::Parts> parts;
  const bool whole = below(random, 4) != 0;
  const auto& other = accepted_inputs.empty() ? last : one_of(random, accepted_inputs);
  if (below(random, 2) == 0 && !other.bytes.empty() && other.bytes.size() <= max_size) {
    input = other.bytes;
    parts = whole ? other.parts : std::nullopt;
    size = input.copy(reinterpret_cast<char*>(data), max_size);
  } else if (whole) {
    parts = last.parts && input == last.bytes ? std::move(last.parts) : fuzz::take_apart(input);
  }
  const bool is_npy = input.starts_with("\x93NUMPY") && below(random, 2) == 0;
  if (parts) {
    const auto changes = 1 + below(random, 2) * below(random, 3);
    for (std::size_t i = 0; i < changes; ++i) {
      change(random, *parts);
    }
    try {
      input = fuzz::put_together(*parts);
    } catch (const Error&) {  // a text that is not UTF-8
      parts.reset();
    }
  } else if (is_npy) {
    change_npy(random, input);
  }
  if ((!parts && !is_npy) || input.size() > max_size) {
    parts.reset();
    size = LLVMFuzzerMutate(data, size, max_size);
    input.assign(reinterpret_cast<const char*>(data), size);
    if (below(random, 4) != 0) {
      mend_checksums(input);
    }
  }
  std::memcpy(data, input.data(), input.size());
  size = input.size();
  last = {std::move(input), std::move(parts)};
  return size;
}

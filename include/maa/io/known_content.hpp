// What a file is that should have been another: for messages.
#pragma once

#include <maa/io/input_file.hpp>

#include <algorithm>
#include <string_view>
#include <utility>

MAA_NAMESPACE_BEGIN
namespace detail {

inline constexpr std::string_view safetensors_content = "a safetensors file";

// "a zip archive (.npz, or PyTorch's .pt)", by the first bytes of a file; empty if they tell nothing.
std::string_view known_content(std::string_view beginning);
std::string_view known_content(const InputFile& file);

#if MAA_BODIES
MAA_COLD MAA_INLINE std::string_view known_content(std::string_view beginning) {
  constexpr std::pair<std::string_view, std::string_view> kinds[] = {
      {"version https://git-lfs", "a Git LFS pointer (`git lfs pull` fetches the file itself)"},
      {"PK\x03\x04", "a zip archive (.npz, or PyTorch's .pt)"},
      {"PK\x05\x06", "an empty zip archive"},
      {"\x93NUMPY", "an .npy array"},
      {"\x1f\x8b", "a gzip archive"},
      {"\x80\x02", "a Python pickle"},
      {"\x80\x03", "a Python pickle"},
      {"\x80\x04", "a Python pickle"},
      {"\x80\x05", "a Python pickle"},
      {"\x89HDF", "an HDF5 file"},
  };
  if (beginning.empty()) {
    return "an empty file";
  }
  for (const auto& [magic, name] : kinds) {
    if (beginning.starts_with(magic)) {
      return name;
    }
  }
  if (beginning.size() >= 8 && beginning.find_first_not_of('\0') == std::string_view::npos) {
    return "zeros (a download that has not finished?)";
  }
  auto text = beginning.substr(beginning.starts_with("\xef\xbb\xbf") ? 3 : 0);  // after the mark of UTF-8
  text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
  const auto tag = [&](std::string_view lower) {
    return text.size() >= lower.size() && std::equal(lower.begin(), lower.end(), text.begin(),
                                                     [](char a, char b) { return a == (b | 0x20); });
  };
  // The bit that makes a capital a small letter is set in '!' and '<' as well.
  if (tag("<!doctype html") || tag("<html")) {
    return "an HTML page (of a download that failed?)";
  }
  if (tag("<?xml")) {
    return "an XML page (of a download that failed?)";
  }
  // A header of some length, then its JSON text.
  if (beginning.size() > 8 && beginning[7] == 0 && beginning[8] == '{') {
    return safetensors_content;
  }
  const bool printable = std::ranges::all_of(beginning, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 0x20 && byte != 0x7f && byte < 0xf8) || (byte >= '\t' && byte <= '\r');
  });
  return !printable ? "" : text.starts_with('{') || text.starts_with('[') ? "JSON text" : "plain text";
}

MAA_COLD MAA_INLINE std::string_view known_content(const InputFile& file) {
  char beginning[256];
  const auto size = std::min<Index>(file.size(), sizeof beginning);
  file.read_at(0, std::as_writable_bytes(std::span(beginning, static_cast<std::size_t>(size))));
  return known_content(std::string_view(beginning, static_cast<std::size_t>(size)));
}
#endif

}  // namespace detail
MAA_NAMESPACE_END

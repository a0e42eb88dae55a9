// What a file is that should have been another: for messages.
#pragma once

#include <maa/io/input_file.hpp>

#include <algorithm>
#include <string_view>
#include <utility>

MAA_NAMESPACE_BEGIN
namespace detail {

inline constexpr std::string_view safetensors_content = "a safetensors file";

// "a zip archive (.npz, or PyTorch's .pt)", by a file's first bytes; empty if they tell nothing.
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
      {"{\"", "JSON text"},
  };
  for (const auto& [magic, name] : kinds) {
    if (beginning.starts_with(magic)) {
      return name;
    }
  }
  const auto text = beginning.substr(std::min(beginning.find_first_not_of(" \t\r\n"), beginning.size()));
  const auto tag = [&](std::string_view lower) {
    return text.size() >= lower.size() && std::equal(lower.begin(), lower.end(), text.begin(),
                                                     [](char a, char b) { return a == (b | 0x20); });
  };
  // The bit that makes a capital a small letter is set in '!' and '<' as well.
  if (tag("<!doctype html") || tag("<html")) {
    return "an HTML page (of a download that failed?)";
  }
  // A header of some length, then its JSON text.
  return beginning.size() > 8 && beginning[7] == 0 && beginning[8] == '{' ? safetensors_content : "";
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

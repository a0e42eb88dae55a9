// A fingerprint of data, by which a checkpoint knows what it was trained on.
#pragma once

#include <maa/core/config.hpp>

#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>

MAA_NAMESPACE_BEGIN

// 64 bits (FNV-1a over words, mixed): equal contents in equal order have equal values on machines of one byte
// order, others most likely not. Not for secrets.
class ContentHash {
 public:
  void add(std::uint64_t word) {
    value_ = (value_ ^ word) * 0x100000001b3u;
    value_ ^= value_ >> 29;
  }
  // The numbers' bytes and how many they are.
  template <class T, std::size_t extent>
  void add(std::span<T, extent> values) {
    const auto bytes = std::as_bytes(values);
    add(static_cast<std::uint64_t>(bytes.size()));
    for (std::size_t at = 0; at < bytes.size(); at += sizeof(std::uint64_t)) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + at, std::min(sizeof word, bytes.size() - at));
      add(word);
    }
  }
  void add(std::string_view text) { add(std::span(text.data(), text.size())); }

  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325u;
};

MAA_NAMESPACE_END

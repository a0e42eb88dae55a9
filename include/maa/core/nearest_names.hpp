// For errors about a misspelt name.
#pragma once

#include <maa/core/error.hpp>

#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

MAA_NAMESPACE_BEGIN

// Levenshtein's distance: how many letters to insert, remove or replace.
std::size_t edit_distance(std::string_view a, std::string_view b);

// The three names nearest to `name`, nearest first: "a, b and c". Fewer if there are fewer.
std::string nearest_names(std::string_view name, const std::vector<std::string>& names);

// What a file has in place of `name`, nearest first: "none among 11: 'a', 'b' ... and 3 more". A name that
// has only something before it, as "module.", is said alone.
std::string found_instead(std::string_view name, const std::vector<std::string>& names);

#if MAA_BODIES

MAA_COLD MAA_INLINE std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

namespace detail {

// At most `most` of the names, nearest first. Long ones, which a file may have, are compared by their
// beginnings.
MAA_COLD inline std::vector<std::string_view> by_distance(std::string_view name,
                                                          const std::vector<std::string>& names,
                                                          std::size_t most) {
  constexpr std::size_t compared = 100;
  std::vector<std::pair<std::size_t, std::size_t>> order;  // distance, number
  for (std::size_t i = 0; i < names.size(); ++i) {
    order.emplace_back(
        edit_distance(name.substr(0, compared), std::string_view(names[i]).substr(0, compared)), i);
  }
  std::sort(order.begin(), order.end());
  std::vector<std::string_view> nearest;
  for (std::size_t i = 0; i < std::min(most, order.size()); ++i) {
    nearest.push_back(names[order[i].second]);
  }
  return nearest;
}

}  // namespace detail

MAA_COLD MAA_INLINE std::string nearest_names(std::string_view name, const std::vector<std::string>& names) {
  const auto nearest = detail::by_distance(name, names, 3);
  std::string text;
  for (std::size_t i = 0; i < nearest.size(); ++i) {
    text += i == 0 ? "" : i + 1 < nearest.size() ? ", " : " and ";
    text += nearest[i];
  }
  return text;
}

MAA_COLD MAA_INLINE std::string found_instead(std::string_view name, const std::vector<std::string>& names) {
  if (names.empty()) {
    return "none";
  }
  for (const auto& other : names) {
    const auto before = std::string_view(other).substr(0, other.size() - std::min(other.size(), name.size()));
    if (before.ends_with('.') && other.ends_with(name)) {
      return concatenate("none among ", names.size(), ", but ", detail::TextPart::quoted(other), ": take ",
                         detail::TextPart::quoted(before),
                         " off the names, as torch.compile or DataParallel put before them");
    }
  }
  std::string text;
  for (const auto other : detail::by_distance(name, names, 8)) {
    text += concatenate(text.empty() ? "" : ", ", detail::TextPart::quoted(other));
  }
  return concatenate("none among ", names.size(), ": ", text,
                     names.size() > 8 ? concatenate(" and ", names.size() - 8, " more") : "");
}

#endif

MAA_NAMESPACE_END

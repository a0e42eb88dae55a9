// For errors about a misspelt name.
#pragma once

#include <maa/core/config.hpp>

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

MAA_COLD MAA_INLINE std::string nearest_names(std::string_view name, const std::vector<std::string>& names) {
  std::vector<std::pair<std::size_t, std::size_t>> nearest;  // distance, number
  for (std::size_t i = 0; i < names.size(); ++i) {
    nearest.emplace_back(edit_distance(name, names[i]), i);
  }
  std::sort(nearest.begin(), nearest.end());
  const std::size_t count = std::min<std::size_t>(3, names.size());
  std::string text;
  for (std::size_t i = 0; i < count; ++i) {
    text += i == 0 ? "" : i + 1 < count ? ", " : " and ";
    text += names[nearest[i].second];
  }
  return text;
}

#endif

MAA_NAMESPACE_END

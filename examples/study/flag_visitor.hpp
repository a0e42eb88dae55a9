// Flags of any described options, for flags.hpp.
#pragma once

#include <charconv>
#include <map>

#include <CLI/CLI.hpp>
#include <maa/core/options.hpp>

#include "flags.hpp"

namespace maa::examples::study {

namespace detail {

class FlagVisitor {
 public:
  FlagVisitor(CLI::App& app, std::span<const Flag> flags) : app_(app), flags_(flags) {}

  template <class T>
  void operator()(std::string_view name, T& value) {
    (*this)(name, Limits(), value);
  }
  template <class T>
  void operator()(std::string_view name, const Limits& limits, T& value) {
    const auto outer = path_.size();
    path_ += name;
    if constexpr (requires { T::describe(*this, value); }) {
      path_ += '.';
      T::describe(*this, value);
    } else {
      for (const auto& flag : flags_) {
        if (flag.field == path_) {
          add(flag, limits, value);
          ++added;
        }
      }
    }
    path_.resize(outer);
  }

  std::size_t added = 0;

 private:
  template <class T>
  void add(const Flag& flag, const Limits& limits, T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      const bool yes = !flag.flag.starts_with("--no-");
      app_.add_flag_callback(
          flag.flag, [&value, yes] { value = yes; }, flag.help);
    } else if constexpr (std::is_enum_v<T>) {
      std::map<std::string, T> values;
      std::string names;
      for (const auto name : names_of(T{})) {
        values.emplace(name, static_cast<T>(values.size()));
        names += concatenate(names.empty() ? "" : ",", name);
      }
      app_.add_option(flag.flag, value, flag.help)
          ->transform(CLI::CheckedTransformer(values))
          ->option_text(concatenate("{", names, "}=", names_of(T{})[static_cast<std::size_t>(value)]));
    } else {
      auto* option = app_.add_option(flag.flag, value, flag.help);
      if constexpr (!std::is_same_v<T, std::vector<std::string>> && !std::is_same_v<T, std::string>) {
        auto within = limits;
        if constexpr (std::is_unsigned_v<T>) {
          within.low = std::max(within.low, 0.0);  // the parser takes -1 for the largest number
        }
        option->capture_default_str()->check([limits = within](const std::string& text) {
          double number = 0;
          const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
          const bool fits = error == std::errc() && end == text.data() + text.size() && limits.allows(number);
          return fits ? std::string() : concatenate("expected a number ", limits.text(), ", found ", text);
        });
      }
    }
  }

  CLI::App& app_;
  std::span<const Flag> flags_;
  std::string path_;
};

}  // namespace detail

template <class Described>
void add_flags_of(CLI::App& app, Described& options, std::span<const Flag> flags) {
  detail::FlagVisitor visitor(app, flags);
  Described::describe(visitor, options);
  require(visitor.added == flags.size(), "flags: expected ", flags.size(), " described fields, found ",
          visitor.added);
}

}  // namespace maa::examples::study

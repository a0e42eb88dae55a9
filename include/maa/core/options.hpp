// One description per struct of options, from which its text, files, comparisons and checks follow.
//
//     struct SamplingOptions {
//       SamplerKind sampler = SamplerKind::ddim;
//       Index steps = 10;
//       template <class Visitor, class Self>
//       static constexpr void describe(Visitor& visit, Self& self) {
//         visit("sampler", self.sampler);
//         visit("steps", at_least(1), self.steps);
//       }
//     };
//
// A field is a flag, a number with its limits, a name from a list (an enumeration with names_of() beside it),
// a text, a list of these, or another described struct, whose fields are named "outer.inner". Models, which
// are types without data, describe the constants that they are made of in the same way:
// describe_structure(visit), with visit.template type<Part>("name") for a part.
#pragma once

#include <maa/core/error.hpp>

#include <algorithm>
#include <array>
#include <concepts>
#include <limits>
#include <map>
#include <type_traits>
#include <vector>
#if MAA_BODIES
#include <charconv>
#endif

MAA_NAMESPACE_BEGIN

// The numbers that a field may have: finite, from `low` to `high`, without `low` itself if it is `open`; and
// how many a list may have of them.
struct Limits {
  double low = std::numeric_limits<double>::lowest();
  double high = std::numeric_limits<double>::max();
  bool open = false;
  Index most = 10'000;

  constexpr bool allows(double value) const {
    return value >= low && value <= high && !(open && value == low);
  }
  constexpr Limits up_to(Index elements) const { return {low, high, open, elements}; }
  std::string text() const;
};
// Bounds that no use reaches, so that sizes computed from a count cannot overflow, and what is computed in
// float from a number neither overflows nor becomes 0.
inline constexpr double largest_count = 1e9;
inline constexpr double largest_number = 1e6;
inline constexpr double smallest_number = 1e-9;
constexpr Limits any_number() {
  return {-largest_number, largest_number};
}
constexpr Limits between(double low, double high) {
  return {low, high};
}
constexpr Limits at_least(double low) {
  return {low, largest_count};
}
constexpr Limits positive() {
  return {smallest_number, largest_number};
}
constexpr Limits not_negative() {
  return {0, largest_number};
}
// A share or probability.
constexpr Limits share() {
  return {0, 1};
}

// A field as text: numbers with as many digits as restore them, names and texts as they are, lists as
// "[a, b]".
struct Field {
  std::string name;  // "behavior.train.steps"
  std::string text;

  friend bool operator==(const Field&, const Field&) = default;
};
using Fields = std::vector<Field>;

namespace detail {

template <class T>
concept EnumWithNames = std::is_enum_v<T> && requires(T value) {
  names_of(value);
};
template <class T>
concept FieldNumber = std::is_arithmetic_v<T> && !std::same_as<T, bool>;
template <class T>
inline constexpr bool is_list = false;
template <class T>
inline constexpr bool is_list<std::vector<T>> = true;
template <class T, std::size_t size>
inline constexpr bool is_list<std::array<T, size>> = true;

template <class T>
std::string_view name_of(T value) {
  constexpr auto names = names_of(T{});
  const auto index = static_cast<std::size_t>(value);
  return index < names.size() ? names[index] : std::string_view("unknown");
}

// A text within a list: in double quotes, those and backslashes with a backslash before them, so that the
// text of every list is its own.
std::string quoted_text(const std::string& text);
// Takes the first element off the rest of a list, its quotes undone, and the comma after it. False if it is
// none.
bool take_element(std::string_view& rest, std::string& element);

template <class T>
std::string field_text(const T& value) {
  if constexpr (EnumWithNames<T>) {
    return std::string(name_of(value));
  } else if constexpr (is_list<T>) {
    std::string text = "[";
    for (const auto& element : value) {
      text += text.size() > 1 ? ", " : "";
      if constexpr (std::is_same_v<std::decay_t<decltype(element)>, std::string>) {
        text += quoted_text(element);
      } else {
        text += field_text(element);
      }
    }
    return text + "]";
  } else {
    return concatenate(value);
  }
}

// Whether all of `text` is a number, which `value` then is.
bool parse_number(std::string_view text, double& value);
bool parse_number(std::string_view text, std::int64_t& value);
bool parse_number(std::string_view text, std::uint64_t& value);

// Error unless `text` is a value of T, which is returned.
template <class T>
MAA_COLD T parse_field(std::string_view text, const TextPart& name, std::string_view where) {
  if constexpr (EnumWithNames<T>) {
    constexpr auto names = names_of(T{});
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == text) {
        return static_cast<T>(i);
      }
    }
    fail(where, ": expected one of ", field_text(std::vector<std::string>(names.begin(), names.end())),
         " for ", name, ", found ", TextPart::quoted(text));
  } else if constexpr (std::same_as<T, bool>) {
    require(text == "true" || text == "false", where, ": expected true or false for ", name, ", found ",
            TextPart::quoted(text));
    return text == "true";
  } else if constexpr (std::same_as<T, std::string>) {
    return std::string(text);
  } else {
    static_assert(FieldNumber<T>, "a field of this type cannot be read back");
    std::conditional_t<std::is_floating_point_v<T>, double,
                       std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t>>
        value{};
    require(parse_number(text, value), where, ": expected a number for ", name, ", found ",
            TextPart::quoted(text));
    return static_cast<T>(value);
  }
}

// Shared by visitors: the path of names that leads to a field. `Derived::field(value, limits)` sees each one.
template <class Derived>
class FieldVisitor {
 public:
  explicit FieldVisitor(std::string_view prefix) : path_(prefix) {}

  template <class T>
  void operator()(std::string_view name, T&& value) {
    visit(name, value, Limits());
  }
  template <class T>
  void operator()(std::string_view name, Limits limits, T&& value) {
    visit(name, value, limits);
  }
  template <class Type>
  void type(std::string_view name) {
    const auto outer = path_.size();
    path_ += concatenate(name, ".");
    Type::describe_structure(static_cast<Derived&>(*this));
    path_.resize(outer);
  }

 protected:
  const std::string& path() const { return path_; }

 private:
  template <class T>
  MAA_COLD void visit(std::string_view name, T& value, Limits limits) {
    auto& self = static_cast<Derived&>(*this);
    const auto outer = path_.size();
    path_ += name;
    if constexpr (requires { std::remove_const_t<T>::describe(self, value); }) {
      path_ += '.';
      std::remove_const_t<T>::describe(self, value);
    } else {
      self.field(value, limits);
    }
    path_.resize(outer);
  }

  std::string path_;
};

class FieldList : public FieldVisitor<FieldList> {
 public:
  using FieldVisitor::FieldVisitor;
  template <class T>
  MAA_COLD void field(const T& value, Limits) {
    fields.push_back({path(), field_text(value)});
  }
  Fields fields;
};

class FieldCheck : public FieldVisitor<FieldCheck> {
 public:
  FieldCheck(std::string_view prefix, std::string_view where) : FieldVisitor(prefix), where_(where) {}
  template <class T>
  MAA_COLD void field(const T& value, Limits limits) {
    if constexpr (is_list<T>) {
      require(std::ssize(value) <= limits.most, where_, ": expected at most ", limits.most, " elements of ",
              path(), ", found ", value.size());
      for (const auto& element : value) {
        field(element, limits);
      }
    } else if constexpr (EnumWithNames<T>) {
      const auto index = static_cast<std::int64_t>(value);
      require(index >= 0 && index < std::ssize(names_of(value)), where_, ": expected ", path(), " from 0 to ",
              std::ssize(names_of(value)) - 1, ", found ", index);
    } else if constexpr (FieldNumber<T>) {
      require(limits.allows(static_cast<double>(value)), where_, ": expected ", path(), " ", limits.text(),
              ", found ", value);
    }
  }

 private:
  std::string_view where_;
};

class FieldReader : public FieldVisitor<FieldReader> {
 public:
  FieldReader(std::string_view prefix, const std::map<std::string, std::string>& found,
              std::string_view where)
      : FieldVisitor(prefix), found_(found), where_(where) {}
  template <class T>
  MAA_COLD void field(T& value, Limits) {
    const auto at = found_.find(path());
    require(at != found_.end(), where_, ": expected the field '", path(), "', found none");
    if constexpr (is_list<T>) {
      value = parse_list<typename T::value_type>(at->second);
    } else {
      value = parse_field<T>(at->second, path(), where_);
    }
  }

 private:
  template <class Element>
  std::vector<Element> parse_list(std::string_view text) const {
    require(text.size() >= 2 && text.front() == '[' && text.back() == ']', where_, ": expected a list for ",
            path(), ", found ", TextPart::quoted(text));
    std::vector<Element> result;
    for (auto rest = text.substr(1, text.size() - 2); !rest.empty();) {
      std::string element;
      require(take_element(rest, element), where_, ": expected a list for ", path(), ", found ",
              TextPart::quoted(text));
      result.push_back(parse_field<Element>(element, path(), where_));
    }
    return result;
  }

  const std::map<std::string, std::string>& found_;
  std::string_view where_;
};

}  // namespace detail

// All fields in the order of the description, names prefixed with `prefix`.
template <class Options>
MAA_COLD Fields fields_of(const Options& options, std::string_view prefix = {}) {
  detail::FieldList list(prefix);
  Options::describe(list, options);
  return std::move(list.fields);
}
// The constants that a model is made of.
template <class Model>
MAA_COLD Fields structure_of(std::string_view prefix = {}) {
  detail::FieldList list(prefix);
  Model::describe_structure(list);
  return std::move(list.fields);
}

// Error for the first field that is out of its limits: "<where>: expected <field> from 0 to 1, found 2".
template <class Options>
MAA_COLD void check_fields(const Options& options, std::string_view where, std::string_view prefix = {}) {
  detail::FieldCheck check(prefix, where);
  Options::describe(check, options);
}

// Options from texts by name, such as a file's metadata. Error, with `where` before it, for a field that is
// missing, is no value of its type, or is out of its limits.
template <class Options>
MAA_COLD Options read_fields(const std::map<std::string, std::string>& texts, std::string_view where,
                             std::string_view prefix = {}) {
  Options options{};
  detail::FieldReader reader(prefix, texts, where);
  Options::describe(reader, options);
  check_fields(options, where, prefix);
  return options;
}

// What differs from `expected` among the texts whose names begin with `prefix`, each named: "unet.groups:
// expected 8, found 4; ...". Empty if nothing does.
std::string differences(const Fields& expected, const std::map<std::string, std::string>& found,
                        std::string_view prefix);

#if MAA_BODIES
MAA_COLD MAA_INLINE std::string Limits::text() const {
  const bool bounded = high < std::numeric_limits<double>::max();
  if (low == std::numeric_limits<double>::lowest()) {
    return bounded ? concatenate("at most ", high) : "a finite number";
  }
  const auto from = open ? concatenate("above ", low) : concatenate("from ", low, " on");
  return !bounded ? from : concatenate(open ? "above " : "from ", low, open ? ", at most " : " to ", high);
}

namespace detail {

MAA_INLINE std::string quoted_text(const std::string& text) {
  std::string result = "\"";
  for (const char letter : text) {
    result += letter == '"' || letter == '\\' ? "\\" : "";
    result += letter;
  }
  return result + '"';
}

MAA_INLINE bool take_element(std::string_view& rest, std::string& element) {
  std::size_t end = 0;
  if (rest.front() == '"') {
    for (end = 1; end < rest.size() && rest[end] != '"'; ++end) {
      end += rest[end] == '\\' && end + 1 < rest.size() ? 1u : 0u;
      element += rest[end];
    }
    if (end++ >= rest.size()) {
      return false;
    }
  } else {
    end = std::min(rest.find(", "), rest.size());
    element = rest.substr(0, end);
  }
  const bool more = rest.substr(end).starts_with(", ");
  if (!more && end != rest.size()) {
    return false;
  }
  rest.remove_prefix(end + (more ? 2 : 0));
  return true;
}

template <class Number>
bool parse_as(std::string_view text, Number& value) {
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size();
}
MAA_INLINE bool parse_number(std::string_view text, double& value) {
  return parse_as(text, value);
}
MAA_INLINE bool parse_number(std::string_view text, std::int64_t& value) {
  return parse_as(text, value);
}
MAA_INLINE bool parse_number(std::string_view text, std::uint64_t& value) {
  return parse_as(text, value);
}

}  // namespace detail

MAA_COLD MAA_INLINE std::string differences(const Fields& expected,
                                            const std::map<std::string, std::string>& found,
                                            std::string_view prefix) {
  std::string text;
  const auto add = [&](std::string_view name, std::string_view wanted, std::string_view there) {
    text += concatenate(text.empty() ? "" : "; ", name.substr(prefix.size()), ": expected ", wanted,
                        ", found ", there);
  };
  std::map<std::string, std::string> left(found.lower_bound(std::string(prefix)), found.end());
  for (const auto& field : expected) {
    const auto at = found.find(field.name);
    if (at == found.end()) {
      add(field.name, field.text, "none");
    } else if (at->second != field.text) {
      add(field.name, field.text, concatenate(detail::TextPart::quoted(at->second)));
    }
    left.erase(field.name);
  }
  for (const auto& [name, there] : left) {
    if (name.starts_with(prefix)) {
      add(name, "none", concatenate(detail::TextPart::quoted(there)));
    }
  }
  return text;
}
#endif

MAA_NAMESPACE_END

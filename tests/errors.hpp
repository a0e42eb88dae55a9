// What tests of error messages share.
#pragma once

#include <doctest/doctest.h>

#include <maa/core/error.hpp>

#include <string>

namespace test {

// The message of the maa::Error that `action` throws; "no error" if it returns.
template <class Action>
std::string error_of(const Action& action) {
  try {
    action();
  } catch (const maa::Error& error) {
    return error.what();
  }
  return "no error";
}

inline bool has(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

// call() throws maa::Error whose text contains `text`.
template <class Call>
void check_error([[maybe_unused]] const std::string& text, const Call& call) {
  const auto message = error_of(call);
  CAPTURE(message);
  CHECK(has(message, text));
}

}  // namespace test

// A callable without its type.
#pragma once

#include <maa/core/config.hpp>

#include <memory>
#include <type_traits>
#include <utility>

MAA_NAMESPACE_BEGIN

template <class Signature>
class FunctionRef;

// Refers to a callable, which must outlive it, so that a function that takes one is compiled once for all of
// them.
template <class Result, class... Arguments>
class FunctionRef<Result(Arguments...)> {
 public:
  template <class Function>
  requires(!std::is_same_v<std::remove_cvref_t<Function>, FunctionRef> &&
           std::is_invocable_r_v<Result, Function&, Arguments...>) FunctionRef(Function&& function)
  noexcept
      : object_(std::addressof(function)), call_([](const void* object, Arguments... arguments) -> Result {
          using Object = std::add_pointer_t<std::remove_reference_t<Function>>;
          return (*static_cast<Object>(const_cast<void*>(object)))(std::forward<Arguments>(arguments)...);
        }) {}

  Result operator()(Arguments... arguments) const {
    return call_(object_, std::forward<Arguments>(arguments)...);
  }

 private:
  const void* object_;
  Result (*call_)(const void* object, Arguments... arguments);
};

MAA_NAMESPACE_END

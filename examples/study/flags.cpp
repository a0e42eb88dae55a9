#include "flag_visitor.hpp"
#include "options.hpp"

namespace maa::examples::study {

void add_flags(CLI::App& app, Options& options, std::span<const Flag> flags) {
  add_flags_of(app, options, flags);
}

}  // namespace maa::examples::study

// From outcomes to results.json and the table on the terminal.
#pragma once

#include <nlohmann/json.hpp>

#include "evaluate.hpp"
#include "options.hpp"

namespace maa::examples::study {

// What one method came to. `selection`, of the same policies in other scenes, may be missing.
struct Measured {
  std::string method;
  Outcome outcome;
  Outcome selection;
};

// Rows of results.json: per task of each split and split-wide means, with 95 % intervals.
nlohmann::ordered_json result_rows(const Options& options, const std::vector<Reported>& reported,
                                   const std::vector<Measured>& measured);

// Joint success by method and split, and per task.
void print_table(const Options& options, const std::vector<Reported>& reported,
                 const nlohmann::ordered_json& rows);

}  // namespace maa::examples::study

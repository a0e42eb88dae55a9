// From outcomes to results.json and the table on the terminal.
#pragma once

#include <nlohmann/json.hpp>

#include "evaluate.hpp"
#include "options.hpp"

namespace maa::examples::quickstart {

// Rows of results.json: per task and split-wide means, with 95 % intervals.
nlohmann::ordered_json result_rows(const Options& options, const std::vector<Outcome>& outcomes);

// Joint success by method, seen and unseen, and per task.
void print_table(const Options& options, const nlohmann::ordered_json& rows);

}  // namespace maa::examples::quickstart

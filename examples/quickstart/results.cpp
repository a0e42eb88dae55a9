#include "results.hpp"

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "statistics.hpp"

namespace maa::examples::quickstart {
namespace {

using Json = nlohmann::ordered_json;

Json row(const std::string& task, const std::string& split, const std::string& method, Index prompts,
         const Options& options, double qualified, const Interval& interval, double mean_success) {
  return {{"task", task},
          {"split", split},
          {"method", method},
          {"prompts", prompts},
          {"scenes", options.scenes},
          {"qualified", qualified},
          {"ci95", {std::min(interval.low, qualified), std::max(interval.high, qualified)}},
          {"mean_success", mean_success}};
}

}  // namespace

Json result_rows(const Options& options, const std::vector<Outcome>& outcomes) {
  const auto tasks = options.tasks.all();
  Json rows = Json::array();
  for (const auto& outcome : outcomes) {
    for (const std::string split : {"seen", "unseen"}) {
      const std::size_t first = split == "seen" ? 0 : options.tasks.seen.size();
      const std::size_t last = split == "seen" ? options.tasks.seen.size() : tasks.size();
      std::vector<std::vector<double>> groups;
      double scenes_solved = 0;
      Index prompts = 0, joint_of_split = 0;
      for (std::size_t t = first; t < last; ++t) {
        const auto& successes = outcome.successes[t];
        if (successes.empty()) {
          continue;
        }
        auto& group = groups.emplace_back();
        for (const auto solved : successes) {
          group.push_back(solved == options.scenes ? 1 : 0);
        }
        const auto count = static_cast<Index>(successes.size());
        const auto joint = std::ranges::count(group, 1.0);
        const auto mean = static_cast<double>(std::accumulate(successes.begin(), successes.end(), Index{0})) /
                          static_cast<double>(count * options.scenes);
        rows.push_back(row(tasks[t], split, outcome.method, count, options,
                           static_cast<double>(joint) / static_cast<double>(count),
                           wilson_interval(joint, count), mean));
        scenes_solved += mean;
        prompts += count;
        joint_of_split += joint;
      }
      if (!groups.empty()) {
        // All tasks have the same number of prompts.
        const double qualified = static_cast<double>(joint_of_split) / static_cast<double>(prompts);
        auto interval = bootstrap_interval(groups, seed_for(options, Purpose::bootstrap));
        if (interval.low == interval.high) {  // no task varies, so that redrawing its prompts says nothing
          interval = wilson_interval(joint_of_split, prompts);
        }
        rows.push_back(row("mean", split, outcome.method, prompts, options, qualified, interval,
                           scenes_solved / static_cast<double>(groups.size())));
      }
    }
  }
  return rows;
}

void print_table(const Options& options, const Json& rows) {
  const auto find = [&](const std::string& task, const std::string& split,
                        const std::string& method) -> const Json* {
    for (const auto& r : rows) {
      if (r["task"] == task && r["split"] == split && r["method"] == method) {
        return &r;
      }
    }
    return nullptr;
  };
  std::vector<std::string> methods;
  for (const auto& r : rows) {
    if (methods.empty() || methods.back() != r["method"]) {
      methods.push_back(r["method"]);
    }
  }
  std::printf(
      "\nShare of policies that succeed in all of %td fresh scenes, one policy per prompt, no selection [95 "
      "%%]\n",
      options.scenes);
  std::printf("   %-38s %-20s %-20s\n", "method", "seen tasks", "unseen tasks");
  char letter = 'a';  // stands for the method in the table by task
  for (const auto& method : methods) {
    std::printf("%c  %-38s", letter++, method.c_str());
    for (const char* split : {"seen", "unseen"}) {
      if (const auto* r = find("mean", split, method)) {
        std::printf(" %.3f [%.2f, %.2f]  ", (*r)["qualified"].get<double>(), (*r)["ci95"][0].get<double>(),
                    (*r)["ci95"][1].get<double>());
      } else {
        std::printf(" %-20s", "-");
      }
    }
    std::printf("\n");
  }
  std::printf("\n%-22s", "task");
  for (std::size_t i = 0; i < methods.size(); ++i) {
    std::printf(" %-4c", static_cast<char>('a' + i));
  }
  std::printf("\n");
  for (const auto& task : options.tasks.all()) {
    const bool seen = std::ranges::find(options.tasks.seen, task) != options.tasks.seen.end();
    std::printf("%-22s", (task + (seen ? "" : " *")).c_str());
    for (const auto& method : methods) {
      const auto* r = find(task, seen ? "seen" : "unseen", method);
      r ? std::printf(" %-4.2f", (*r)["qualified"].get<double>()) : std::printf(" %-4s", "-");
    }
    std::printf("\n");
  }
  std::printf("* unseen\n");
}

}  // namespace maa::examples::quickstart

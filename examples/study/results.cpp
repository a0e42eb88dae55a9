#include "results.hpp"

#include <algorithm>
#include <cstdio>
#include <map>

#include "statistics.hpp"

namespace maa::examples::study {
namespace {

using Json = nlohmann::ordered_json;

Json row(const std::string& task, Split split, const std::string& method, Index policies,
         const Options& options, double rate, const Interval& interval) {
  return {{"task", task},
          {"split", name_of(split)},
          {"method", method},
          {"prompts", policies},
          {"scenes", options.evaluation.scenes},
          {"qualified", rate},
          {"ci95", {std::min(interval.low, rate), std::min(1.0, std::max(interval.high, rate))}}};
}

// Figures beside the joint rate, of one task. `selection` may be empty.
std::map<std::string, double> further_figures(const PolicyEpisodes& policies,
                                              const PolicyEpisodes& selection) {
  std::map<std::string, double> figures{{"mean_success", mean_success(policies)},
                                        {"rank_wise", rank_wise_rate(policies)},
                                        {"top5_same_scenes", top_success(policies, policies, 5)},
                                        {"top10_same_scenes", top_success(policies, policies, 10)}};
  if (const auto steps = steps_to_success(policies)) {
    figures["steps_to_success"] = *steps;
  }
  if (!selection.empty()) {
    figures["top5"] = top_success(selection, policies, 5);
    figures["top10"] = top_success(selection, policies, 10);
  }
  return figures;
}

}  // namespace

Json result_rows(const Options& options, const std::vector<Reported>& reported,
                 const std::vector<Measured>& measured) {
  Json rows = Json::array();
  for (const auto& [method, outcome, selection] : measured) {
    for (const auto split : splits_of(reported)) {
      std::vector<std::vector<double>> groups;
      std::map<std::string, std::pair<double, Index>> sums;  // and over how many tasks
      Index policies = 0, qualified_policies = 0;
      for (std::size_t t = 0; t < reported.size(); ++t) {
        if (outcome[t].empty() || reported[t].split != split) {
          continue;
        }
        auto& group = groups.emplace_back();
        for (const auto& episodes : outcome[t]) {
          group.push_back(qualified(episodes) ? 1 : 0);
        }
        const auto count = static_cast<Index>(group.size());
        const auto joint = std::ranges::count(group, 1.0);
        auto& own = rows.emplace_back(row(reported[t].task, split, method, count, options,
                                          qualified_rate(outcome[t]), wilson_interval(joint, count)));
        for (const auto& [name, value] :
             further_figures(outcome[t], selection.empty() ? PolicyEpisodes() : selection[t])) {
          own[name] = value;
          sums[name].first += value;
          ++sums[name].second;
        }
        policies += count;
        qualified_policies += joint;
      }
      if (!groups.empty()) {
        // All tasks have the same number of prompts.
        const double rate = static_cast<double>(qualified_policies) / static_cast<double>(policies);
        auto interval = bootstrap_interval(groups, seed_for(options, Purpose::bootstrap));
        if (interval.low == interval.high) {  // no task varies, so that redrawing its prompts says nothing
          interval = wilson_interval(qualified_policies, policies);
        }
        auto& own = rows.emplace_back(row("mean", split, method, policies, options, rate, interval));
        for (const auto& [name, sum] : sums) {
          own[name] = sum.first / static_cast<double>(sum.second);
        }
      }
    }
  }
  return rows;
}

void print_table(const Options& options, const std::vector<Reported>& reported, const Json& rows) {
  const auto find = [&](const std::string& task, std::string_view split,
                        const std::string& method) -> const Json* {
    for (const auto& r : rows) {
      if (r["task"] == task && r["split"].get_ref<const std::string&>() == split && r["method"] == method) {
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
      options.evaluation.scenes);
  const auto splits = splits_of(reported);
  std::printf("   %-38s", "method");
  for (const auto split : splits) {
    std::printf(" %-20s", title_of(split));
  }
  std::printf("\n");
  const auto letter = [](std::size_t i) {  // stands for the method in the table by task
    return "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"[i % 52];
  };
  for (std::size_t i = 0; i < methods.size(); ++i) {
    const auto& method = methods[i];
    std::printf("%c  %-38s", letter(i), method.c_str());
    for (const auto split : splits) {
      if (const auto* r = find("mean", name_of(split), method)) {
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
    std::printf(" %-4c", letter(i));
  }
  std::printf("\n");
  for (const auto& each : reported) {
    std::printf("%-22s", (each.name() + (each.split == Split::unseen ? " *" : "")).c_str());
    for (const auto& method : methods) {
      const auto* r = find(each.task, name_of(each.split), method);
      r ? std::printf(" %-4.2f", (*r)["qualified"].get<double>()) : std::printf(" %-4s", "-");
    }
    std::printf("\n");
  }
  std::printf("* unseen\n");
}

}  // namespace maa::examples::study

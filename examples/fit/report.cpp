#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <set>

#include "report_style.hpp"

namespace maa::examples {
namespace {

constexpr std::size_t most_prompts = 64;  // of each kind
constexpr std::size_t most_others = 4;
constexpr Index shortest_prompt = 3;

std::string format(const char* form, double value) {
  std::array<char, 64> text;
  std::snprintf(text.data(), text.size(), form, value);
  return text.data();
}
std::string number(double value) {
  return concatenate("<data value=\"", format("%.6g", value), "\">", format("%.2f", value), "</data>");
}
std::string percent(double share) {
  return format("%.0f", 100 * share) + "&#8239;%";
}
std::string escape(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      default:
        result += static_cast<unsigned char>(c) < ' ' ? '?' : c;
    }
  }
  return result;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  const auto middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : 0.5 * (values[middle - 1] + values[middle]);
}

// A pair of axes in an <svg>, in the page's colours.
class Plot {
 public:
  Plot(std::string label, double width, double height, double left)
      : label_(std::move(label)), width_(width), height_(height), left_(left) {}

  void x_axis(double most, const std::string& title) {
    most_x_ = nice(most);
    for (int i = 0; i <= 4; ++i) {
      const double value = most_x_ * i / 4;
      line(x(value), top, x(value), height_ - bottom, "var(--line)");
      text(x(value), height_ - bottom + 16, "middle", "var(--muted)", format("%.3g", value));
    }
    text(0.5 * (left_ + width_ - right), height_ - 6, "middle", "var(--muted)", title);
  }
  void y_axis(double most, const std::string& title) {
    most_y_ = nice(most);
    for (int i = 0; i <= 4; ++i) {
      const double value = most_y_ * i / 4;
      line(left_, y(value), width_ - right, y(value), "var(--line)");
      text(left_ - 6, y(value) + 4, "end", "var(--muted)", format("%.3g", value));
    }
    text(left_, 12, "start", "var(--muted)", title);
  }
  double x(double value) const { return left_ + (width_ - left_ - right) * std::min(value / most_x_, 1.0); }
  double y(double value) const {
    return height_ - bottom - (height_ - top - bottom) * std::min(value / most_y_, 1.0);
  }
  void dot(double at_x, double at_y, const char* colour) {
    body_ += concatenate("<circle cx=\"", format("%.1f", at_x), "\" cy=\"", format("%.1f", at_y),
                         "\" r=\"4\" fill=\"", colour, "\" fill-opacity=\".5\"/>");
  }
  void line(double x1, double y1, double x2, double y2, const char* colour, double width = 1) {
    body_ += concatenate("<line x1=\"", format("%.1f", x1), "\" y1=\"", format("%.1f", y1), "\" x2=\"",
                         format("%.1f", x2), "\" y2=\"", format("%.1f", y2), "\" stroke=\"", colour,
                         "\" stroke-width=\"", width, "\"/>");
  }
  void text(double at_x, double at_y, const char* anchor, const char* colour, const std::string& what) {
    body_ +=
        concatenate("<text x=\"", format("%.1f", at_x), "\" y=\"", format("%.1f", at_y), "\" text-anchor=\"",
                    anchor, "\" fill=\"", colour, "\" font-size=\"12\">", escape(what), "</text>");
  }
  std::string svg() const {
    return concatenate("<svg viewBox=\"0 0 ", width_, ' ', height_, "\" role=\"img\" aria-label=\"",
                       escape(label_), "\">", body_, "</svg>");
  }

  static constexpr double top = 20, right = 14, bottom = 40;

 private:
  // The next 1, 2, 4 or 6 times a power of ten.
  static double nice(double most) {
    const double power = std::pow(10, std::floor(std::log10(std::max(most, 1e-6))));
    for (const double step : {1.0, 2.0, 4.0, 6.0}) {
      if (most <= step * power) {
        return step * power;
      }
    }
    return 10 * power;
  }

  std::string label_, body_;
  double width_, height_, left_, most_x_ = 1, most_y_ = 1;
};

using Prompts = std::vector<const PromptReport*>;

std::vector<double> errors_of(const Prompts& prompts, std::size_t method) {
  std::vector<double> result;
  for (const auto* prompt : prompts) {
    if (prompt->errors[method]) {
      result.push_back(*prompt->errors[method]);
    }
  }
  return result;
}

// In how many prompts `generated`, the first method, errs less than another.
std::pair<Index, Index> better_than(const Prompts& prompts, std::size_t method) {
  Index better = 0, all = 0;
  for (const auto* prompt : prompts) {
    if (prompt->errors[method]) {
      better += *prompt->errors[0] < *prompt->errors[method] ? 1 : 0;
      all += 1;
    }
  }
  return {better, all};
}

std::string strips(const FitReport& report, const Prompts& prompts, const std::string& name) {
  const double row = 34;
  Plot plot("Error of each method, " + name, 720,
            Plot::top + Plot::bottom + row * static_cast<double>(report.methods.size()), 140);
  double most = 0;
  for (std::size_t i = 0; i < report.methods.size(); ++i) {
    for (const double error : errors_of(prompts, i)) {
      most = std::max(most, error);
    }
  }
  plot.x_axis(most, "error, in deviations of an action");
  for (std::size_t i = 0; i < report.methods.size(); ++i) {
    const double middle = Plot::top + row * (static_cast<double>(i) + 0.5);
    plot.text(132, middle + 4, "end", "var(--ink)", report.methods[i]);
    const auto errors = errors_of(prompts, i);
    for (const double error : errors) {
      plot.dot(plot.x(error), middle, i == 0 ? "var(--accent)" : "var(--muted)");
    }
    if (!errors.empty()) {
      const double at = plot.x(median(errors));
      plot.line(at, middle - 12, at, middle + 12, "var(--ink)", 2.5);
    }
  }
  return plot.svg();
}

std::string scatter(const Prompts& prompts, const std::string& label, const std::string& x_title,
                    const std::string& y_title,
                    const std::function<std::optional<std::pair<double, double>>(const PromptReport&)>& point,
                    bool diagonal) {
  Plot plot(label, 480, 320, 52);
  double most_x = 0, most_y = 0;
  for (const auto* prompt : prompts) {
    if (const auto at = point(*prompt)) {
      most_x = std::max(most_x, at->first);
      most_y = std::max(most_y, at->second);
    }
  }
  if (diagonal) {
    most_x = most_y = std::max(most_x, most_y);
  }
  plot.x_axis(std::max(most_x, diagonal ? 0.0 : 1.0), x_title);
  plot.y_axis(most_y, y_title);
  if (diagonal) {
    const double end = std::max(most_x, most_y);
    plot.line(plot.x(0), plot.y(0), plot.x(end), plot.y(end), "var(--ink)");
  } else {
    plot.line(plot.x(1), Plot::top, plot.x(1), 320 - Plot::bottom, "var(--ink)");
  }
  for (const auto* prompt : prompts) {
    if (const auto at = point(*prompt)) {
      plot.dot(plot.x(at->first), plot.y(at->second),
               prompt->unseen_task ? "var(--unseen)" : "var(--accent)");
    }
  }
  return plot.svg();
}

std::string table_of(const FitReport& report, const Prompts& prompts) {
  std::string rows;
  for (std::size_t i = 0; i < report.methods.size(); ++i) {
    const auto errors = errors_of(prompts, i);
    if (errors.empty()) {
      continue;
    }
    const auto [least, greatest] = std::ranges::minmax_element(errors);
    const auto [better, all] = better_than(prompts, i);
    rows += concatenate("<tr><th scope=\"row\">", escape(report.methods[i]), "</th><td>",
                        number(median(errors)), "</td><td>", number(*least), " – ", number(*greatest),
                        "</td><td>", i == 0 ? std::string() : concatenate(better, " of ", all), "</td></tr>");
  }
  return "<div class=\"wide\"><table><thead><tr><th>policy</th><th>median error</th><th>least – "
         "greatest</th><th>generated errs less</th></tr></thead><tbody>" +
         rows + "</tbody></table></div>";
}

std::string group(const FitReport& report, const Prompts& prompts, const std::string& title,
                  const std::string& text) {
  if (prompts.empty()) {
    return concatenate("<section><h2>", title, "</h2><p class=\"skipped\">", text,
                       " There are none here.</p></section>");
  }
  return concatenate(
      "<section><h2>", title, ": ", prompts.size(), prompts.size() == 1 ? " prompt" : " prompts", "</h2><p>",
      text, "</p>", table_of(report, prompts), "<figure style=\"margin-top:16px\">",
      strips(report, prompts, title),
      "<figcaption>One point for each prompt; the line is the median.</figcaption></figure></section>");
}

std::string headline(const Prompts& all) {
  const auto sentence = [&](std::size_t method, const char* what) {
    const auto errors = errors_of(all, method);
    if (errors.empty()) {
      return std::string();
    }
    const auto [better, of] = better_than(all, method);
    return concatenate(' ', what, ' ', number(median(errors)), " (generated errs less on ", better, " of ",
                       of, " prompts).");
  };
  return concatenate("<header><p class=\"over\">maa · report of a fit, without a simulator</p><h1>On ",
                     all.size(), all.size() == 1 ? " held-out prompt" : " held-out prompts",
                     " generated policies miss the demonstrator’s action by ",
                     number(median(errors_of(all, 0))),
                     " deviations</h1><p class=\"lead\">Median of the root mean square "
                     "error, in deviations of the training’s actions.",
                     sentence(1, "The training policy that acts most like the prompt:"),
                     sentence(2, "A policy cloned from the prompt alone:"),
                     sentence(3, "Always the training’s mean action:"), "</p></header>");
}

std::string meaning(const FitReport& report) {
  return concatenate(
      "<section><h2>What these numbers mean, and what they do not</h2><ul>"
      "<li>Each prompt is one trajectory of a run that nothing was trained on. Policies are asked at the "
      "states of "
      "<em>other</em> trajectories of that run, and compared with what its demonstrator did there, ",
      report.targets
          ? "without exploration noise (target_actions)."
          : "<strong>as executed: where actions hold exploration noise, no method can err less than the "
            "noise.</strong>",
      "</li><li>The unit is the deviation of an action over the training’s trajectories: 0 is the same "
      "action, the "
      "mean action errs by about 1.</li>"
      "<li><strong>They are not success.</strong> States are the demonstrator’s. A policy that errs there a "
      "little "
      "may drift to states where it errs more, and fail; one that acts otherwise may reach the goal as well. "
      "What "
      "a policy does in closed loop only a simulator or the robot tells: try it there, with limits on.</li>"
      "<li>Prompts of held-out runs are of tasks that were trained on; those of held-out tasks are not. The "
      "second "
      "kind is what a new task is like, if it is like these.</li>"
      "<li><em>Nearest by action</em> is looked up among the training’s policies; <em>cloned</em> sees the "
      "prompt "
      "alone; <em>own policy</em> is the held-out run’s own that acts most like the prompt, where the data "
      "set has "
      "it: about as little as can be expected. Where look-up or cloning err as little as generated policies, "
      "there "
      "is no need of a generator.</li>"
      "<li>Of ",
      report.prompts.size(),
      " prompts a median is uncertain, and another draw of what is held out (--seed) gives other "
      "numbers.</li>"
      "</ul></section>");
}

std::string trust(const Prompts& all) {
  Index finite = 0, novel = 0, judged = 0;
  double exceeding = 0;
  for (const auto* prompt : all) {
    if (std::isfinite(prompt->novelty)) {
      finite += 1;
      novel += prompt->novelty > 1 ? 1 : 0;
    }
    if (prompt->exceeding) {
      judged += 1;
      exceeding += *prompt->exceeding;
    }
  }
  std::string text = "<section><h2>Does the generator know when it errs?</h2><div class=\"grid two\">";
  if (finite > 0) {
    text += concatenate(
        "<figure>",
        scatter(
            all, "Novelty of prompts and error", "novelty of the prompt", "error of generated policies",
            [](const PromptReport& prompt) -> std::optional<std::pair<double, double>> {
              return std::isfinite(prompt.novelty)
                         ? std::optional(std::pair(prompt.novelty, *prompt.errors[0]))
                         : std::nullopt;
            },
            false),
        "<figcaption>", novel, " of ", finite,
        " prompts are unlike those of training (novelty above 1, the line). If errors grow to its right, "
        "refuse such "
        "prompts, or record data like them. Orange: held-out tasks.</figcaption></figure>");
  }
  if (judged > 0) {
    text += concatenate("<figure>",
                        scatter(
                            all, "Predicted and found error", "predicted (Generator::uncertainty)", "found",
                            [](const PromptReport& prompt) -> std::optional<std::pair<double, double>> {
                              return prompt.predicted
                                         ? std::optional(std::pair(*prompt.predicted, *prompt.found))
                                         : std::nullopt;
                            },
                            true),
                        "<figcaption>Before squashing. ", percent(exceeding / static_cast<double>(judged)),
                        " of the errors exceed two predicted deviations; 5&#8239;% would if predictions were "
                        "right and errors "
                        "normal. Above the line it is too sure of itself.</figcaption></figure>");
  }
  return text + "</div></section>";
}

std::string all_prompts(const FitReport& report) {
  std::string head = "<tr><th>task</th><th>run</th><th>steps compared</th><th>novelty</th>", rows;
  for (const auto& method : report.methods) {
    head += "<th>" + escape(method) + "</th>";
  }
  head += "<th>beyond two deviations</th></tr>";
  for (const auto& prompt : report.prompts) {
    rows += concatenate("<tr><th scope=\"row\">", escape(prompt.task),
                        prompt.unseen_task ? " <span class=\"chip unseen\">held-out task</span>" : "",
                        "</th><td>", prompt.run, "</td><td>", prompt.steps, "</td><td>",
                        std::isfinite(prompt.novelty) ? number(prompt.novelty) : "–", "</td>");
    for (const auto& error : prompt.errors) {
      rows += "<td>" + (error ? number(*error) : "–") + "</td>";
    }
    rows += "<td>" + (prompt.exceeding ? percent(*prompt.exceeding) : "–") + "</td></tr>";
  }
  return "<section><h2>All prompts</h2><div class=\"wide\"><table id=\"prompts\"><thead>" + head +
         "</thead><tbody>" + rows + "</tbody></table></div></section>";
}

std::string facts(const FitReport& report) {
  const auto pair = [](const char* name, const std::string& value) {
    return concatenate("<dt>", name, "</dt><dd>", value, "</dd>");
  };
  std::string tasks;
  for (const auto& task : report.held_out_tasks) {
    tasks += (tasks.empty() ? "" : ", ") + escape(task);
  }
  return concatenate(
      "<section><h2>How it was measured</h2><dl>", pair("data set", escape(report.dataset.string())),
      pair("generator",
           escape(report.generator.string()) +
               ": trained without what was held out. Fitted again without --report it learns from all."),
      pair("trained on", concatenate(report.trained_policies, " policies, ", report.trained_trajectories,
                                     " trajectories, ", report.trained_tasks, " tasks")),
      pair("held out",
           concatenate(percent(report.share), " of the tasks (",
                       tasks.empty() ? "none: less than four" : tasks, ") and of the other tasks’ runs, ",
                       report.held_out_runs, " runs in all",
                       report.unusable_runs == 0
                           ? std::string()
                           : concatenate("; ", report.unusable_runs,
                                         " of them have less than two trajectories and were not used"))),
      pair("seed", concatenate(report.seed)), pair("maa", std::string(library_version)), "</dl></section>");
}

}  // namespace

namespace detail {

ActionUnits::ActionUnits(std::span<const Trajectory> trajectories) {
  const auto entries = static_cast<std::size_t>(trajectories.empty() ? 0 : trajectories[0].action_size());
  mean_.resize(entries);
  deviation_.resize(entries);
  double count = 0;
  const auto add_all = [&](const auto& add) {
    for (const auto& trajectory : trajectories) {
      const auto actions = wanted_actions(trajectory);
      for (Index t = 0; t < actions.rows; ++t) {
        for (std::size_t j = 0; j < entries; ++j) {
          add(j, static_cast<double>(actions(t, static_cast<Index>(j))));
        }
      }
    }
  };
  for (const auto& trajectory : trajectories) {
    count += static_cast<double>(trajectory.length());
  }
  add_all([&](std::size_t j, double a) { mean_[j] += a / count; });
  add_all([&](std::size_t j, double a) { deviation_[j] += (a - mean_[j]) * (a - mean_[j]) / count; });
  for (auto& deviation : deviation_) {
    deviation = deviation < 1e-12 ? 0 : std::sqrt(deviation);
  }
}

void ActionUnits::add(MatrixView<const float> found, MatrixView<const float> wanted, double& sum,
                      double& count) const {
  for (Index t = 0; t < wanted.rows; ++t) {
    for (Index j = 0; j < wanted.cols; ++j) {
      if (counts(j)) {
        const double error = (static_cast<double>(found(t, j)) - static_cast<double>(wanted(t, j))) /
                             deviation_[static_cast<std::size_t>(j)];
        sum += error * error;
        count += 1;
      }
    }
  }
}

}  // namespace detail

HeldOut hold_out(const Dataset& data, double share, std::uint64_t seed) {
  require(share > 0 && share < 1, "report: expected a share to hold out between 0 and 1, found ", share);
  HeldOut result;
  std::vector<std::string> order = data.tasks;
  std::set<std::string> tasks;
  if (order.size() >= 4) {
    Rng(seed).fork(0x7461736b).shuffle(std::span(order));
    const auto count = std::clamp<std::size_t>(
        static_cast<std::size_t>(std::lround(share * static_cast<double>(order.size()))), 1,
        order.size() - 2);
    tasks.insert(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(count));
  }
  result.tasks.assign(tasks.begin(), tasks.end());

  std::vector<std::string> names;
  for (const auto& task : data.tasks) {
    if (!tasks.contains(task)) {
      names.push_back(task);
    }
  }
  auto& training = result.training =
      Dataset(data.observation_size, data.action_size, data.parameter_count, std::move(names));
  training.provenance = data.provenance;
  training.interface = data.interface;
  training.policy_shape = data.policy_shape;
  const auto split = data.split_by_run(share, seed);
  std::map<std::pair<std::string, std::int64_t>, HeldOutPrompt> runs;
  const auto run_of = [&](const std::string& task, std::int64_t run) -> HeldOutPrompt& {
    auto& of = runs[{task, run}];
    of.task = task;
    of.run = run;
    of.unseen_task = tasks.contains(task);
    return of;
  };
  const auto place = [&](const RunSplit::Side& side, bool held) {
    for (const Index i : side.policies) {
      const auto& record = data.policies[static_cast<std::size_t>(i)];
      const auto& task = data.tasks[static_cast<std::size_t>(record.task)];
      if (held || tasks.contains(task)) {
        run_of(task, record.run).own.push_back(i);
      } else {
        training.add_policy({training.task_index(task), record.run, record.step},
                            data.weight_matrix().row_span(i));
      }
    }
    for (const Index i : side.trajectories) {
      const auto& trajectory = data.trajectories[static_cast<std::size_t>(i)];
      if (held || tasks.contains(trajectory.task)) {
        run_of(trajectory.task, trajectory.run).others.push_back(trajectory);
      } else {
        training.add_trajectory(trajectory);
      }
    }
  };
  place(split.train, false);
  place(split.validation, true);

  std::map<bool, std::size_t> taken;
  for (auto& [key, run] : runs) {
    result.runs += 1;
    const auto first =
        std::ranges::find_if(run.others, [](const Trajectory& t) { return t.length() >= shortest_prompt; });
    if (first == run.others.end() || run.others.size() < 2) {
      result.unusable += 1;
    } else if (taken[run.unseen_task]++ < most_prompts) {
      run.prompt = std::move(*first);
      run.others.erase(first);
      run.others.resize(std::min(run.others.size(), most_others));
      result.prompts.push_back(std::move(run));
    }
  }
  require(
      !result.prompts.empty(), "report: expected held-out runs of at least two trajectories, found ",
      result.runs,
      " held-out runs without: it takes several runs of a task, or more tasks, and several trajectories of "
      "each run (a negative run is none)");
  require(!training.trajectories.empty(), "report: expected trajectories that are not held out, found none");
  return result;
}

std::string page_of(const FitReport& report) {
  Prompts all, runs, tasks;
  for (const auto& prompt : report.prompts) {
    all.push_back(&prompt);
    (prompt.unseen_task ? tasks : runs).push_back(&prompt);
  }
  return concatenate(
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><title>maa: report of a fit</title><style>",
      report_style, "</style></head><body><main>", headline(all), meaning(report),
      group(report, runs, "Held-out runs",
            "Other runs of these tasks were trained on; of these runs nothing was."),
      group(report, tasks, "Held-out tasks", "Nothing of these tasks was trained on."), trust(all),
      all_prompts(report), facts(report), "</main></body></html>\n");
}

}  // namespace maa::examples

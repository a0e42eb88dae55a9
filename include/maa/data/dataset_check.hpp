// Whether the policies of a data set do what its trajectories show. What is wrong with one of them (the order
// of the weights, the policy's type, units, names) would train unnoticed.
#pragma once

#include <maa/backend/cpu/backend.hpp>
#include <maa/backend/mlp_layout.hpp>
#include <maa/data/dataset.hpp>
#include <maa/models/mlp_network.hpp>

#include <limits>

#if MAA_BODIES
#include <maa/backend/cpu/policy_batch.hpp>
#include <maa/data/normalizer.hpp>

#include <charconv>
#endif

MAA_NAMESPACE_BEGIN

// Errors are means over steps and entries of an action, of the square; `variance` is that of the best
// constant action on the same steps.
struct ActionError {
  Index steps = 0;   // compared
  double error = 0;  // mean square
  double variance = 0;

  // 0: exact, 1: as good as a constant.
  double relative() const {
    return error == 0 ? 0 : variance > 0 ? error / variance : std::numeric_limits<double>::infinity();
  }
};

// A policy on its trajectories: those of its task and run, and those of its task that belong to no run (a
// negative one). No steps: there are none.
struct PolicyCheck : ActionError {
  Index task = 0;
  std::int64_t run = 0;
};

// A trajectory, on all of its steps (of a longer one the first 2,048), and the policy of its task, and run if
// it has one, with the least error (`best`; -1 without any).
struct TrajectoryCheck : ActionError {
  Index best = -1;
  // `best` if its actions are the trajectory's, -1 otherwise. They are if
  // - the relative error is below 1e-3; or,
  // - where `actions` may hold exploration noise (no target_actions), it is at most .5 and what is left is
  // white
  //   noise: of at least 60 entries, each dimension's mean is within 3 standard errors of 0, and neither the
  //   correlation of successive steps nor that with the policy's own actions is beyond 2.5 standard errors or
  //   .2. Entries that may be clipped, of actions within 3 deviations of the noise of the data's largest and
  //   least, are left out. Noise before a tanh squash counts, too.
  // Actions that hardly vary (variance below 1e-6) have no maker: they do not tell policies apart.
  Index maker = -1;
};

// What check() found.
struct DatasetCheck {
  std::vector<PolicyCheck> policies;          // in the order of the data set
  std::vector<TrajectoryCheck> trajectories;  // the same
  // Of each trajectory's best policy; the constant is that of its task.
  ActionError best;
  // False if one of these holds:
  // - best.relative() is above .5 and most policies are worse than a constant, unless what is left is noise;
  // - the same weights read otherwise (other activations or squash, another order, normalised observations,
  //   another action box) reproduce the trajectories clearly better;
  // - the policies of another task than a task's own reproduce its trajectories clearly better;
  // - actions are out of the squash's range, and not by noise.
  // Clearly better: with less than a quarter of the error, at most .25 of a constant's; or with less than
  // nine tenths of it, and noise is left where before it was none. Noise: successive steps are not
  // correlated.
  bool plausible = true;
  std::string summary;  // what does not fit, with figures and likely causes, and what was compared
};

namespace detail {
// Of a data set as its networks see it; `interface`: by which it was brought there.
DatasetCheck check_dataset(const Dataset& dataset, const MlpLayout& layout, Squash squash,
                           const PolicyInterface& interface, const cpu::Backend& backend);
}  // namespace detail

// Compares target_actions, or actions where there are none, with what policies of type Policy do. Unsquashed
// policies are clipped to the range of the data's actions, as environments do. Some steps of each trajectory
// are taken for each policy, fewer where there are many pairs: a few seconds for 1,500 policies and 1,000
// trajectories. Does not depend on threads. Error for a data set that is invalid or of other sizes than
// Policy.
template <class Policy>
DatasetCheck check(const Dataset& dataset, const cpu::Backend& backend = cpu::Backend()) {
  using Network = typename Policy::Network;
  dataset.validate();
  dataset.require_type<Network>("check");
  return detail::check_dataset(dataset.interface.transforms() ? dataset.inside() : dataset, Network::layout(),
                               Network::squash, dataset.interface, backend);
}

#if MAA_BODIES
namespace detail {

inline std::string rounded(double value) {
  char digits[32];
  return {digits, std::to_chars(digits, digits + sizeof digits, value, std::chars_format::general, 2).ptr};
}
inline double squared(double value) {
  return value * value;
}
inline double share_of(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

// One way to read a policy's numbers and what it sees.
struct PolicyReading {
  enum class Order { usual, reversed, transposed };
  enum class Seen { raw, normalized_by_data, normalized_by_task };

  std::string text;
  MlpLayout layout;
  Squash squash = Squash::none;
  Order order = Order::usual;
  Seen seen = Seen::raw;
};

class DatasetChecker {
 public:
  DatasetChecker(const Dataset& data, const MlpLayout& layout, Squash squash,
                 const PolicyInterface& interface, const cpu::Backend& backend)
      : data_(data),
        interface_(interface),
        backend_(backend),
        declared_{"", layout, squash},
        actions_(data.action_size),
        tasks_(data.tasks.size()),
        low_(static_cast<std::size_t>(actions_), std::numeric_limits<float>::max()),
        high_(static_cast<std::size_t>(actions_), std::numeric_limits<float>::lowest()) {
    for (Index t = 0; t < count(data.trajectories); ++t) {
      const Index task = data.task_index(trajectory(t).task);
      task_of_.push_back(task);
      tasks_[at(task)].trajectories.push_back(t);
      for (Index step = 0; step < trajectory(t).length(); ++step) {
        for (Index j = 0; j < actions_; ++j) {
          low_[at(j)] = std::min(low_[at(j)], labels(t)(step, j));
          high_[at(j)] = std::max(high_[at(j)], labels(t)(step, j));
        }
      }
    }
    for (Index p = 0; p < data.policy_count(); ++p) {
      tasks_[at(data.policies[at(p)].task)].policies.push_back(p);
    }
    // Runs that name nobody tell nothing: then a task's policies are all compared.
    by_run_ = std::ranges::any_of(tasks_, [&](const Task& task) {
      return std::ranges::any_of(task.trajectories, [&](Index t) {
        return std::ranges::any_of(task.policies, [&](Index p) { return belongs(p, t); });
      });
    });
    for (auto& task : tasks_) {
      measure_constant(task);
    }
    multiplications_ = layout.mean.in * layout.mean.out;
    for (const auto& layer : layout.hidden) {
      multiplications_ += layer.in * layer.out;
    }
  }

  DatasetCheck run() {
    result_.policies.resize(data_.policies.size());
    result_.trajectories.resize(data_.trajectories.size());
    screen();
    compare_best();
    judge();
    return std::move(result_);
  }

 private:
  struct Task {
    std::vector<Index> policies;
    std::vector<Index> trajectories;
    double variance = 0;  // of its actions
    ActionError best;
  };
  // Where the residuals of a trajectory's best policy are correlated in time.
  struct Residuals {
    double squares = 0;
    double products = 0;  // of successive steps
  };
  using Candidates = std::vector<std::pair<double, Index>>;  // error, policy

  static constexpr float range = 1.001f;  // of tanh, but for rounding

  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }
  template <class T>
  static Index count(const std::vector<T>& values) {
    return static_cast<Index>(values.size());
  }
  // Element `i` of `of` spread evenly over `size`.
  static Index spread(Index i, Index of, Index size) { return of >= size ? i : i * size / of; }

  const Trajectory& trajectory(Index t) const { return data_.trajectories[at(t)]; }
  MatrixView<const float> labels(Index t) const {
    return trajectory(t).has_target_actions() ? trajectory(t).target_actions() : trajectory(t).actions();
  }
  bool belongs(Index policy, Index t) const {
    return !by_run_ || trajectory(t).run < 0 || trajectory(t).run == data_.policies[at(policy)].run;
  }

  void measure_constant(Task& task) const {
    std::vector<double> sum(at(actions_)), squares(at(actions_));
    Index steps = 0;
    for (const Index t : task.trajectories) {
      steps += trajectory(t).length();
      add_moments(labels(t), sum, squares);
    }
    task.variance = variance(sum, squares, steps);
  }
  static void add_moments(MatrixView<const float> rows, std::vector<double>& sum,
                          std::vector<double>& squares) {
    for (Index i = 0; i < rows.rows; ++i) {
      for (Index j = 0; j < rows.cols; ++j) {
        sum[at(j)] += static_cast<double>(rows(i, j));
        squares[at(j)] += squared(static_cast<double>(rows(i, j)));
      }
    }
  }
  static double variance(const std::vector<double>& sum, const std::vector<double>& squares, Index steps) {
    double total = 0;
    for (std::size_t j = 0; j < sum.size() && steps > 0; ++j) {
      const auto n = static_cast<double>(steps);
      total += std::max(0.0, squares[j] / n - squared(sum[j] / n)) / static_cast<double>(sum.size());
    }
    return total;
  }

  // Some of a trajectory's steps: its first; or spread evenly, one by one or in pairs of successive ones.
  enum class Steps { first, spread, pairs };
  void take(Index t, Steps which, MatrixView<float> observations, MatrixView<float> wanted) const {
    const Index steps = observations.rows, length = trajectory(t).length();
    for (Index i = 0; i < steps; ++i) {
      const Index step = which == Steps::first    ? i
                         : which == Steps::spread ? spread(i, steps, length)
                                                  : 2 * spread(i / 2, steps / 2, length / 2) + i % 2;
      std::copy_n(trajectory(t).observations().row(step), observations.cols, observations.row(i));
      std::copy_n(labels(t).row(step), actions_, wanted.row(i));
    }
  }
  // What a policy does: rows [steps, O] -> [steps, A].
  void act(const PolicyReading& reading, const float* weights, MatrixView<const float> observations,
           MatrixView<float> actions) const {
    policy_batch_infer(backend_, reading.layout,
                       MatrixView<const float>(weights, 1, reading.layout.parameter_count),
                       PolicyObservations<float>(observations),
                       SequenceView<float>(actions.data, 1, actions.rows, actions.cols));
    if (reading.squash == Squash::tanh) {
      backend_.kernels().activation_forward(Activation::tanh, actions.data, actions.data, actions.size());
      return;
    }
    for (Index i = 0; i < actions.rows; ++i) {
      for (Index j = 0; j < actions_; ++j) {
        actions(i, j) = std::clamp(actions(i, j), low_[at(j)], high_[at(j)]);
      }
    }
  }
  // Sum over rows, mean over entries.
  static double error_sum(MatrixView<const float> done, MatrixView<const float> wanted) {
    double sum = 0;
    for (Index i = 0; i < done.rows; ++i) {
      for (Index j = 0; j < done.cols; ++j) {
        sum += squared(static_cast<double>(done(i, j)) - static_cast<double>(wanted(i, j)));
      }
    }
    return sum / static_cast<double>(done.cols);
  }

  // Every policy on some steps of every trajectory of its own; the best few of each trajectory are its
  // candidates.
  void screen() {
    Index pairs = 0;
    for (const auto& task : tasks_) {
      pairs += count(task.policies) * count(task.trajectories);
    }
    constexpr std::int64_t budget = 20'000'000'000;  // multiplications
    const Index each = static_cast<Index>(std::clamp<std::int64_t>(
        budget / std::max<std::int64_t>(1, std::int64_t{pairs} * multiplications_), 2, 32));
    std::vector<std::vector<double>> errors(data_.policies.size());
    backend_.pool().for_each(data_.policy_count(), [&](Index p) { errors[at(p)] = screen(p, each); });
    candidates_.resize(data_.trajectories.size());
    for (const auto& task : tasks_) {
      for (const Index p : task.policies) {
        for (std::size_t i = 0; i < task.trajectories.size(); ++i) {
          if (belongs(p, task.trajectories[i])) {
            offer(candidates_[at(task.trajectories[i])], {errors[at(p)][i], p}, 16);
          }
        }
      }
    }
  }
  // Errors by the task's trajectories.
  std::vector<double> screen(Index p, Index each) {
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    constexpr Index most = 1024;  // rows at once
    const auto observations = scratch.matrix<float>(most, data_.observation_size);
    const auto wanted = scratch.matrix<float>(most, actions_);
    const auto done = scratch.matrix<float>(most, actions_);
    auto& check = result_.policies[at(p)];
    check.task = data_.policies[at(p)].task;
    check.run = data_.policies[at(p)].run;
    const auto& trajectories = tasks_[at(check.task)].trajectories;
    std::vector<double> errors(trajectories.size()), sum(at(actions_)), squares(at(actions_));
    std::vector<std::pair<std::size_t, Index>> taken;  // trajectory, steps
    Index rows = 0;
    const auto compare = [&] {
      act(declared_, data_.weight_matrix().row(p), observations.row_range(0, rows), done.row_range(0, rows));
      Index first = 0;
      for (const auto& [i, steps] : taken) {
        const double error = error_sum(done.row_range(first, steps), wanted.row_range(first, steps));
        errors[i] = error / static_cast<double>(steps);
        check.error += error;
        first += steps;
      }
      add_moments(wanted.row_range(0, rows), sum, squares);
      check.steps += rows;
      rows = 0;
      taken.clear();
    };
    for (std::size_t i = 0; i < trajectories.size(); ++i) {
      const Index t = trajectories[i];
      if (!belongs(p, t)) {
        continue;
      }
      const Index steps = std::min(each, trajectory(t).length());
      take(t, Steps::spread, observations.row_range(rows, steps), wanted.row_range(rows, steps));
      taken.emplace_back(i, steps);
      rows += steps;
      if (rows + each > most) {
        compare();
      }
    }
    if (rows > 0) {
      compare();
    }
    check.error /= static_cast<double>(std::max<Index>(1, check.steps));
    check.variance = variance(sum, squares, check.steps);
    return errors;
  }
  static void offer(Candidates& candidates, std::pair<double, Index> one, std::size_t most) {
    candidates.insert(std::upper_bound(candidates.begin(), candidates.end(), one), one);
    if (candidates.size() > most) {
      candidates.pop_back();
    }
  }

  // The best of each trajectory's candidates on all of its steps.
  void compare_best() {
    residuals_.resize(data_.trajectories.size());
    backend_.pool().for_each(count(data_.trajectories), [&](Index t) { compare_best(t); });
    for (auto& task : tasks_) {
      for (const Index t : task.trajectories) {
        const auto& check = result_.trajectories[at(t)];
        if (check.best >= 0) {
          task.best.steps += check.steps;
          task.best.error += check.error * static_cast<double>(check.steps);
          result_.best.variance += task.variance * static_cast<double>(check.steps);
          all_.squares += residuals_[at(t)].squares;
          all_.products += residuals_[at(t)].products;
        }
      }
      result_.best.steps += task.best.steps;
      result_.best.error += task.best.error;
      task.best.error = share_of(task.best.error, static_cast<double>(task.best.steps));
      task.best.variance = task.variance;
    }
    const auto steps = static_cast<double>(result_.best.steps);
    result_.best.error = share_of(result_.best.error, steps);
    result_.best.variance = share_of(result_.best.variance, steps);
  }
  void compare_best(Index t) {
    auto candidates = candidates_[at(t)];
    auto& check = result_.trajectories[at(t)];
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const auto rank = [&](Index steps, Steps which, std::size_t kept) {
      const Workspace::Scope rows(scratch);
      const auto observations = scratch.matrix<float>(steps, data_.observation_size);
      const auto wanted = scratch.matrix<float>(steps, actions_);
      const auto done = scratch.matrix<float>(steps, actions_);
      take(t, which, observations, wanted);
      Candidates ranked;
      for (const auto& candidate : candidates) {
        act(declared_, data_.weight_matrix().row(candidate.second), observations, done);
        offer(ranked, {error_sum(done, wanted) / static_cast<double>(steps), candidate.second}, kept);
      }
      candidates = std::move(ranked);
      if (kept == 1 && !candidates.empty()) {
        check.best = candidates.front().second;
        check.error = candidates.front().first;
        act(declared_, data_.weight_matrix().row(check.best), observations, done);
        measure_residuals(done, wanted, residuals_[at(t)]);
        if (makes(check, done, wanted, trajectory(t).has_target_actions())) {
          check.maker = check.best;
        }
      }
    };
    check.steps = std::min<Index>(trajectory(t).length(), 2048);
    std::vector<double> sum(at(actions_)), squares(at(actions_));
    add_moments(labels(t).row_range(0, check.steps), sum, squares);
    check.variance = variance(sum, squares, check.steps);
    if (candidates.size() > 2) {
      rank(std::min<Index>(check.steps, 32), Steps::spread, 2);
    }
    rank(check.steps, Steps::first, 1);
  }
  void measure_residuals(MatrixView<const float> done, MatrixView<const float> wanted,
                         Residuals& result) const {
    for (Index j = 0; j < actions_; ++j) {
      double before = 0;
      for (Index i = 0; i < done.rows; ++i) {
        const double now = static_cast<double>(wanted(i, j)) - static_cast<double>(done(i, j));
        result.squares += now * now;
        result.products += now * before;
        before = now;
      }
    }
  }

  bool makes(const ActionError& check, MatrixView<const float> done, MatrixView<const float> wanted,
             bool noiseless) const {
    if (check.variance < 1e-6 || check.relative() > 0.5) {
      return false;
    }
    if (check.relative() < 1e-3) {
      return true;
    }
    if (noiseless) {
      return false;
    }
    return white(done, wanted, false) || (declared_.squash == Squash::tanh && white(done, wanted, true));
  }
  // Whether wanted - done is white noise (TrajectoryCheck), between the squashed actions or before the
  // squash.
  bool white(MatrixView<const float> done, MatrixView<const float> wanted, bool unsquashed) const {
    constexpr double edge = 0.9999;
    const auto value = [&](float x) {
      const auto action = static_cast<double>(x);
      return unsquashed ? std::atanh(std::clamp(action, -edge, edge)) : action;
    };
    const auto limit = [&](float x) {
      return unsquashed ? std::atanh(x > 0 ? edge : -edge) : static_cast<double>(x);
    };
    const auto rows = at(done.rows);
    double entries = 0, pairs = 0, products = 0, squares = 0, crossed = 0, own = 0;
    for (Index j = 0; j < actions_; ++j) {
      std::vector<double> residual(rows), action(rows);
      double deviation = 0;
      for (std::size_t i = 0; i < rows; ++i) {
        action[i] = value(done(static_cast<Index>(i), j));
        residual[i] = value(wanted(static_cast<Index>(i), j)) - action[i];
        deviation += squared(residual[i]) / static_cast<double>(rows);
      }
      deviation = std::sqrt(deviation);
      const double low = limit(unsquashed ? -1.0f : low_[at(j)]) + 3 * deviation;
      const double high = limit(unsquashed ? 1.0f : high_[at(j)]) - 3 * deviation;
      const auto kept = [&](std::size_t i) { return action[i] >= low && action[i] <= high; };
      double n = 0, mean = 0, mean_action = 0, spread_of = 0;
      for (std::size_t i = 0; i < rows; ++i) {
        if (kept(i)) {
          n += 1;
          mean += residual[i];
          mean_action += action[i];
        }
      }
      mean = share_of(mean, n);
      mean_action = share_of(mean_action, n);
      for (std::size_t i = 0; i < rows; ++i) {
        if (!kept(i)) {
          continue;
        }
        const double here = residual[i] - mean;
        spread_of += here * here;
        crossed += here * (action[i] - mean_action);
        own += squared(action[i] - mean_action);
        if (i > 0 && kept(i - 1)) {
          products += here * (residual[i - 1] - mean);
          pairs += 1;
        }
      }
      if (n > 0 && squared(mean) > 9 * spread_of / (n * n)) {
        return false;
      }
      entries += n;
      squares += spread_of;
    }
    const auto small = [](double correlation, double n) {
      return std::abs(correlation) <= std::min(0.2, 2.5 / std::sqrt(n));
    };
    return entries >= 60 && pairs >= 30 && squares > 0 &&
           small(products / squares * entries / pairs, pairs) &&
           small(share_of(crossed, std::sqrt(own * squares)), entries);
  }

  // A sample of pairs by which ways to read the policies are compared.
  struct Sample {
    struct One {
      Index trajectory = 0;
      std::vector<Index> policies;
    };
    std::vector<One> all;
    Index steps = 24;
  };
  Sample sample(Index readings) const {
    std::vector<Index> judged;
    for (Index t = 0; t < count(data_.trajectories); ++t) {
      if (result_.trajectories[at(t)].best >= 0) {
        judged.push_back(t);
      }
    }
    Sample result;
    const Index taken = std::min<Index>(16, count(judged));
    constexpr std::int64_t budget = 20'000'000'000;  // multiplications
    const Index most = static_cast<Index>(std::clamp<std::int64_t>(
        budget / std::max<std::int64_t>(1, std::int64_t{readings} * taken * result.steps * multiplications_),
        4, 48));
    for (Index i = 0; i < taken; ++i) {
      Sample::One one{judged[at(spread(i, taken, count(judged)))], {}};
      std::vector<Index> own;
      for (const Index p : tasks_[at(task_of_[at(one.trajectory)])].policies) {
        if (belongs(p, one.trajectory)) {
          own.push_back(p);
        }
      }
      const Index some = std::min(most, count(own));
      for (Index k = 0; k < some; ++k) {
        one.policies.push_back(own[at(spread(k, some, count(own)))]);
      }
      one.policies.push_back(result_.trajectories[at(one.trajectory)].best);
      result.all.push_back(std::move(one));
    }
    return result;
  }

  // Calls body(what the policy did, what was wanted, trajectory) for each pair of a trajectory of the sample.
  template <class Body>
  void for_pairs(const PolicyReading& reading, const Sample& sample, const Sample::One& one,
                 const Body& body) const {
    auto& scratch = thread_scratch();
    const Workspace::Scope scope(scratch);
    const Index steps = std::min(sample.steps, trajectory(one.trajectory).length());
    const auto observations = scratch.matrix<float>(steps, data_.observation_size);
    const auto wanted = scratch.matrix<float>(steps, actions_);
    const auto done = scratch.matrix<float>(steps, actions_);
    const auto weights = scratch.span<float>(data_.parameter_count);
    take(one.trajectory, Steps::pairs, observations, wanted);
    if (reading.seen != PolicyReading::Seen::raw) {
      const auto task = at(task_of_[at(one.trajectory)]);
      (reading.seen == PolicyReading::Seen::normalized_by_data ? normalizers_.back() : normalizers_[task])
          .apply(observations);
    }
    for (const Index p : one.policies) {
      write_weights(reading, p, weights);
      act(reading, weights.data(), observations, done);
      body(MatrixView<const float>(done), MatrixView<const float>(wanted));
    }
  }
  void write_weights(const PolicyReading& reading, Index p, std::span<float> to) const {
    const auto from = data_.weight_matrix().row_span(p);
    std::copy(from.begin(), from.end(), to.begin());
    if (reading.order == PolicyReading::Order::reversed) {
      std::reverse(to.begin(), to.end());
    } else if (reading.order == PolicyReading::Order::transposed) {
      const auto transpose = [&](const MlpLayout::Linear& layer) {
        for (Index i = 0; i < layer.in; ++i) {
          for (Index o = 0; o < layer.out; ++o) {
            to[at(layer.weight_offset + o * layer.in + i)] =
                from[at(layer.weight_offset + i * layer.out + o)];
          }
        }
      };
      std::ranges::for_each(reading.layout.hidden, transpose);
      transpose(reading.layout.mean);
    }
  }
  // How well the best policies of the sample do.
  struct Fit {
    double error = std::numeric_limits<double>::infinity();  // relative to the tasks' constants
    double correlation = 0;                                  // of what is left at successive steps
  };
  static bool clearly_better(const Fit& fit, const Fit& than) {
    return fit.error < std::min(0.25 * than.error, 0.25) ||
           (fit.error < 0.9 * than.error && fit.correlation < 0.15 && than.correlation > 0.3);
  }
  Fit fit(const PolicyReading& reading, const Sample& sample) const {
    double error = 0, variance = 0;
    Residuals left;
    for (const auto& one : sample.all) {
      double least = std::numeric_limits<double>::infinity();
      Residuals own;
      Index steps = 0;
      for_pairs(reading, sample, one, [&](MatrixView<const float> done, MatrixView<const float> wanted) {
        const double sum = error_sum(done, wanted);
        steps = done.rows;
        if (sum < least) {
          least = sum;
          own = {};
          for (Index i = 0; i + 1 < steps; i += 2) {
            measure_residuals(done.row_range(i, 2), wanted.row_range(i, 2), own);
          }
        }
      });
      error += least;
      variance += static_cast<double>(steps) * tasks_[at(task_of_[at(one.trajectory)])].variance;
      left.squares += own.squares;
      left.products += own.products;
    }
    return {share_of(error, variance), share_of(2 * left.products, left.squares)};
  }

  std::vector<PolicyReading> other_readings() const {
    std::vector<PolicyReading> readings;
    const auto add = [&](std::string text, auto change) {
      auto reading = declared_;
      change(reading);
      reading.text = std::move(text);
      readings.push_back(std::move(reading));
    };
    const auto activations = [](const MlpLayout& layout) {
      std::string text = "[";
      for (const auto& layer : layout.hidden) {
        text += concatenate(text.size() > 1 ? ", " : "",
                            names_of(layer.activation)[static_cast<std::size_t>(layer.activation)]);
      }
      return text + "]";
    };
    const auto own = activations(declared_.layout);
    const auto names = names_of(Squash());
    for (const auto squash : {declared_.squash, Squash::tanh, Squash::none}) {
      const auto suffix = squash == declared_.squash
                              ? std::string()
                              : concatenate(" squash ", names[static_cast<std::size_t>(squash)]);
      if (squash == declared_.squash && !readings.empty()) {
        continue;
      }
      const auto with = [&](const MlpLayout& layout) {
        const auto text = activations(layout);
        if (text != own || !suffix.empty()) {
          add(text == own ? "with" + suffix
                          : concatenate("with activations ", text, " in place of ", own,
                                        suffix.empty() ? "" : " and", suffix),
              [&](PolicyReading& reading) {
                reading.layout = layout;
                reading.squash = squash;
              });
        }
      };
      with(declared_.layout);
      for (const auto activation :
           {Activation::relu, Activation::elu, Activation::gelu, Activation::mish, Activation::tanh}) {
        auto every = declared_.layout;
        for (auto& layer : every.hidden) {
          layer.activation = activation;
        }
        with(every);
        for (std::size_t i = 0; i < every.hidden.size() && every.hidden.size() > 1; ++i) {
          auto one = declared_.layout;
          one.hidden[i].activation = activation;
          with(one);
        }
      }
    }
    using Order = PolicyReading::Order;
    using Seen = PolicyReading::Seen;
    add("with the weights in reverse order", [](auto& reading) { reading.order = Order::reversed; });
    add("with matrices as [in, out] in place of [out, in]",
        [](auto& reading) { reading.order = Order::transposed; });
    add("with each bias before its weight", [](auto& reading) {
      const auto exchange = [](MlpLayout::Linear& layer) {
        layer.bias_offset = layer.weight_offset;
        layer.weight_offset += layer.out;
      };
      std::ranges::for_each(reading.layout.hidden, exchange);
      exchange(reading.layout.mean);
    });
    if (declared_.layout.log_std) {
      add("with the log_std head before the mean head",
          [](auto& reading) { reading.layout.mean = *reading.layout.log_std; });
    }
    add("with observations normalised by their mean and deviation",
        [](auto& reading) { reading.seen = Seen::normalized_by_data; });
    if (tasks_.size() > 1) {
      add("with observations normalised by each task's mean and deviation",
          [](auto& reading) { reading.seen = Seen::normalized_by_task; });
    }
    return readings;
  }
  // By task, and of all.
  void fit_normalizers() {
    const auto fit = [&](const auto& wanted) {
      Index steps = 0;
      for (Index t = 0; t < count(data_.trajectories); ++t) {
        steps += wanted(t) ? trajectory(t).length() : 0;
      }
      Buffer<float> rows(steps * data_.observation_size);
      float* next = rows.data();
      for (Index t = 0; t < count(data_.trajectories); ++t) {
        if (wanted(t)) {
          next = std::copy_n(trajectory(t).observations().data, trajectory(t).observations().size(), next);
        }
      }
      normalizers_.push_back(Normalizer::standard(
          MatrixView<const float>(rows.data(), steps, data_.observation_size), 1e-6, 1e-6));
    };
    for (Index task = 0; task < count(tasks_); ++task) {
      fit([&](Index t) { return task_of_[at(t)] == task; });
    }
    fit([](Index) { return true; });
  }

  // The action box that the sample's actions would be in: those of the policies that correlate best, scaled.
  struct Box {
    std::vector<double> centre, half_width;
    double error = 0;  // relative to the tasks' constants
  };
  Box fit_box(const Sample& sample) const {
    struct Sums {
      double n = 0, x = 0, y = 0, xx = 0, xy = 0, yy = 0;
      void add(const Sums& other) {
        n += other.n, x += other.x, y += other.y, xx += other.xx, xy += other.xy, yy += other.yy;
      }
      double slope() const { return share_of(xy - x * y / n, xx - x * x / n); }
      double left() const { return std::max(0.0, yy - y * y / n - slope() * (xy - x * y / n)); }
    };
    std::vector<Sums> total(at(actions_));
    double variance = 0;
    for (const auto& one : sample.all) {
      std::vector<Sums> best;
      double least = std::numeric_limits<double>::infinity();
      for_pairs(declared_, sample, one, [&](MatrixView<const float> done, MatrixView<const float> wanted) {
        std::vector<Sums> sums(at(actions_));
        double left = 0;
        for (Index j = 0; j < actions_; ++j) {
          for (Index i = 0; i < done.rows; ++i) {
            const auto x = static_cast<double>(done(i, j)), y = static_cast<double>(wanted(i, j));
            sums[at(j)].add({1, x, y, x * x, x * y, y * y});
          }
          left += sums[at(j)].left();
        }
        if (left < least) {
          least = left;
          best = std::move(sums);
        }
      });
      for (std::size_t j = 0; j < best.size(); ++j) {
        total[j].add(best[j]);
      }
      variance += best.empty() ? 0 : best[0].n * tasks_[at(task_of_[at(one.trajectory)])].variance;
    }
    Box box;
    for (const auto& sums : total) {
      box.half_width.push_back(sums.slope());
      const double centre = share_of(sums.y - sums.slope() * sums.x, sums.n);
      box.centre.push_back(std::abs(centre) < 1e-3 ? 0 : centre);
      box.error += sums.left() / static_cast<double>(actions_);
    }
    box.error = share_of(box.error, variance);
    return box;
  }

  void judge() {
    const double found = result_.best.relative();
    const bool noise = all_.products < 0.3 * all_.squares && found < 0.95;
    std::vector<double> relative;
    Index worse = 0, first_worse = -1, alone = 0;
    for (Index p = 0; p < data_.policy_count(); ++p) {
      const auto& policy = result_.policies[at(p)];
      if (policy.steps == 0) {
        ++alone;
        continue;
      }
      relative.push_back(policy.relative());
      if (relative.back() > 1) {
        first_worse = worse++ == 0 ? p : first_worse;
      }
    }
    if (relative.empty()) {
      add(concatenate("none of ", data_.policy_count(), " policies has trajectories of its task"));
      return;
    }
    if (!by_run_) {
      add("no trajectory has the run of a policy of its task, so that all policies of the task are compared");
    }
    const bool nothing_fits = found > 0.5 && !noise && 2 * worse > count(relative);
    if (worse > 0) {
      const auto& policy = result_.policies[at(first_worse)];
      add(concatenate(worse, " of ", relative.size(),
                      " policies do not reproduce the actions of their trajectories; first: policy ",
                      first_worse, " (task ", quote(data_.tasks[at(policy.task)]), ", run ", policy.run,
                      "): mean squared error ", rounded(policy.error), " over ", policy.steps,
                      " steps, a constant action has ", rounded(policy.variance)));
    }
    if (alone > 0) {
      add(concatenate(alone, " of ", data_.policy_count(),
                      " policies have no trajectories of their task and run"));
    }
    check_range(noise);
    constexpr double exact = 1e-3;  // nothing better is looked for
    bool explained = check_names(exact);
    if (found > exact) {
      fit_normalizers();
      explained |= check_readings(nothing_fits);
    }
    if (nothing_fits) {
      result_.plausible = false;
      if (!explained) {
        add(concatenate(
            "likely causes: weights flattened in another order, other activations or another squash "
            "than the type's, observations or actions in other units than the policies'",
            looks_normalized() ? " (the observations look normalised)" : ""));
      }
    }
    const auto made = std::ranges::count_if(result_.trajectories, [](const auto& t) { return t.maker >= 0; });
    std::ranges::nth_element(relative, relative.begin() + count(relative) / 2);
    add(concatenate("compared: ", relative.size(), " policies, median error ",
                    rounded(relative[relative.size() / 2]), " of a constant action's; ",
                    data_.trajectories.size(), " trajectories, each by its best policy ", rounded(found),
                    ", ", made, " with a maker"));
  }
  void add(const std::string& text) { result_.summary += (result_.summary.empty() ? "" : "; ") + text; }
  void refuse(const std::string& text) {
    result_.plausible = false;
    add(text);
  }

  // Actions that the squash cannot give.
  void check_range(bool noise) {
    if (declared_.squash != Squash::tanh) {
      return;
    }
    Index outside = 0, first = -1;
    float value = 0;
    bool by_noise = noise;
    for (Index t = 0; t < count(data_.trajectories); ++t) {
      float largest = 0;
      for (const float action : labels(t).span()) {
        largest = std::abs(action) > std::abs(largest) ? action : largest;
      }
      if (std::abs(largest) > range && outside++ == 0) {
        first = t;
        value = largest;
      }
      by_noise = by_noise && !(std::abs(largest) > range && trajectory(t).has_target_actions());
    }
    if (outside > 0) {
      const auto text = concatenate(outside, " of ", data_.trajectories.size(),
                                    " trajectories hold actions outside of [-1, 1], but "
                                    "the policy squashes with tanh; first: trajectory ",
                                    first, " holds an action of ", rounded(static_cast<double>(value)));
      by_noise ? add(text) : refuse(text);
    }
  }

  // Tasks whose trajectories the policies of another task reproduce. Returns whether there are any.
  bool check_names(double exact) {
    struct Found {
      Index other = -1;
      Fit own, fit;
    };
    std::vector<Found> all(tasks_.size());
    const auto tasks = count(tasks_);
    constexpr std::int64_t budget = 20'000'000'000;  // multiplications
    constexpr Index most_trajectories = 6, steps = 16;
    const Index policies = static_cast<Index>(std::clamp<std::int64_t>(
        budget / std::max<std::int64_t>(
                     1, std::int64_t{tasks} * tasks * most_trajectories * steps * multiplications_),
        2, 12));
    backend_.pool().for_each(tasks, [&](Index task) {
      const auto& judged = tasks_[at(task)];
      if (judged.best.steps > 0 && judged.best.relative() > exact) {
        auto& found = all[at(task)];
        Sample own{{}, steps};
        const Index taken = std::min(most_trajectories, count(judged.trajectories));
        for (Index i = 0; i < taken; ++i) {
          const Index t = judged.trajectories[at(spread(i, taken, count(judged.trajectories)))];
          if (result_.trajectories[at(t)].best >= 0) {
            own.all.push_back({t, {result_.trajectories[at(t)].best}});
          }
        }
        found.own = fit(declared_, own);
        for (Index other = 0; other < tasks; ++other) {
          const auto& from = tasks_[at(other)].policies;
          if (other == task || from.empty()) {
            continue;
          }
          const Index some = std::min(policies, count(from));
          auto theirs = own;
          for (auto& one : theirs.all) {
            one.policies.clear();
            for (Index k = 0; k < some; ++k) {
              one.policies.push_back(from[at(count(from) - 1 - spread(k, some, count(from)))]);
            }
          }
          const auto other_fit = fit(declared_, theirs);
          if (other_fit.error < found.fit.error) {
            found.fit = other_fit;
            found.other = other;
          }
        }
      }
    });
    bool any = false;
    for (std::size_t task = 0; task < tasks_.size(); ++task) {
      const auto& found = all[task];
      if (found.other >= 0 && clearly_better(found.fit, found.own)) {
        any = true;
        refuse(concatenate("the policies of task ", quote(data_.tasks[at(found.other)]),
                           " reproduce the trajectories of task ", quote(data_.tasks[task]), " (error ",
                           rounded(found.fit.error), " of a constant action's), but its own do not (",
                           rounded(found.own.error), "): misnamed tasks?"));
      }
    }
    return any;
  }

  // Other ways to read the policies, if they fit clearly better. Returns whether one does.
  bool check_readings(bool nothing_fits) {
    const auto readings = other_readings();
    const auto pairs = sample(count(readings));
    std::vector<Fit> fits(readings.size());
    backend_.pool().for_each(count(readings), [&](Index i) { fits[at(i)] = fit(readings[at(i)], pairs); });
    const auto own = fit(declared_, pairs);
    const auto best = std::ranges::min_element(fits, {}, &Fit::error) - fits.begin();
    auto text = readings[at(best)].text;
    double error = fits[at(best)].error;
    bool better = clearly_better(fits[at(best)], own);
    if (declared_.squash == Squash::tanh) {
      const auto box = fit_box(pairs);
      const auto [narrowest, widest] = std::ranges::minmax(box.half_width);
      const bool outside =
          *std::ranges::max_element(high_) > range || *std::ranges::min_element(low_) < -range;
      if (box.error < error && narrowest > 0 && (outside ? widest > 1.25 : widest < 0.75)) {
        error = box.error;
        better = clearly_better({error, 1}, own) || (outside && error < 0.9 * own.error);
        const bool scaled = interface_.scales_actions();
        const double centre = scaled ? static_cast<double>(interface_.action_centre[0]) : 0;
        const double half_width = scaled ? static_cast<double>(interface_.action_half_width[0]) : 1;
        text = concatenate("with actions in another box (of the first entry: some ",
                           rounded(centre + half_width * box.centre[0]), " +- ",
                           rounded(half_width * box.half_width[0]), ")");
      }
    }
    if (!better && !(nothing_fits && error < 0.5 * own.error)) {
      return false;
    }
    const auto figures = concatenate(" (error ", rounded(error), " of a constant action's in place of ",
                                     rounded(own.error), ")");
    if (better) {
      refuse(concatenate(text, ", the same policies reproduce the trajectories", figures));
    } else {
      add(concatenate("nearest: ", text, figures));
    }
    return better;
  }
  bool looks_normalized() const {
    const auto& normalizer = normalizers_.back();
    Index near = 0;
    for (Index j = 0; j < normalizer.features(); ++j) {
      near += std::abs(normalizer.offset[j]) < 0.5f && normalizer.scale[j] > 0.5f && normalizer.scale[j] < 2;
    }
    return 5 * near >= 4 * normalizer.features();
  }

  const Dataset& data_;
  const PolicyInterface& interface_;
  const cpu::Backend& backend_;
  PolicyReading declared_;
  Index actions_ = 0;
  bool by_run_ = true;
  std::vector<Task> tasks_;
  std::vector<Index> task_of_;     // of trajectories
  std::vector<float> low_, high_;  // of the compared actions
  Index multiplications_ = 0;      // of a policy and an observation
  std::vector<Candidates> candidates_;
  std::vector<Residuals> residuals_;
  Residuals all_;
  std::vector<Normalizer> normalizers_;
  DatasetCheck result_;
};

MAA_COLD MAA_INLINE DatasetCheck check_dataset(const Dataset& dataset, const MlpLayout& layout, Squash squash,
                                               const PolicyInterface& interface,
                                               const cpu::Backend& backend) {
  if (dataset.policy_count() == 0) {
    DatasetCheck nothing;
    nothing.trajectories.resize(dataset.trajectories.size());
    nothing.summary = "no policies to compare";
    return nothing;
  }
  return DatasetChecker(dataset, layout, squash, interface, backend).run();
}

}  // namespace detail
#endif

MAA_NAMESPACE_END

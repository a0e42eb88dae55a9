#include "demonstrators.hpp"

#include "data.hpp"
#include "episodes.hpp"
#include "interface.hpp"
#include "learned.hpp"

namespace maa::examples::study {
namespace {

constexpr std::int64_t everyone = -1;  // nobody tells the expert's runs apart

class ScriptedDemonstrators final : public Demonstrators {
 public:
  ScriptedDemonstrators(const Options& options, Simulator& simulator, std::filesystem::path collected)
      : options_(options), simulator_(simulator), collected_(std::move(collected)) {}

  std::string name() const override { return "expert"; }
  std::string prompts() const override {
    return "demonstrations of a scripted expert with action noise, on placements never trained on";
  }

  void collect(const std::filesystem::path& folder, TrainingLog&) override {
    study::collect(options_, simulator_, folder).save(collected_);
  }
  Dataset zoo(TrainingLog& log) override {
    auto dataset = Dataset::load(collected_);
    add_zoo(options_, simulator_.interface().policy, dataset, log);
    return dataset;
  }

  std::vector<Reported> reported() const override {
    std::vector<Reported> result;
    for (const auto& task : options_.tasks.seen) {
      result.push_back({task, Split::seen, {everyone}});
    }
    for (const auto& task : options_.tasks.unseen) {
      result.push_back({task, Split::unseen, {everyone}});
    }
    return result;
  }
  bool may_fail() const override { return false; }

  Demonstration demonstrate(const std::string& task, std::int64_t, Index number) const override {
    const ExpertEpisodes prompts{"test prompts",
                                 Purpose::test_prompts,
                                 0,
                                 options_.evaluation.prompt_noise,
                                 0,
                                 options_.evaluation.prompt_seed};
    return {expert_episode(options_, simulator_, task, prompts, number),
            episode_placement(options_, simulator_, task, prompts, number)};
  }
  Controller controller(Environment& environment, std::int64_t) const override {
    return expert_of(environment);
  }

 private:
  const Options& options_;
  Simulator& simulator_;
  std::filesystem::path collected_;
};

}  // namespace

std::vector<Split> splits_of(const std::vector<Reported>& reported) {
  std::vector<Split> result;
  for (const auto split : {Split::seen, Split::new_run, Split::unseen}) {
    if (std::ranges::find(reported, split, &Reported::split) != reported.end()) {
      result.push_back(split);
    }
  }
  return result;
}

const char* title_of(Split split) {
  constexpr const char* titles[] = {"seen tasks", "runs not in the zoo", "unseen tasks"};
  return titles[static_cast<std::size_t>(split)];
}

std::unique_ptr<Demonstrators> make_demonstrators(const Options& options, Simulator& simulator,
                                                  std::filesystem::path collected) {
  if (options.learned) {
    return make_learned_demonstrators(options, simulator, std::move(collected));
  }
  return std::make_unique<ScriptedDemonstrators>(options, simulator, std::move(collected));
}

}  // namespace maa::examples::study

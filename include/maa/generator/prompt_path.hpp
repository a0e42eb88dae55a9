// The one path from prompts to what models read of them: demonstrations -> features and support sets (on the
// host), features -> conditions, and back.
#pragma once

#include <maa/data/trajectory.hpp>
#include <maa/generator/state.hpp>

MAA_NAMESPACE_BEGIN
namespace detail {

// The embedder's inputs for demonstrations, [demonstrations * segments, ...].
template <class T>
struct PromptFeatures {
  MatrixView<T> trajectory;
  MatrixView<T> success;
};

// The observation-action pairs that heads are fitted to, [prompts, rows, ...]: those of each of a
// prompt's demonstrations, followed by their corrective copies if there are such. Observations are
// normalised.
struct SupportSet {
  SequenceView<float> observations;
  SequenceView<float> actions;
  Index demonstrations = 1;  // per prompt
  bool corrective = false;   // the second half of each demonstration's rows are copies of the first
  Index density = 1;         // rows in place of each that training fits heads to
};

template <class Network, class Config>
class PromptPath {
 public:
  using State = GeneratorState<Network, Config>;
  using Model = typename State::Model;
  using Embedder = typename Model::EmbedderModel;
  static constexpr Index segments = Config::prompt.segments;

  // `state` must outlive it.
  explicit PromptPath(const State& state) : state_(state) {}

  static PromptFeatures<float> allocate_features(Index demonstrations, Workspace& workspace) {
    return {workspace.matrix<float>(demonstrations * segments, Embedder::Phi::in),
            workspace.matrix<float>(demonstrations * segments, Embedder::Psi::in)};
  }
  // Writes the features of the `at`-th demonstration.
  void write_features(const Trajectory& demonstration, Index at,
                      const PromptFeatures<float>& features) const {
    const auto& encoder = state_.prompt_encoder;
    encoder.write_trajectory(demonstration, features.trajectory.row_range(at * segments, segments));
    encoder.write_success(demonstration, features.success.row_range(at * segments, segments));
  }

  SupportSet allocate_support(Index prompts, Index demonstrations, Index density,
                              Workspace& workspace) const {
    const bool corrective = !state_.settings.corrective.empty();
    const Index rows = demonstrations * density * Config::prompt.pairs() * (corrective ? 2 : 1);
    return {workspace.sequence<float>(prompts, rows, Network::observation_size),
            workspace.sequence<float>(prompts, rows, Network::action_size), demonstrations, corrective,
            density};
  }
  // Writes the rows of the `at`-th demonstration, counted over all prompts. `displacements`: of its
  // corrective copies.
  void write_support(const Trajectory& demonstration, Index at, const Rng& displacements,
                     const SupportSet& support) const {
    const Index pairs = support.density * Config::prompt.pairs();
    const Index first = at * pairs * (support.corrective ? 2 : 1);
    const auto rows = [&](SequenceView<float> of, Index from) { return of.flat().row_range(from, pairs); };
    const auto seen = rows(support.observations, first);
    const auto done = rows(support.actions, first);
    if (support.density == 1) {  // those that the features show
      state_.prompt_encoder.write_pairs(demonstration, seen, done);
    } else {
      state_.prompt_encoder.write_spread_pairs(demonstration, seen, done);
    }
    if (support.corrective) {
      const auto displaced = rows(support.observations, first + pairs);
      state_.settings.corrective.write(displacements, seen, done, displaced,
                                       rows(support.actions, first + pairs));
      state_.standardizer.observations().apply(displaced);
    }
    state_.standardizer.observations().apply(seen);
  }

  // Conditions [prompts, condition_size] and what backward needs. Features [prompts * demonstrations *
  // segments,
  // ...] lie where ops can read them; a prompt's condition is the mean of its demonstrations'.
  template <class Real>
  struct Saved {
    typename Embedder::template Saved<Real> embedded;
    MatrixView<Real> condition;
  };
  template <class Backend, class Real>
  Saved<Real> forward(const Backend& backend, const typename Embedder::template Weights<const Real>& w,
                      const PromptFeatures<const Real>& features, Index prompts,
                      WorkspaceOf<Backend>& workspace) const {
    Saved<Real> saved{Embedder::forward(backend, w, features.trajectory, features.success, workspace),
                      workspace.template matrix<Real>(prompts, Model::condition_size)};
    const auto each =
        workspace.template matrix<Real>(features.trajectory.rows / segments, Model::condition_size);
    for_parts(
        saved.embedded.h(), saved.embedded.v(), each,
        [&](MatrixView<Real> embedding, MatrixView<Real> part) { copy_matrix(backend, embedding, part); });
    const auto& map = state_.condition;
    standardize_columns(backend, map.offset.span(), map.scale.span(), each);
    mean_of_groups(backend, each, saved.condition);
    return saved;
  }
  // dcondition [prompts, condition_size] -> the embedder's gradients, which accumulate.
  template <class Backend, class Real>
  void backward(const Backend& backend, const typename Embedder::template Weights<const Real>& w,
                const Saved<Real>& saved, MatrixView<const Real> dcondition,
                const typename Embedder::template Weights<Real>& gradients,
                WorkspaceOf<Backend>& workspace) const {
    const Index windows = saved.embedded.h().rows;
    const auto deach = workspace.template matrix<Real>(windows / segments, Model::condition_size);
    const auto dh = workspace.template matrix<Real>(windows, Config::embedding_size);
    const auto dv = workspace.template matrix<Real>(windows, Config::embedding_size);
    mean_of_groups_backward(backend, dcondition, deach);
    scale_columns(backend, state_.condition.scale.span(), deach);
    fill_zero(backend, dh);
    fill_zero(backend, dv);
    for_parts(dh, dv, deach, [&](MatrixView<Real> embedding, MatrixView<Real> part) {
      copy_matrix(backend, part, embedding);
    });
    Embedder::backward(backend, w, saved.embedded, MatrixView<const Real>(dh), MatrixView<const Real>(dv),
                       gradients, workspace);
  }

 private:
  // Calls body(embeddings of all demonstrations, their columns in the conditions) for h and v and every
  // segment.
  template <class Real, class Body>
  static void for_parts(MatrixView<Real> h, MatrixView<Real> v, MatrixView<Real> conditions,
                        const Body& body) {
    constexpr Index size = Config::embedding_size;
    Index column = 0;
    for (Index segment = 0; segment < segments; ++segment) {
      const auto add = [&](MatrixView<Real> all) {
        body(MatrixView<Real>(all.row(segment), conditions.rows, size, segments * all.stride),
             conditions.col_range(column, size));
        column += size;
      };
      if constexpr (Config::condition != ConditionParts::v) {
        add(h);
      }
      if constexpr (Config::condition != ConditionParts::h) {
        add(v);
      }
    }
  }

  const State& state_;
};

// Features where ops can read them.
template <class Backend>
auto uploaded_features(const Backend& backend, const PromptFeatures<float>& features,
                       WorkspaceOf<Backend>& workspace) {
  using Real = typename Backend::template Element<float>;
  const auto matrix = [&](MatrixView<const float> from) {
    return MatrixView<const Real>(uploaded(backend, from, workspace));
  };
  return PromptFeatures<const Real>{matrix(features.trajectory), matrix(features.success)};
}

}  // namespace detail
MAA_NAMESPACE_END

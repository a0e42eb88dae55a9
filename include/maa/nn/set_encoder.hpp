// An encoder of sets (Zaheer et al., NeurIPS 2017): one network for all elements, pooling, one network for
// the summary. What order there is, elements learn from their phase.
#pragma once

#include <maa/nn/sequential.hpp>

#include <cstdint>

MAA_NAMESPACE_BEGIN

inline constexpr Index phase_numbers = 4;  // numbers that tell an element its position

// Rows [batch, Count * features] are sets of Count elements. Element sees the features of one, then its
// phase: t, t^2, sin 3t, cos 6t for its position t in [0, 1]. Means and maxima of Element's outputs over the
// set are Summary's input. Element and Summary have the form of Sequential, and so has this.
template <Index Count, class Element, class Summary>
struct SetEncoder {
  static constexpr Index phases = phase_numbers;
  static constexpr Index features = Element::in - phases;
  static constexpr Index in = Count * features;
  static constexpr Index out = Summary::out;
  static_assert(Count > 0 && features > 0);
  static_assert(Summary::in == 2 * Element::out);

  template <class T>
  struct Weights {
    typename Element::template Weights<T> element;
    typename Summary::template Weights<T> summary;
  };
  template <class T>
  struct Saved {
    typename Element::template Saved<T> element;       // rows: sample by sample, element by element
    MatrixView<in_memory_of<T, std::int32_t>> argmax;  // [batch, Element::out]
    typename Summary::template Saved<T> summary;

    MatrixView<T> output() const { return summary.output(); }
  };

  template <class Visitor, class... W>
  static constexpr void describe(Visitor& visit, W&... w) {
    visit.template child<Element>("element", w.element...);
    visit.template child<Summary>("summary", w.summary...);
  }

  // x [batch, in]; the result lies in `workspace`.
  template <class Backend, class T>
  static Saved<T> forward(const Backend& backend, const Weights<const T>& w, MatrixView<const T> x,
                          WorkspaceOf<Backend>& workspace) {
    require_shape(x, x.rows, in, "set encoder input");
    const auto elements = workspace.template matrix<T>(x.rows * Count, Element::in);
    for (Index i = 0; i < Count; ++i) {
      const auto rows = at_position(elements, i);
      copy_matrix(backend, x.col_range(i * features, features), rows.col_range(0, features));
    }
    set_phases(backend, Count, elements.col_range(features, phases));
    Saved<T> saved;
    saved.element = Element::forward(backend, w.element, MatrixView<const T>(elements), workspace);
    saved.argmax = workspace.template matrix<in_memory_of<T, std::int32_t>>(x.rows, Element::out);
    const auto pooled = workspace.template matrix<T>(x.rows, Summary::in);
    mean_max_pool_forward(backend,
                          SequenceView<const T>(saved.element.output().data, x.rows, Count, Element::out),
                          pooled, saved.argmax);
    saved.summary = Summary::forward(backend, w.summary, MatrixView<const T>(pooled), workspace);
    return saved;
  }

  // dy [batch, out]; dx [batch, in] is overwritten if it has data. Scratch is given back.
  template <class Backend, class T>
  static void backward(const Backend& backend, const Weights<const T>& w, const Saved<T>& saved,
                       MatrixView<const T> dy, const Weights<T>& gradients, MatrixView<T> dx,
                       WorkspaceOf<Backend>& workspace) {
    const auto scope = workspace.scope();
    const auto dpooled = workspace.template matrix<T>(dy.rows, Summary::in);
    Summary::backward(backend, w.summary, saved.summary, dy, gradients.summary, dpooled, workspace);
    const auto dencoded = workspace.template sequence<T>(dy.rows, Count, Element::out);
    mean_max_pool_backward(backend, dpooled, saved.argmax, dencoded);
    const auto delements =
        dx.data == nullptr ? MatrixView<T>() : workspace.template matrix<T>(dy.rows * Count, Element::in);
    Element::backward(backend, w.element, saved.element, MatrixView<const T>(dencoded.flat()),
                      gradients.element, delements, workspace);
    if (dx.data != nullptr) {
      for (Index i = 0; i < Count; ++i) {
        copy_matrix(backend, at_position(delements, i).col_range(0, features),
                    dx.col_range(i * features, features));
      }
    }
  }

 private:
  // The i-th elements of all samples.
  template <class T>
  static MatrixView<T> at_position(MatrixView<T> elements, Index i) {
    return {elements.row(i), elements.rows / Count, elements.cols, Count * elements.stride};
  }
};

MAA_NAMESPACE_END

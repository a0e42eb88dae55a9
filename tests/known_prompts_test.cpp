// Which prompts are like those trained on.
#include <doctest/doctest.h>

#include <maa/core/rng.hpp>
#include <maa/generator/known_prompts.hpp>

namespace {

using namespace maa;

constexpr double infinite = std::numeric_limits<double>::infinity();

Buffer<float> numbers(std::initializer_list<float> values) {
  return Buffer<float>(std::span(values.begin(), values.size()));
}

double novelty(const KnownPrompts& known, std::initializer_list<float> condition) {
  return known.novelty({condition.begin(), condition.size()});
}

}  // namespace

TEST_CASE("the radius is what nine of ten known prompts have to their nearest") {
  // On a line, 1 to 10 apart in turn: the nearest of the i-th is i to its left, of the first 1 to its right.
  Buffer<float> line(2 * 11);
  for (Index i = 1; i <= 10; ++i) {
    line[2 * i] = line[2 * (i - 1)] + static_cast<float>(i);
  }
  const KnownPrompts known(line, 2);
  CHECK(known.radius() == 9.0f);  // of 1, 1, 2, ..., 10 all but the largest are within it
  CHECK(novelty(known, {0, 0}) == 0);
  CHECK(novelty(known, {0, -9}) == doctest::Approx(1));
  CHECK(novelty(known, {55, 18}) == doctest::Approx(2));
  CHECK(novelty(known, {7, 3}) == doctest::Approx(std::sqrt(1.0 + 9) / 9));  // 6 is the nearest
}

TEST_CASE("without known prompts, or with equal ones, all are new") {
  CHECK(novelty(KnownPrompts(), {1, 2}) == infinite);
  CHECK(novelty(KnownPrompts(numbers({1, 2}), 2), {1, 2}) == infinite);  // a single one has no neighbour
  CHECK(novelty(KnownPrompts(numbers({1, 2, 1, 2, 1, 2}), 2), {1, 2}) == infinite);
}

TEST_CASE("of very many prompts some are kept, spread over all") {
  constexpr Index count = 5000;
  Buffer<float> many(count);
  for (Index i = 0; i < count; ++i) {
    many[i] = static_cast<float>(i);
  }
  const KnownPrompts known(many, 1);
  const Index kept = known.conditions().size();
  CHECK(kept == 2048);
  CHECK(known.conditions()[0] == 0);
  CHECK(known.conditions()[kept - 1] > 4990);
  CHECK(known.radius() == 2);  // every second or third is kept
}

TEST_CASE("what is saved is the same again") {
  Buffer<float> conditions(40);
  Rng(5).fill_normal(conditions.span());
  const KnownPrompts known(conditions, 4);
  const KnownPrompts again(known.conditions(), 4, known.radius());
  CHECK(novelty(again, {0, 1, 2, 3}) == novelty(known, {0, 1, 2, 3}));
}

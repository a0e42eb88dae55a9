// The curves of a training as files that others draw.
#pragma once

#include <fstream>

#include <maa/train/trainer.hpp>

namespace maa::examples {

// A scalar at a step of a named curve, in TensorBoard's format: a folder of event files, one more for each
// object, which it shows together.
class EventFile {
 public:
  explicit EventFile(const std::filesystem::path& folder);
  void add(const std::string& tag, Index step, double value);

 private:
  void record(std::string_view event);

  std::ofstream file_;
};

// One line per step: stage, step, loss, the loss on held-out data where it was measured, learning rate, norm
// of the gradient. `file`, if not empty: .jsonl, or else CSV; of a training that `goes_on` after the
// line before its first step, or else written anew; an Error if it holds anything but curves. `folder`,
// if not empty: the same for TensorBoard, each number as STAGE/NAME. Error if either cannot be written.
class TrainingCurves {
 public:
  TrainingCurves(const std::filesystem::path& file, const std::filesystem::path& folder, bool goes_on);
  void write(const TrainProgress& now);

 private:
  std::filesystem::path path_;
  std::ofstream lines_;
  bool json_ = false;
  enum class Begin { anew, goes_on, begun };
  Begin begin_ = Begin::anew;  // what becomes of that which the file holds, with the first step
  std::optional<EventFile> events_;
};

}  // namespace maa::examples

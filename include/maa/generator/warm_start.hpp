// Another generator to begin training from, in place of random numbers.
#pragma once

#include <maa/core/describe.hpp>
#include <maa/io/parameters.hpp>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

MAA_NAMESPACE_BEGIN

// What Generator::fit begins with: tensors that have the name and the shape of one of the start's are copied,
// the others are random. Between policy types of other sizes these are, with one configuration, the denoiser,
// the inner layers of the embeddings and, of equal last hidden layers, the head's prior. Normalisers are
// those of the new data.
struct WarmStart {
  // Of what was copied, the tensors whose names begin with one of these, "denoiser." or "embedder.phi", are
  // trained with `rate` times the learning rate; none: all that was copied.
  std::vector<std::string> slow = {};
  double rate = 1;  // 0: they stay as they are

  // None.
  WarmStart() = default;
  // A trained generator of any type; Error if it is not trained. Copies its numbers.
  template <class GeneratorT>
  requires requires { typename GeneratorT::Model; }
  explicit WarmStart(const GeneratorT& generator)
      : tensors_(tensors_of<typename GeneratorT::Model>()),
        numbers_(std::make_shared<const Buffer<float>>(generator.state().parameters)) {}
  // A generator that Generator::save wrote, of any type. Error, which names the file, if it is none.
  static WarmStart load(const std::filesystem::path& path);

  bool empty() const { return numbers_ == nullptr && reader_ == nullptr; }
  // Copies to parameters that `tensors` describes, and says to which of these. Error if an entry of `slow`
  // fits no tensor that was copied, for a rate outside [0, 1], and if nothing was copied.
  std::vector<bool> copy_to(const std::vector<TensorInfo>& tensors, std::span<float> parameters) const;
  // "80 of 90 tensors, 400000 of 600000 numbers: denoiser 58 of 58, ...".
  std::string summary(const std::vector<TensorInfo>& tensors, const std::vector<bool>& copied) const;
  // The rate of each of the tensors.
  std::vector<double> rates(const std::vector<TensorInfo>& tensors, const std::vector<bool>& copied) const;

 private:
  bool is_slow(const TensorInfo& tensor) const;

  std::vector<TensorInfo> tensors_;
  std::shared_ptr<const Buffer<float>> numbers_;
  std::shared_ptr<const SafetensorsReader> reader_;  // of a file, in place of these
};

#if MAA_BODIES

MAA_COLD MAA_INLINE WarmStart WarmStart::load(const std::filesystem::path& path) {
  WarmStart start;
  start.reader_ = std::make_shared<const SafetensorsReader>(path);
  start.reader_->require_format("maa generator 1");
  return start;
}

MAA_COLD MAA_INLINE bool WarmStart::is_slow(const TensorInfo& tensor) const {
  return slow.empty() ||
         std::ranges::any_of(slow, [&](const std::string& name) { return tensor.name.starts_with(name); });
}

MAA_COLD MAA_INLINE std::vector<bool> WarmStart::copy_to(const std::vector<TensorInfo>& tensors,
                                                         std::span<float> parameters) const {
  require(share().allows(rate), "start: expected a rate ", share().text(), ", found ", rate);
  std::vector<bool> copied(tensors.size());
  std::vector<TensorInfo> of_file;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& tensor = tensors[i];
    if (reader_ != nullptr) {
      if (reader_->contains(tensor.name) && reader_->info(tensor.name).shape == tensor.shape) {
        of_file.push_back(tensor);
        copied[i] = true;
      }
      continue;
    }
    const auto from = std::ranges::find_if(tensors_, [&](const TensorInfo& other) {
      return other.name == tensor.name && other.shape == tensor.shape;
    });
    if (from != tensors_.end()) {
      std::copy_n(numbers_->data() + from->offset, from->size, parameters.begin() + tensor.offset);
      copied[i] = true;
    }
  }
  if (reader_ != nullptr) {
    read_parameters(*reader_, of_file, parameters);
  }
  require(std::ranges::find(copied, true) != copied.end(),
          "start: expected a generator with tensors of this one's names and shapes, found none in common");
  for (const auto& name : slow) {
    bool found = false;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      found = found || (copied[i] && tensors[i].name.starts_with(name));
    }
    require(found, "start: expected the beginning of a copied tensor's name, found ", detail::quote(name));
  }
  return copied;
}

MAA_COLD MAA_INLINE std::string WarmStart::summary(const std::vector<TensorInfo>& tensors,
                                                   const std::vector<bool>& copied) const {
  struct Count {
    Index copied = 0, all = 0;
  };
  std::map<std::string, Count> parts;
  Count counted, numbers;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    auto& part = parts[tensors[i].name.substr(0, tensors[i].name.find('.'))];
    for (auto [count, by] :
         {std::pair(&part, Index{1}), std::pair(&counted, Index{1}), std::pair(&numbers, tensors[i].size)}) {
      count->all += by;
      count->copied += copied[i] ? by : 0;
    }
  }
  auto text = concatenate(counted.copied, " of ", counted.all, " tensors, ", numbers.copied, " of ",
                          numbers.all, " numbers");
  for (const auto& [name, part] : parts) {
    text +=
        concatenate(&part == &parts.begin()->second ? ": " : ", ", name, " ", part.copied, " of ", part.all);
  }
  return text;
}

MAA_COLD MAA_INLINE std::vector<double> WarmStart::rates(const std::vector<TensorInfo>& tensors,
                                                         const std::vector<bool>& copied) const {
  std::vector<double> result(tensors.size(), 1);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    result[i] = copied[i] && is_slow(tensors[i]) ? rate : 1;
  }
  return result;
}

#endif

MAA_NAMESPACE_END

#include "training_curves.hpp"

#include <unistd.h>

#include <array>
#include <bit>
#include <charconv>
#include <chrono>
#include <cmath>

#include <maa/io/input_file.hpp>

namespace maa::examples {
namespace {

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// Of protocol buffers what an event needs: numbers of a fixed size are little-endian.
template <class T>
void append_fixed(std::string& to, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    to += static_cast<char>(value >> (8 * i) & 0xff);
  }
}
void append_varint(std::string& to, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) {
    to += static_cast<char>(value | 0x80);
  }
  to += static_cast<char>(value);
}
void append_key(std::string& to, unsigned field, unsigned type) {
  append_varint(to, field << 3 | type);
}
void append_text(std::string& to, unsigned field, std::string_view text) {
  append_key(to, field, 2);
  append_varint(to, text.size());
  to += text;
}
// Event: wall_time = 1, step = 2, file_version = 3, summary = 5.
std::string new_event(Index step) {
  std::string event;
  append_key(event, 1, 1);
  append_fixed(event, std::bit_cast<std::uint64_t>(seconds_now()));
  append_key(event, 2, 0);
  append_varint(event, static_cast<std::uint64_t>(step));
  return event;
}

// CRC-32C (Castagnoli), rotated and shifted as TensorFlow's records have it.
std::uint32_t masked_crc(std::string_view bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> result{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      result[i] = i;
      for (int bit = 0; bit < 8; ++bit) {
        result[i] = result[i] >> 1 ^ (result[i] & 1 ? 0x82f63b78u : 0u);
      }
    }
    return result;
  }();
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc = crc >> 8 ^ table[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  }
  return std::rotr(~crc, 15) + 0xa282ead8u;
}

constexpr std::string_view csv_header = "stage,step,loss,validation,learning_rate,gradient_norm\n";
constexpr std::string_view json_start = R"({"stage":")";

// Error that says why: streams leave the reason of the system's last call in errno.
void require_written(const std::ostream& stream, const std::filesystem::path& path) {
  const int code = errno;  // before arguments are made
  require(stream.good(), "cannot write '", path.string(), "': ", maa::detail::errno_text(code));
}

// The stage and the step that a line of either kind begins with.
std::pair<std::string_view, Index> place_of(std::string_view line) {
  const auto after = [&](std::string_view text) {
    line.remove_prefix(std::min(line.size(), line.find(text) + text.size()));
  };
  const bool json = line.starts_with(json_start);
  if (json) {
    line.remove_prefix(json_start.size());
  }
  const auto stage = line.substr(0, line.find_first_of("\","));
  after(json ? R"(","step":)" : ",");
  Index step = -1;
  std::from_chars(line.data(), line.data() + line.size(), step);
  return {stage, step};
}

// Lines from this step on, which a killed training wrote after its checkpoint and which come once more, are
// cut off.
void cut_from(const std::filesystem::path& path, std::string_view stage, Index step) {
  std::ifstream file(path, std::ios::binary);
  std::uintmax_t at = 0;
  for (std::string line; std::getline(file, line); at += line.size() + 1) {
    const auto [found, number] = place_of(line);
    if (found == stage && number >= step) {
      file.close();
      std::filesystem::resize_file(path, at);
      return;
    }
  }
}

// Whether lines can follow what a file has; Error if that are no curves. What a full disk or a killed process
// left of a last line is cut off, or the next would be no line either.
bool has_lines(const std::filesystem::path& path, std::string_view start) {
  std::error_code code;
  if (!std::filesystem::is_regular_file(path, code)) {
    return false;
  }
  const InputFile file(path);
  const auto read = [&](Index begin, Index end) {
    std::string text(static_cast<std::size_t>(end - begin), ' ');
    file.read_at(begin, std::as_writable_bytes(std::span(text)));
    return text;
  };
  const auto beginning = read(0, std::min(file.size(), std::ssize(start)));
  require(start.starts_with(beginning), "cannot write '", path.string(),
          "': expected curves to go on with, or no file, found another");
  constexpr Index block = 4096;
  Index whole = file.size();  // bytes up to the last line's end
  for (std::size_t end = 0; whole > 0 && end == 0;) {
    const Index begin = std::max<Index>(0, whole - block);
    end = read(begin, whole).rfind('\n') + 1;
    whole = begin + static_cast<Index>(end);
  }
  if (whole < file.size()) {
    std::filesystem::resize_file(path, static_cast<std::uintmax_t>(whole));
  }
  return whole > 0;
}

}  // namespace

EventFile::EventFile(const std::filesystem::path& folder) {
  std::error_code code;
  std::filesystem::create_directories(folder, code);
  require(!code, "cannot write '", folder.string(), "': ", maa::detail::errno_text(code.value()));
  // The first number orders the files of a folder; the others keep processes apart that start in one second.
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const auto path = folder / concatenate("events.out.tfevents.", static_cast<std::int64_t>(seconds_now()),
                                         '.', host.data(), '.', ::getpid(), ".maa");
  file_.open(path, std::ios::binary);
  require_written(file_, path);
  auto event = new_event(0);
  // By version 1 what TensorBoard knows of a tag from a step on goes when that step comes again: a killed
  // training repeats what came after its checkpoint. (By version 2 only all tags' together.)
  append_text(event, 3, "brain.Event:1");
  record(event);
}

void EventFile::add(const std::string& tag, Index step, double value) {
  std::string scalar;  // Summary.Value: tag = 1, simple_value = 2
  append_text(scalar, 1, tag);
  append_key(scalar, 2, 5);
  append_fixed(scalar, std::bit_cast<std::uint32_t>(static_cast<float>(value)));
  std::string summary;  // Summary: value = 1
  append_text(summary, 1, scalar);
  auto event = new_event(step);
  append_text(event, 5, summary);
  record(event);
}

// Length, its checksum, the event, its checksum.
void EventFile::record(std::string_view event) {
  std::string length;
  append_fixed(length, static_cast<std::uint64_t>(event.size()));
  std::string whole = length;
  append_fixed(whole, masked_crc(length));
  whole += event;
  append_fixed(whole, masked_crc(event));
  file_.write(whole.data(), std::ssize(whole));
  file_.flush();
  require(file_.good(), "cannot write an event file: ", maa::detail::errno_text(errno));
}

TrainingCurves::TrainingCurves(const std::filesystem::path& file, const std::filesystem::path& folder,
                               bool goes_on)
    : path_(file), json_(file.extension() == ".jsonl") {
  if (!file.empty()) {
    const bool found = has_lines(file, json_ ? json_start : csv_header);
    begin_ = found && goes_on ? Begin::goes_on : Begin::anew;
    lines_.open(file, std::ios::app);
    require_written(lines_, file);
  }
  if (!folder.empty()) {
    events_.emplace(folder);
  }
}

void TrainingCurves::write(const TrainProgress& now) {
  const std::pair<std::string_view, std::optional<double>> numbers[] = {{"loss", now.loss},
                                                                        {"validation", now.validation},
                                                                        {"learning_rate", now.learning_rate},
                                                                        {"gradient_norm", now.gradient_norm}};
  if (lines_.is_open()) {
    if (const auto begin = std::exchange(begin_, Begin::begun); begin == Begin::anew) {
      lines_.close();
      lines_.open(path_, std::ios::trunc);
      lines_ << (json_ ? std::string_view() : csv_header);
    } else if (begin == Begin::goes_on) {
      cut_from(path_, now.stage, now.step);  // lines_ appends
    }
    if (json_) {
      lines_ << json_start << now.stage << R"(","step":)" << now.step;
    } else {
      lines_ << now.stage << ',' << now.step;
    }
    for (const auto& [name, value] : numbers) {
      const bool shown = value && (!json_ || std::isfinite(*value));  // JSON has no NaN
      if (!json_) {
        lines_ << ',';
      } else if (shown) {
        lines_ << ",\"" << name << "\":";
      }
      if (shown) {
        lines_ << *value;
      }
    }
    lines_ << (json_ ? "}\n" : "\n") << std::flush;  // what is lost must be noticed now
    require_written(lines_, path_);
  }
  if (events_) {
    for (const auto& [name, value] : numbers) {
      if (value) {
        events_->add(concatenate(now.stage, '/', name), now.step, *value);
      }
    }
  }
}

}  // namespace maa::examples

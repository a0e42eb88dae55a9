// A safetensors file taken apart, so that one thing in it can be changed and all the rest still fits.
#pragma once

#include <maa/io/safetensors_header.hpp>

#include <cstring>
#include <optional>

namespace fuzz {

struct Parts {
  struct Tensor {
    std::string name;
    maa::Dtype dtype = maa::Dtype::F32;
    std::vector<maa::Index> shape;
    std::string bytes;
  };
  std::map<std::string, std::string> metadata;
  std::vector<Tensor> tensors;

  Tensor& tensor(std::string_view name) {
    for (auto& tensor : tensors) {
      if (tensor.name == name) {
        return tensor;
      }
    }
    maa::fail("fuzz: expected a tensor '", name, "', found none");
  }
};

// Eight bytes of length, the header's text, the data.
inline std::string file_of(const std::string& header, const std::string& data = {}) {
  const std::uint64_t length = header.size();
  std::string result(sizeof length, '\0');
  std::memcpy(result.data(), &length, sizeof length);
  return result + header + data;
}

// None if the file is not one that the reader takes.
inline std::optional<Parts> take_apart(std::string_view file) {
  std::uint64_t length = 0;
  if (file.size() < sizeof length) {
    return std::nullopt;
  }
  std::memcpy(&length, file.data(), sizeof length);
  if (length > file.size() - sizeof length) {
    return std::nullopt;
  }
  const auto data = file.substr(sizeof length + length);
  try {
    const auto header = maa::detail::parse_safetensors_header(file.substr(sizeof length, length),
                                                              static_cast<maa::Index>(data.size()), "input");
    Parts parts{header.metadata, {}};
    for (const auto& tensor : header.tensors) {
      parts.tensors.push_back(
          {tensor.name, tensor.dtype, tensor.shape,
           std::string(data.substr(static_cast<std::size_t>(tensor.begin),
                                   static_cast<std::size_t>(tensor.end - tensor.begin)))});
    }
    return parts;
  } catch (const maa::Error&) {
    return std::nullopt;
  }
}

inline std::string put_together(const Parts& parts) {
  using maa::concatenate;
  using maa::detail::json_text;
  std::string header = "{";
  if (!parts.metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, text] : parts.metadata) {
      header += concatenate(header.back() == '{' ? "" : ",", json_text(key), ":", json_text(text));
    }
    header += "}";
  }
  std::string data;
  for (const auto& tensor : parts.tensors) {
    header += concatenate(header.size() > 1 ? "," : "", json_text(tensor.name), ":{\"dtype\":\"",
                          maa::dtype_info(tensor.dtype).name,
                          "\",\"shape\":", maa::detail::shape_text(tensor.shape), ",\"data_offsets\":[",
                          data.size(), ",", data.size() + tensor.bytes.size(), "]}");
    data += tensor.bytes;
  }
  return file_of(header + "}", data);
}

}  // namespace fuzz

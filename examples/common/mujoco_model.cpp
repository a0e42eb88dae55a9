#include "mujoco_model.hpp"

#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include <maa/core/error.hpp>

namespace maa::examples {
namespace {

// A file that exists in memory only, which is how MuJoCo compiles text. The structure is large in MuJoCo 2.
class MemoryFile {
 public:
  MemoryFile(const char* name, const std::string& text) : files_(std::make_unique<mjVFS>()) {
    mj_defaultVFS(files_.get());
    const auto size = static_cast<int>(text.size());
#if mjVERSION_HEADER >= 300
    const bool added = mj_addBufferVFS(files_.get(), name, text.data(), size) == 0;
#else
    const bool added = mj_makeEmptyFileVFS(files_.get(), name, size) == 0;
    if (added) std::memcpy(files_->filedata[mj_findFileVFS(files_.get(), name)], text.data(), text.size());
#endif
    if (!added) {
      mj_deleteVFS(files_.get());
      maa::fail("MuJoCo did not take a scene of ", size, " bytes");
    }
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() {
    mj_deleteVFS(files_.get());
  }

  const mjVFS* get() const {
    return files_.get();
  }

 private:
  std::unique_ptr<mjVFS> files_;
};

std::shared_ptr<const mjModel> compile(const std::string& document) {
  constexpr const char* name = "scene.xml";
  const MemoryFile file(name, document);
  char message[1000] = "";
  OwnedModel model(mj_loadXML(name, file.get(), message, sizeof message));
  if (!model) maa::fail("MuJoCo ", mj_versionString(), " cannot compile the scene: ", message);
  return model;
}

}  // namespace

std::shared_ptr<const mjModel> shared_model(const std::string& document) {
  // MuJoCo's compiler is not thread-safe, and one copy per document is enough.
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const mjModel>> models;
  const std::lock_guard lock(mutex);
  auto& model = models[document];
  if (!model) model = compile(document);
  return model;
}

}  // namespace maa::examples

#include "mujoco_renderer.hpp"

#include <maa/core/error.hpp>

#ifdef MAA_RENDERING

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include <dlfcn.h>

namespace maa::examples {
namespace {

constexpr Index largest_width = 1280;  // of the scene's off-screen buffer
constexpr Index largest_height = 960;

// The OpenGL libraries are opened at run time, so that a machine without them still builds and runs
// everything else. Their symbols become global because MuJoCo looks its OpenGL functions up that way.
void* open_library(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (void* library = dlopen(name, RTLD_NOW | RTLD_GLOBAL)) return library;
  }
  return nullptr;
}

template <class Function>
bool find_function(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(library, name));
  return function != nullptr;
}

// An OpenGL context without a window, current on the thread between make_current() and release().
class Context {
 public:
  virtual ~Context() = default;
  virtual bool make_current() = 0;
  virtual void release() = 0;
};

// Mesa's software rasteriser, drawing into memory.
class OsMesaContext final : public Context {
 public:
  static std::unique_ptr<Context> open() {
    void* library = open_library({"libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"});
    auto context = std::unique_ptr<OsMesaContext>(new OsMesaContext);
    CreateContext create = nullptr;
    if (!library || !find_function(library, "OSMesaCreateContextExt", create) ||
        !find_function(library, "OSMesaMakeCurrent", context->make_current_) ||
        !find_function(library, "OSMesaDestroyContext", context->destroy_)) {
      return nullptr;
    }
    constexpr unsigned rgba = 0x1908;  // GL_RGBA
    context->handle_ = create(rgba, 24, 8, 0, nullptr);
    if (!context->handle_) return nullptr;
    return context;
  }
  ~OsMesaContext() override {
    if (handle_) destroy_(handle_);
  }
  bool make_current() override {
    constexpr unsigned unsigned_byte = 0x1401;  // GL_UNSIGNED_BYTE
    return make_current_(handle_, buffer_.data(), unsigned_byte, static_cast<int>(largest_width),
                         static_cast<int>(largest_height)) != 0;
  }
  void release() override { make_current_(nullptr, nullptr, 0, 0, 0); }

 private:
  using CreateContext = void* (*)(unsigned, int, int, int, void*);

  OsMesaContext() = default;

  void* handle_ = nullptr;
  unsigned char (*make_current_)(void*, void*, unsigned, int, int) = nullptr;
  void (*destroy_)(void*) = nullptr;
  std::vector<std::uint8_t> buffer_ = std::vector<std::uint8_t>(largest_width * largest_height * 4);
};

// A GPU or Mesa through EGL, without a surface: MuJoCo draws into a buffer of its own.
class EglContext final : public Context {
 public:
  static std::unique_ptr<Context> open() {
    void* library = open_library({"libEGL.so.1", "libEGL.so"});
    auto context = std::unique_ptr<EglContext>(new EglContext);
    if (!library || !context->initialise(library)) return nullptr;
    return context;
  }
  ~EglContext() override {
    if (handle_) destroy_(display_, handle_);
  }
  bool make_current() override { return make_current_(display_, nullptr, nullptr, handle_) != 0; }
  void release() override { make_current_(display_, nullptr, nullptr, nullptr); }

 private:
  EglContext() = default;

  // Constants and types as in the Khronos registry's EGL/egl.h and eglext.h.
  bool initialise(void* library) {
    void* (*get_address)(const char*) = nullptr;
    void* (*get_display)(void*) = nullptr;
    unsigned (*initialise_display)(void*, int*, int*) = nullptr;
    unsigned (*choose)(void*, const int*, void**, int, int*) = nullptr;
    unsigned (*bind)(unsigned) = nullptr;
    void* (*create)(void*, void*, void*, const int*) = nullptr;
    if (!find_function(library, "eglGetProcAddress", get_address) ||
        !find_function(library, "eglGetDisplay", get_display) ||
        !find_function(library, "eglInitialize", initialise_display) ||
        !find_function(library, "eglChooseConfig", choose) || !find_function(library, "eglBindAPI", bind) ||
        !find_function(library, "eglCreateContext", create) ||
        !find_function(library, "eglMakeCurrent", make_current_) ||
        !find_function(library, "eglDestroyContext", destroy_)) {
      return false;
    }
    constexpr unsigned surfaceless = 0x31DD;  // EGL_PLATFORM_SURFACELESS_MESA
    constexpr unsigned opengl = 0x30A2;       // EGL_OPENGL_API
    using PlatformDisplay = void* (*)(unsigned, void*, const int*);
    const auto platform_display = reinterpret_cast<PlatformDisplay>(get_address("eglGetPlatformDisplayEXT"));
    display_ = platform_display ? platform_display(surfaceless, nullptr, nullptr) : nullptr;
    if (!display_ || !initialise_display(display_, nullptr, nullptr)) {
      display_ = get_display(nullptr);
      if (!display_ || !initialise_display(display_, nullptr, nullptr)) return false;
    }
    // EGL_SURFACE_TYPE any; red, green, blue, alpha 8; depth 24; EGL_RENDERABLE_TYPE = EGL_OPENGL_BIT;
    // EGL_NONE
    const int wanted[] = {0x3033, 0, 0x3024, 8,  0x3023, 8, 0x3022, 8,
                          0x3021, 8, 0x3025, 24, 0x3040, 8, 0x3038};
    void* config = nullptr;
    int configs = 0;
    if (!choose(display_, wanted, &config, 1, &configs) || configs < 1 || !bind(opengl)) return false;
    handle_ = create(display_, config, nullptr, nullptr);
    return handle_ != nullptr;
  }

  void* display_ = nullptr;
  void* handle_ = nullptr;
  unsigned (*make_current_)(void*, void*, void*, void*) = nullptr;
  unsigned (*destroy_)(void*, void*) = nullptr;
};

// Makes the context current for a scope.
class Current {
 public:
  explicit Current(Context& context) : context_(context) {
    if (!context.make_current()) maa::fail("rendering: the OpenGL context cannot be made current");
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
  ~Current() { context_.release(); }

 private:
  Context& context_;
};

std::unique_ptr<Context> open_context() {
  if (auto context = OsMesaContext::open()) return context;
  if (auto context = EglContext::open()) return context;
  maa::fail("rendering needs OSMesa (Debian's libosmesa6) or EGL with Mesa (libegl1, libgl1-mesa-dri); ",
            "neither could be opened");
}

class MujocoRenderer final : public Renderer {
 public:
  explicit MujocoRenderer(std::shared_ptr<const mjModel> model)
      : model_(std::move(model)), context_(open_context()) {
    mjv_defaultCamera(&camera_);
    camera_.type = mjCAMERA_FIXED;
    camera_.fixedcamid = mj_name2id(model_.get(), mjOBJ_CAMERA, "view");
    mjv_defaultOption(&option_);
    mjv_defaultScene(&scene_);
    mjr_defaultContext(&resources_);
    const Current current(*context_);
    mjv_makeScene(model_.get(), &scene_, 200);
    mjr_makeContext(model_.get(), &resources_, mjFONTSCALE_50);
    mjr_setBuffer(mjFB_OFFSCREEN, &resources_);
    if (resources_.currentBuffer != mjFB_OFFSCREEN) {
      release_resources();
      maa::fail("rendering: OpenGL gives no off-screen buffer");
    }
  }
  ~MujocoRenderer() override {
    if (context_->make_current()) {
      release_resources();
      context_->release();
    }
  }

  Image draw(mjData& data, Index width, Index height) override {
    if (width < 1 || width > largest_width || height < 1 || height > largest_height) {
      maa::fail("rendering: images are up to ", largest_width, " x ", largest_height, ", asked for ", width,
                " x ", height);
    }
    Image image{.width = width, .height = height, .pixels = {}};
    image.pixels.resize(static_cast<std::size_t>(3 * width * height));
    const Current current(*context_);
    const mjrRect area = {0, 0, static_cast<int>(width), static_cast<int>(height)};
    mjv_updateScene(model_.get(), &data, &option_, nullptr, &camera_, mjCAT_ALL, &scene_);
    mjr_render(area, &scene_, &resources_);
    mjr_readPixels(image.pixels.data(), nullptr, area, &resources_);
    const Index stride = 3 * width;  // OpenGL's rows run from the bottom
    for (Index row = 0; row < height / 2; ++row) {
      std::swap_ranges(image.pixels.begin() + row * stride, image.pixels.begin() + (row + 1) * stride,
                       image.pixels.begin() + (height - 1 - row) * stride);
    }
    return image;
  }

 private:
  void release_resources() {
    mjr_freeContext(&resources_);
    mjv_freeScene(&scene_);
  }

  std::shared_ptr<const mjModel> model_;
  std::unique_ptr<Context> context_;
  mjvCamera camera_{};
  mjvOption option_{};
  mjvScene scene_{};
  mjrContext resources_{};
};

}  // namespace

std::unique_ptr<Renderer> make_renderer(std::shared_ptr<const mjModel> model) {
  return std::make_unique<MujocoRenderer>(std::move(model));
}

}  // namespace maa::examples

#else

namespace maa::examples {

std::unique_ptr<Renderer> make_renderer(std::shared_ptr<const mjModel>) {
  maa::fail("rendering: this program was built without rendering (CMake option MAA_RENDERING)");
}

}  // namespace maa::examples

#endif

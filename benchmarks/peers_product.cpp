// A peer for large matrix products: Eigen, OpenBLAS or oneDNN, by the macro PEER_EIGEN, PEER_OPENBLAS or
// PEER_ONEDNN. Answers as peer_server.hpp says. Build with -O3 -march=native, Eigen also with -fopenmp.
#include "peer_server.hpp"
#include "policy_cases.hpp"

#if PEER_EIGEN
#include <Eigen/Core>
#elif PEER_OPENBLAS
#include <cblas.h>
#elif PEER_ONEDNN
#include <omp.h>
#include <dnnl.hpp>
#endif

namespace {

class PeerProduct : public bench::Product {
 public:
  using Product::Product;

#if PEER_EIGEN
  void run() override {
    using Matrix = Eigen::Map<Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>;
    Eigen::setNbThreads(threads_);
    Matrix(y_.data(), rows_, out_).noalias() =
        Matrix(x_.data(), rows_, in_) * Matrix(weight_.data(), out_, in_).transpose();
  }
#elif PEER_OPENBLAS
  void run() override {
    const auto rows = static_cast<int>(rows_), in = static_cast<int>(in_), out = static_cast<int>(out_);
    openblas_set_num_threads(threads_);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, out, in, 1, x_.data(), in, weight_.data(), in,
                0, y_.data(), out);
  }
#elif PEER_ONEDNN
  // The weights are brought into oneDNN's favourite layout once, as a program that runs a model would.
  void run() override {
    if (!prepared_) {
      prepare();
    }
    prepared_.execute(stream_,
                      {{DNNL_ARG_SRC, source_}, {DNNL_ARG_WEIGHTS, packed_}, {DNNL_ARG_DST, result_}});
    stream_.wait();
  }

 private:
  void prepare() {
    using namespace dnnl;
    using Format = memory::format_tag;
    const auto f32 = memory::data_type::f32;
    omp_set_num_threads(threads_);
    const memory::desc x({rows_, in_}, f32, Format::ab), y({rows_, out_}, f32, Format::ab);
    const memory::desc any({in_, out_}, f32, Format::any), given({in_, out_}, f32, Format::ba);
    const matmul::primitive_desc description(matmul::desc(x, any, y), engine_);
    source_ = memory(x, engine_, x_.data());
    result_ = memory(y, engine_, y_.data());
    packed_ = memory(description.weights_desc(), engine_);
    memory weights(given, engine_, weight_.data());
    reorder(weights, packed_).execute(stream_, weights, packed_);
    stream_.wait();
    prepared_ = matmul(description);
  }

  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  dnnl::memory source_, packed_, result_;
  dnnl::matmul prepared_;
#endif
};

std::unique_ptr<bench::Case> make(const std::string& name, int threads) {
  const auto parts = bench::split_name(name);
  if (parts[0] != "product" || parts.size() != 4) {
    return nullptr;
  }
  return std::make_unique<PeerProduct>(std::stol(parts[1]), std::stol(parts[2]), std::stol(parts[3]),
                                       threads);
}

}  // namespace

int main() {
  return bench::PeerServer(make, false).serve();
}

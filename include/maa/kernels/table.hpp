#pragma once
#include <maa/kernels/isa.hpp>
MAA_NAMESPACE_BEGIN
namespace kernels {
struct Table { Isa isa; };
inline const Table& table_for(Isa isa) {
  static const Table tables[] = {{Isa::scalar}, {Isa::avx2}, {Isa::avx512}};
  return tables[static_cast<int>(isa)];
}
}  // namespace kernels
MAA_NAMESPACE_END

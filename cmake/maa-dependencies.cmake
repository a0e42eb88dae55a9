# What maa needs, read by its own build and by the installed package.
set(maa_config_packages TBB Eigen3)
set(maa_module_packages MaaXtensor MaaRandom123 MaaRapidJSON MaaLibzip) # Find modules beside this file
set(maa_targets TBB::tbb Eigen3::Eigen xtensor maa::random123 maa::rapidjson maa::libzip)
# What maa::cuda needs besides.
set(maa_cuda_version 12.8)
set(maa_cuda_targets CUDA::cudart CUDA::cublasLt CUDA::nvrtc)

# What maa needs, read by its own build and by the installed package: packages, and beside them the target of each.
set(maa_config_packages TBB Eigen3)
set(maa_config_targets TBB::tbb Eigen3::Eigen)
set(maa_module_packages MaaXtensor MaaRapidJSON MaaLibzip) # Find modules beside this file
set(maa_module_targets xtensor maa::rapidjson maa::libzip)
# What maa::cuda needs besides.
set(maa_cuda_version 12.8)
set(maa_cuda_targets CUDA::cudart CUDA::cublasLt CUDA::nvrtc)

#!/usr/bin/env bash
# Makes a folder with the parts of the CUDA 13.0 toolkit that maa::cuda needs (headers, cudart, cuBLASLt, NVRTC) from
# NVIDIA's packages on PyPI, for machines without the toolkit. nvcc is among them, for CMake finds a toolkit by it, and
# so that its tests run. No driver and no device are needed to build with it.
# Usage: bash tests/cuda/toolkit.sh FOLDER, then cmake -DMAA_CUDA=ON -DCUDAToolkit_ROOT=FOLDER ...
# Programs, and ctest, need LD_LIBRARY_PATH=FOLDER/lib: NVRTC loads a library of its own by name.
# 590 MB are downloaded; the folder takes 900 MB.
set -euo pipefail
unset CDPATH  # with it, cd may lead into another folder
folder=${1:?'usage: toolkit.sh FOLDER'}
if [[ -e $folder ]]; then
  echo "$folder is there already" >&2
  exit 1
fi
mkdir -p "$(dirname "$folder")"
folder=$(cd "$(dirname "$folder")" && pwd)/$(basename "$folder")

# Made under another name, so that a folder of that name is whole.
packages=$(mktemp -d "$folder.XXXXXX")
trap 'rm -rf "$packages"' EXIT
python3 -m pip install --quiet --no-deps --no-compile --target "$packages" \
  'nvidia-cuda-runtime==13.0.*' 'nvidia-cuda-nvrtc==13.0.*' 'nvidia-cuda-crt==13.0.*' \
  'nvidia-cuda-nvcc==13.0.*' 'nvidia-nvvm==13.0.*' 'nvidia-cuda-cccl==13.0.*' 'nvidia-cublas==13.1.*'
cd "$packages/nvidia/cu13"
# cuBLASLt needs nothing of the rest of cuBLAS.
rm -f lib/libcublas.so.* lib/libnvblas.so.* lib/*.alt.so.*
for library in lib/lib*.so.*; do
  link=${library%%.so.*}.so
  [[ -e $link ]] || ln -s "$(basename "$library")" "$link"
done
ln -s lib lib64
mv "$packages/nvidia/cu13" "$folder"
du -sh "$folder"

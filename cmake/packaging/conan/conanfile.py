"""Conan 2 recipe of the checkout that it lies in: conan create cmake/packaging/conan"""

import os
import re

from conan import ConanFile
from conan.tools.build import check_min_cppstd
from conan.tools.cmake import CMake, cmake_layout
from conan.tools.files import copy, load


class Maa(ConanFile):
    name = "maa"
    description = "From a trajectory to the weights of a policy (Make-An-Agent)"
    license = "MIT"
    topics = ("policy generation", "diffusion models", "robot learning")
    package_type = "static-library"
    settings = "os", "arch", "compiler", "build_type"
    generators = "CMakeDeps", "CMakeToolchain"

    @property
    def _checkout(self):
        return os.path.join(self.recipe_folder, "..", "..", "..")

    def set_version(self):
        """That of the headers."""
        found = load(self, os.path.join(self._checkout, "include", "maa", "core", "config.hpp"))
        self.version = ".".join(re.findall(r"#define MAA_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)", found))

    def export_sources(self):
        for pattern in ("CMakeLists.txt", "LICENSE", "cmake/*.cmake", "include/*"):
            copy(self, pattern, self._checkout, self.export_sources_folder)

    def requirements(self):
        for package in ("onetbb/[>=2021.5]", "eigen/[>=3.4 <4]", "xtensor/[>=0.24 <0.26]", "libzip/[>=1.8 <2]"):
            self.requires(package, transitive_headers=True)
        self.requires("rapidjson/cci.20230929", transitive_headers=True)

    def validate(self):
        check_min_cppstd(self, 20)

    def layout(self):
        cmake_layout(self)

    def build(self):
        cmake = CMake(self)
        off = ("BUILD_TESTS", "BUILD_EXAMPLES", "BUILD_BENCHMARKS", "CUDA")
        cmake.configure(variables={**{f"MAA_{name}": "OFF" for name in off}, "MAA_COMPILED_LIBRARY": "ON"})
        cmake.build()

    def package(self):
        CMake(self).install()

    def package_info(self):
        # maa's own CMake package, with the targets maa::maa, maa::compiled and maa::policy
        self.cpp_info.set_property("cmake_find_mode", "none")
        self.cpp_info.builddirs = [os.path.join("lib", "cmake", "maa")]
        self.cpp_info.libs = ["maa_compiled"]
        self.cpp_info.defines = ["MAA_COMPILED"]

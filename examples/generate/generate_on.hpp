// The bodies of generation.hpp, for any generator.
#pragma once

#include <maa/generator.hpp>

#include <cmath>
#include <cstdio>

#include "generation.hpp"
#include "output_file.hpp"
#if MAA_EXAMPLES_CUDA
#include <maa/cuda.hpp>
#endif

namespace maa::examples::detail {

template <class Generator>
void generate_by(const Generator& generator, std::vector<Demonstration>& demonstrations,
                 const GenerateArguments& arguments) {
  std::vector<Trajectory> prompts;
  std::erase_if(demonstrations, [&](const Demonstration& demonstration) {
    try {
      const double novelty = generator.novelty({&demonstration.trajectory, 1})[0];
      if (std::isfinite(novelty)) {  // prompts of training that do not differ tell nothing
        std::fprintf(stderr, "novelty %.2f%s\n", novelty,
                     novelty > 1 ? ": unlike the prompts of training" : "");
      }
      prompts.push_back(demonstration.trajectory);
      return false;
    } catch (const Error& error) {
      const auto message = concatenate("'", demonstration.path.string(), "': ", error.what());
      require(!arguments.together, message);
      std::fprintf(stderr, "error: %s\n", message.c_str());
      return true;
    }
  });
  require(!prompts.empty(), "expected at least one prompt that can be used, found none");
  check_fields(arguments.options, "generate");
  const auto count = static_cast<std::size_t>(arguments.options.count);
  const auto path_of = [&](std::size_t policy) {
    return arguments.out /
           concatenate(demonstrations[policy / count].name, "_", policy % count, ".safetensors");
  };
  std::vector<std::filesystem::path> inputs{arguments.generator};
  std::ranges::transform(demonstrations, std::back_inserter(inputs), &Demonstration::path);
  for (std::size_t i = 0; i < (arguments.together ? 1 : prompts.size()) * count; ++i) {
    require_other(path_of(i), inputs);
  }
  const auto policies = arguments.together ? generator.generate(prompts, arguments.options)
                                           : generator.generate_each(prompts, arguments.options);
  for (std::size_t i = 0; i < policies.size(); ++i) {
    const auto path = path_of(i);
    save_policy(path, policies[i], generator.interface().metadata);
    std::printf("%s\n", path.c_str());
    if (generator.looked_up(policies[i])) {
      std::fprintf(stderr, "'%s' is a policy of the data set, which acts more like the prompt\n",
                   path.c_str());
    }
  }
  require(std::fflush(stdout) == 0 && std::ferror(stdout) == 0,
          "the policies are saved, but their names cannot be written to standard output");
}

// load(backend) -> a generator on it.
template <class Load>
void generate_on(const GenerateArguments& arguments, std::vector<Demonstration>& demonstrations,
                 const Load& load) {
  if (!arguments.cuda) {
    return generate_by(load(cpu::Backend(arguments.threads)), demonstrations, arguments);
  }
#if MAA_EXAMPLES_CUDA
  generate_by(load(cuda::Backend()), demonstrations, arguments);
#else
  fail("this program was built without CUDA: configure with the CUDA toolkit installed");
#endif
}

}  // namespace maa::examples::detail

#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "neural/options.hpp"

namespace fachwerk::neural {

/// "1:10" (both ends) or "1,4,7". Throws usage errors.
std::vector<std::uint64_t> parse_seeds(const std::string& text);

/// The same training once for every seed, in one file: /model is the first run's; /seeds/SEED/state and
/// /seeds/SEED/history those of each; /summary/COLUMN the last value of each run, with attributes mean and std.
/// `make_ranks` is called for each run.
void train_seeds(cli::Session& session, TrainArguments& arguments, const std::vector<std::uint64_t>& seeds,
                 const std::function<Ranks()>& make_ranks);

}  // namespace fachwerk::neural

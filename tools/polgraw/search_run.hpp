#pragma once

#include <optional>

#include "search_input.hpp"
#include "trigger_output.hpp"

/// The run of polgraw-search: plans of the transforms, tasks that the ranks share, checkpoints.
namespace fachwerk::polgraw {

/// Takes up the plans of earlier runs; under mpirun all ranks execute those that rank 0 finds. Collective.
void prepare_plans(const SearchWork& work, const FarmSettings& settings, const cli::Session& session,
                   const cluster::Communicator& world);

/// What a search would be: sizes, ranges, and the time that it would take.
void dry_run(const SearchWork& work, const FarmSettings& settings, cli::Session& session);

/// Does what is still open of the tasks. Throws stopped_error, with the work of all ranks saved, where a signal came
/// before the end; `seconds` is 0 where the work was resumed. Collective.
struct Done {
  Progress progress;
  double seconds = 0;
};
/// No value on the other ranks of a job that was stopped.
std::optional<Done> run_search(const SearchOptions& options, const SearchWork& work, const FarmSettings& settings,
                               cli::Session& session, const cluster::Communicator& world, Checkpoints& checkpoints);

/// What decides the triggers: a checkpoint of other work must not be resumed.
std::string fingerprint(const SearchOptions& options, const SearchWork& work);

}  // namespace fachwerk::polgraw

#pragma once

#include "search_input.hpp"
#include "trigger_output.hpp"

/// What polgraw-search writes.
namespace fachwerk::polgraw {

/// The triggers of all ranks in one file, each rank writing its share; into a pipe rank 0 writes all. `seconds` that
/// the search took, for the summary; 0: not known. Collective.
void write_output(const SearchOptions& options, const SearchWork& work, Progress&& progress, cli::Session& session,
                  const cluster::Communicator& world, double seconds);

/// --genvlines: the intervals that the vetoes take from the band.
void write_veto_list(const std::string& path, bool force, const FarmSource& source);

/// --dump-F: F over frequency at one sky point and spindown.
void dump_f(const SearchOptions& options, const FarmSource& source, const FarmSettings& settings,
            cli::Session& session);

}  // namespace fachwerk::polgraw

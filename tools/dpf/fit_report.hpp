#pragma once

#include <string>
#include <vector>

#include "cli/session.hpp"
#include "fit.hpp"

/// What dpf-fit tells about a fit: lines of the summary, tables, pictures.
namespace fachwerk::dpf {

void summarise_fit(cli::Session& session, const Grid& grid, const std::vector<Parameter>& parameters,
                   const FitResult& result, double threshold);

/// Fitted over start of every parameter with two standard deviations to either side; those that the measurements do not
/// determine are left out.
void plot_parameters(const std::string& path, bool force, const Grid& grid, const std::vector<Parameter>& parameters,
                     const FitResult& result);
/// Distribution of the normalised residuals beside the unit normal one.
void plot_residuals(const std::string& path, bool force, const Grid& grid, const FitResult& result);

}  // namespace fachwerk::dpf

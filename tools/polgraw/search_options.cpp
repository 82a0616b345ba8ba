#include "search_options.hpp"

#include <cmath>

#include "cli/error.hpp"

namespace fachwerk::polgraw {
namespace {

compute::fft::Planner planner_of(const std::string& name) {
  if (name == "estimate") return compute::fft::Planner::estimate;
  return name == "patient" ? compute::fft::Planner::patient : compute::fft::Planner::measure;
}

}  // namespace

void check_options(const SearchOptions& o) {
  if (o.degree % 2 == 0) throw usage_error("--interpolation: expected 3, 5 or 7, found {}", o.degree);
  for (const auto* numbers : {&o.cone, &o.exclude_cone, &o.around, &o.f2})
    for (const double v : *numbers)
      if (!std::isfinite(v)) throw usage_error("--cone, --exclude-cone, --around, --f2: expected finite numbers");
  for (const auto& fdot : {o.fdot_min, o.fdot_max})
    if (fdot && !std::isfinite(*fdot)) throw usage_error("--fdot-min, --fdot-max: expected finite numbers");
  if (!(o.threshold > 2))
    throw usage_error("--threshold: expected above 2 (the mean of F in noise), found {}", o.threshold);
  for (const auto& [name, cone] : {std::pair("--cone", &o.cone), std::pair("--exclude-cone", &o.exclude_cone)})
    if (cone->size() % 3 != 0)
      throw usage_error("{}: expected alpha,delta,radius in rad for each cone, found {} numbers", name, cone->size());
  if (!o.f2.empty() && (o.f2.size() != 2 || o.f2[0] > o.f2[1]))
    throw usage_error("--f2: expected the lowest and the highest second spindown in Hz/s^2");
  if (o.shapiro && o.compat != "none") throw usage_error("--shapiro: the original has no such delay");
  if (o.shards && o.output == "-") throw usage_error("--shards: a pipe cannot be several files");
  if (!o.around.empty() && o.around.size() != 4)
    throw usage_error("--around: expected f,fdot,alpha,delta, found {} numbers", o.around.size());
  if (!o.around.empty() && !(std::abs(o.around[3]) <= pi / 2))
    throw usage_error("--around: delta is {}, expected -pi/2 to pi/2", o.around[3]);
}

FarmSettings farm_settings(const SearchOptions& o, int threads, compute::Device device) {
  FarmSettings farm;
  const bool compat = o.compat != "none";
  if (compat) farm.search = compatible(o.compat == "original-omp");
  auto& s = farm.search;
  if (!compat) s.form = o.form == "full" ? Form::full : Form::diagonal;
  s.norm = o.whitenoise || o.norm == "none" ? Norm::none : (o.norm == "median" ? Norm::median : Norm::block);
  s.peaks = o.peaks == "run" ? Peaks::run : Peaks::local;
  s.threshold = o.threshold;
  s.nav = static_cast<std::size_t>(o.nav);
  if (o.guard) s.guard_hz = *o.guard;
  s.planner = planner_of(o.planning);
  s.interbin = o.interbin;
  farm.engine.half_rate = o.halfrate != "off";
  farm.engine.spline_degree = o.degree;
  farm.precision = o.precision == "double" ? Precision::double_precision : Precision::mixed;
  farm.plain = compat || o.engine == "plain";
  farm.device = device;
  farm.batched = o.engine == "batched" || (device.is_cuda() && !farm.plain);
  if (farm.batched && s.norm == Norm::median) throw usage_error("--norm median: the CPU's fast form alone has it");
  if (o.interbin && compat) throw usage_error("--interbin: the original has no half-bins");
  farm.threads = farm.batched ? 1 : threads;  // a batch keeps all of them busy
  return farm;
}

}  // namespace fachwerk::polgraw

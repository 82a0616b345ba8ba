#include "candidates.hpp"

#include <algorithm>
#include <numeric>

namespace fachwerk::polgraw {

namespace {

struct Head {
  Trigger trigger;
  std::int64_t source, row;
};
struct Refined {
  Head head;
  Summit summit;
};

/// The loudest clusters of all ranks: what one rank with all triggers would find.
std::vector<Head> loudest_clusters(const cluster::Communicator& world, const Share& share,
                                   std::span<const Observation* const> sources, std::size_t count) {
  Clusters clusters(share.triggers, share.source, sources);
  std::vector<Head> heads;
  while (heads.size() < count) {
    Head mine{{}, -1, 0};
    if (const auto row = clusters.next())
      mine = {share.triggers[*row], share.source[*row], static_cast<std::int64_t>(share.first + *row)};
    const auto all = world.allgather_value(mine);
    const auto* best = static_cast<const Head*>(nullptr);
    for (const auto& head : all)
      if (head.source >= 0 && (best == nullptr || head.trigger.snr > best->trigger.snr)) best = &head;
    if (best == nullptr) break;
    clusters.add(best->trigger, static_cast<int>(best->source));
    heads.push_back(*best);
  }
  return heads;
}

}  // namespace

Candidates refine_candidates(const cluster::Communicator& world, const Share& share,
                             std::span<const Observation* const> sources, std::size_t count, int threads) {
  const auto heads = loudest_clusters(world, share, sources, count);
  std::vector<Refined> mine;
  for (std::size_t k = static_cast<std::size_t>(world.rank()); k < heads.size();
       k += static_cast<std::size_t>(world.size()))
    mine.push_back({heads[k], {}});
  const auto n = static_cast<std::ptrdiff_t>(mine.size());
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (std::ptrdiff_t i = 0; i < n; ++i) {
    auto& [head, summit] = mine[static_cast<std::size_t>(i)];
    const auto& observation = *sources[static_cast<std::size_t>(head.source)];
    summit = refine(observation, signal_point(head.trigger));
    summit.F = DirectStatistic(observation).F(summit.point);
  }
  auto all = world.allgatherv(std::span<const Refined>(mine)).values;
  std::ranges::sort(all, [](const Refined& a, const Refined& b) {
    return a.summit.F != b.summit.F ? a.summit.F > b.summit.F : a.head.row < b.head.row;
  });
  Candidates found;
  std::vector<const Refined*> kept;
  for (const auto& c : all) {
    const auto source = static_cast<std::size_t>(c.head.source);
    if (std::ranges::any_of(kept, [&](const Refined* k) {
          return k->head.source == c.head.source &&
                 grid_distance(*sources[source], k->summit.point, c.summit.point) < 0.1;
        }))
      continue;
    kept.push_back(&c);
    Trigger t = c.head.trigger;
    found.grid_F.push_back(2 + t.snr * t.snr / 2);
    const auto& p = c.summit.point;
    t.omega = p.omega, t.s = p.s, t.delta = p.delta, t.alpha = p.alpha, t.s2 = p.s2;
    t.snr = snr(c.summit.F);
    found.trigger.push_back(t);
    found.F.push_back(c.summit.F);
    found.source.push_back(static_cast<int>(c.head.source));
    found.converged.push_back(c.summit.converged ? 1 : 0);
    found.row.push_back(c.head.row);
  }
  return found;
}

void write_candidates(h5::Output& file, std::span<const TriggerSource> sources, const Candidates& c, bool writer) {
  const std::size_t n = c.trigger.size();
  const auto column = [&](const char* name, const char* units, const char* what, const auto& get) {
    using T = std::decay_t<decltype(get(std::size_t{0}))>;
    std::vector<T> values;
    for (std::size_t i = 0; writer && i < n; ++i)
      values.push_back(get(i));
    const std::string path = std::string("/candidates/") + name;
    file.create_dataset<T>(path, {n}, {.units = units, .long_name = what, .dims = {"candidate"}});
    if (n > 0) file.write_slab<T>(path, {0}, {values.size()}, values);
  };
  const auto band = [&](std::size_t i) -> const Band& { return sources[static_cast<std::size_t>(c.source[i])].band; };
  column("F", "1", "F at its local maximum", [&](std::size_t i) { return c.F[i]; });
  column("grid_F", "1", "F of the loudest trigger of the cluster", [&](std::size_t i) { return c.grid_F[i]; });
  column("snr", "1", "signal-to-noise ratio, sqrt(2 (F - 2))", [&](std::size_t i) { return c.trigger[i].snr; });
  column("f_hz", "Hz", "frequency", [&](std::size_t i) { return band(i).frequency(c.trigger[i].omega); });
  column("fdot", "Hz/s", "spindown", [&](std::size_t i) { return band(i).spindown(c.trigger[i].s); });
  column("fddot", "Hz/s^2", "second spindown", [&](std::size_t i) { return band(i).fddot(c.trigger[i].s2); });
  column("alpha", "rad", "right ascension", [&](std::size_t i) { return c.trigger[i].alpha; });
  column("delta", "rad", "declination", [&](std::size_t i) { return c.trigger[i].delta; });
  column("omega", "rad/sample", "angular frequency", [&](std::size_t i) { return c.trigger[i].omega; });
  column("s", "rad/sample^2", "spindown, pi fdot dt^2", [&](std::size_t i) { return c.trigger[i].s; });
  column("source", "1", "row of /sources", [&](std::size_t i) { return static_cast<std::int32_t>(c.source[i]); });
  column("trigger", "1", "row of /triggers, the loudest of the cluster", [&](std::size_t i) { return c.row[i]; });
  column("converged", "1", "1: the maximum was reached",
         [&](std::size_t i) { return static_cast<std::int32_t>(c.converged[i]); });
}

}  // namespace fachwerk::polgraw

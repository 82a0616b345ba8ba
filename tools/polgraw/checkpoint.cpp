#include "checkpoint.hpp"

#include "io/hdf5.hpp"

namespace fachwerk::polgraw {

namespace {
constexpr const char* kind = "gw-search-checkpoint";
}

void save_checkpoint(const std::string& path, const std::string& fingerprint, const Progress& progress) {
  std::vector<double> values;
  std::vector<std::int64_t> numbers;
  for (std::size_t task = 0; task < progress.triggers.size(); ++task)
    for (const auto& t : progress.triggers[task]) {
      values.insert(values.end(), {t.omega, t.s, t.delta, t.alpha, t.snr, t.s2});
      numbers.insert(numbers.end(),
                     {static_cast<std::int64_t>(task), t.hemisphere, t.mm, t.nn, t.ss, t.bin, t.tt, t.half});
    }
  auto file = h5::Output::create(path, true);
  file.attribute("/", "kind", kind);
  file.attribute("/", "fingerprint", fingerprint);
  const std::size_t n = values.size() / 6;
  file.column("/done", progress.done, {.units = "1", .long_name = "finished tasks", .dims = {"task"}});
  file.write("/values", values, {n, 6},
             {.units = "", .long_name = "omega, s, delta, alpha, snr, s2", .dims = {"trigger", "value"}});
  file.write("/numbers", numbers, {n, 8},
             {.units = "1", .long_name = "task, pm, mm, nn, ss, k, tt, half", .dims = {"trigger", "number"}});
  file.commit();
}

Progress load_checkpoint(const std::string& path, const std::string& fingerprint, std::size_t tasks) {
  const auto file = h5::Input::open(path);
  if (file.kind() != kind) throw bad_input("{}: not a checkpoint of polgraw-search", path);
  if (file.text("/", "fingerprint").value_or("") != fingerprint)
    throw bad_input("{}: the checkpoint is of another search (other input, options or version)", path);
  Progress progress(tasks);
  progress.done = file.column<std::uint8_t>("/done", tasks);
  const auto values = file.read<double>("/values", {.axes = {"trigger", "value"}, .shape = {0, 6}, .finite = true});
  const std::size_t n = values.shape[0];
  const auto numbers = file.read<std::int64_t>("/numbers", {.axes = {"trigger", "number"}, .shape = {n, 8}});
  for (std::size_t i = 0; i < n; ++i) {
    const double* v = values.values.data() + 6 * i;
    const std::int64_t* k = numbers.values.data() + 8 * i;
    if (k[0] < 0 || static_cast<std::size_t>(k[0]) >= tasks)
      throw bad_input("{}:/numbers: row {}: no such task", path, i);
    const auto number = [&](int which) { return static_cast<int>(k[which]); };
    progress.triggers[static_cast<std::size_t>(k[0])].push_back({v[0], v[1], v[2], v[3], v[4], number(1), number(2),
                                                                 number(3), number(4), number(5), number(6), v[5],
                                                                 number(7)});
  }
  return progress;
}

}  // namespace fachwerk::polgraw

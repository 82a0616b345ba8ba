#include "neural/dataset.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "neural/streams.hpp"

namespace fachwerk::neural {

namespace {

Dims sample_shape(const h5::Shape& shape) {
  Dims sample;
  for (std::size_t i = 1; i < shape.size(); ++i)
    sample.push_back(static_cast<std::int64_t>(shape[i]));
  if (sample.empty()) sample.push_back(1);
  if (sample.size() == 2) sample.insert(sample.begin(), 1);  // gray images without a channel axis
  return sample;
}

void read_x(const h5::Node& file, const std::string& path, Split& split) {
  const h5::DatasetInfo info = file.info(path);
  if (info.shape.empty() || info.shape.size() > 4)
    throw bad_input("{}:{}: expected samples x features or samples x channels x rows x columns, found {} dimensions",
                    file.name(), path, info.shape.size());
  split.sample = sample_shape(info.shape);
  split.count = info.shape[0];
  if (info.type == h5::TypeClass::integer && info.bytes == 1 && !info.is_signed)
    split.bytes = file.read<std::uint8_t>(path).values;
  else
    split.reals = file.read<float>(path, {.finite = true}).values;
}

void read_y(const h5::Node& file, const std::string& path, Split& split, bool classes_wanted) {
  const h5::DatasetInfo info = file.info(path);
  if (info.shape.empty() || info.shape[0] != split.count)
    throw bad_input("{}:{}: expected {} rows as in x, found {}", file.name(), path, split.count,
                    info.shape.empty() ? 0 : info.shape[0]);
  const bool one = info.shape.size() == 1 || (info.shape.size() == 2 && info.shape[1] == 1);
  if (one && (info.type == h5::TypeClass::integer || classes_wanted)) {
    if (info.type == h5::TypeClass::integer) {
      split.labels = file.read<std::int64_t>(path).values;
      if (classes_wanted) return;
      split.targets.assign(split.labels.begin(), split.labels.end());
      split.target_width = 1;
      return;
    }
    const auto values = file.read<double>(path, {.finite = true}).values;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] != std::floor(values[i]) || std::abs(values[i]) > 1e9)
        throw bad_input("{}:{}: row {}: expected a class number, found {}", file.name(), path, i, values[i]);
      split.labels.push_back(static_cast<std::int64_t>(values[i]));
    }
    return;
  }
  if (info.shape.size() > 2)
    throw bad_input("{}:{}: expected one or two dimensions, found {}", file.name(), path, info.shape.size());
  split.targets = file.read<float>(path, {.finite = true}).values;
  split.target_width = static_cast<std::int64_t>(info.shape.size() == 2 ? info.shape[1] : 1);
}

Split read_split(const h5::Node& file, const std::string& x, const std::string& y, const std::string& index,
                 bool classes) {
  Split split;
  read_x(file, x, split);
  if (!file.is_dataset(y)) throw bad_input("{}:{}: no such dataset (the targets of {})", file.name(), y, x);
  read_y(file, y, split, classes);
  if (file.is_dataset(index)) split.index = file.column<std::int64_t>(index, split.count);
  return split;
}

/// The pairs of names that foreign files use.
DatasetPaths find_paths(const h5::Node& file, const DatasetPaths& given) {
  if (!given.x.empty() && !given.y.empty()) return given;
  for (const auto& [x, y] :
       {std::pair{"/images", "/labels"}, {"/data", "/target"}, {"/X", "/Y"}, {"/X", "/y"}, {"/x", "/y"}})
    if (file.is_dataset(x) && file.is_dataset(y)) return {x, y};
  throw bad_input("{}:/train/x: no such dataset", file.name())
      .with_hint("--x PATH and --y PATH name samples and targets");
}

/// Whether targets are classes: what the file says, else the type of y.
bool is_classification(const h5::Node& file, const std::string& y) {
  if (const auto task = file.text("/", "task")) {
    if (*task != "classification" && *task != "regression")
      throw bad_input("{}: attribute task: expected classification or regression, found \"{}\"", file.name(), *task);
    return *task == "classification";
  }
  if (file.number("/", "classes")) return true;
  return file.is_dataset(y) && file.info(y).type == h5::TypeClass::integer;
}

Standard read_standard(const h5::Node& file, const std::string& mean, const std::string& std, std::size_t size) {
  Standard s{file.numbers("/", mean), file.numbers("/", std)};
  if (s.mean.empty() != s.std.empty() || s.mean.size() != s.std.size())
    throw bad_input("{}: attributes {} and {} must have equal lengths", file.name(), mean, std);
  if (!s.empty() && s.mean.size() == 1) {
    s.mean.resize(size, s.mean[0]);
    s.std.resize(size, s.std[0]);
  }
  if (!s.empty() && s.mean.size() != size)
    throw bad_input("{}: attribute {}: expected {} values, found {}", file.name(), mean, size, s.mean.size());
  for (std::size_t i = 0; i < s.std.size(); ++i)
    if (!std::isfinite(s.mean[i]) || !std::isfinite(s.std[i]) || s.std[i] <= 0)
      throw bad_input("{}: attributes {}, {}: entry {} is {}, {}", file.name(), mean, std, i, s.mean[i], s.std[i]);
  return s;
}

std::size_t groups(const Split& split) {
  return static_cast<std::size_t>(split.sample[0]);
}

}  // namespace

const Split& Dataset::part(const std::string& part_name) const {
  if (part_name == "train") return train;
  if (part_name == "val") return val;
  if (part_name == "test") return test;
  throw usage_error("\"{}\" is not one of train, val, test", part_name);
}

void check_split(const Dataset& data, const Split& split, const std::string& where) {
  if (split.empty()) return;
  const Split& first = data.train_or_any();
  if (split.sample != first.sample)
    throw bad_input("{}:{}/x: expected samples of {}, found {}", data.name, where, text(first.sample),
                    text(split.sample));
  if (data.classification && !split.targets.empty()) {
    if (split.target_width != data.classes)
      throw bad_input("{}:{}/y: expected {} columns, one a class, found {}", data.name, where, data.classes,
                      split.target_width);
    for (std::size_t i = 0; i < split.targets.size(); ++i)
      if (!(split.targets[i] >= 0 && split.targets[i] <= 1))
        throw bad_input("{}:{}/y: row {}: expected probabilities of classes, found {}", data.name, where,
                        i / static_cast<std::size_t>(split.target_width), split.targets[i]);
  } else if (data.classification) {
    for (std::size_t i = 0; i < split.count; ++i)
      if (split.labels[i] < 0 || split.labels[i] >= data.classes)
        throw bad_input("{}:{}/y: row {}: expected a label of 0 to {}, found {}", data.name, where, i, data.classes - 1,
                        split.labels[i]);
  } else if (split.target_width != first.target_width) {
    throw bad_input("{}:{}/y: expected {} columns, found {}", data.name, where, first.target_width, split.target_width);
  }
}

Dataset read_dataset(const h5::Node& file, const DatasetPaths& given) {
  Dataset data;
  data.name = file.name();
  const bool layout = given.x.empty() && (file.is_dataset("/train/x") || file.is_dataset("/test/x"));
  const DatasetPaths paths = layout ? DatasetPaths{"/train/x", "/train/y"} : find_paths(file, given);
  data.classification =
      is_classification(file, layout && !file.is_dataset("/train/y") ? std::string("/test/y") : paths.y);
  if (layout) {
    for (const auto& [part, split] :
         {std::pair<std::string, Split*>{"/train", &data.train}, {"/val", &data.val}, {"/test", &data.test}})
      if (file.is_dataset(part + "/x"))
        *split = read_split(file, part + "/x", part + "/y", part + "/index", data.classification);
  } else {
    data.train = read_split(file, paths.x, paths.y, "/index", data.classification);
  }
  const Split& any = data.train_or_any();
  if (any.empty()) throw bad_input("{}:{}: no samples", file.name(), paths.x);
  if (product(any.sample) < 1) throw bad_input("{}:{}: samples without values", file.name(), paths.x);
  if (data.classification) {
    if (const auto classes = file.number("/", "classes")) {
      if (!(*classes >= 1 && *classes <= 1e7) || *classes != std::floor(*classes))
        throw bad_input("{}: attribute classes: expected a count, found {}", file.name(), *classes);
      data.classes = static_cast<std::int64_t>(*classes);
    } else if (any.target_width > 0) {
      data.classes = any.target_width;
    } else {
      for (const Split* split : {&data.train, &data.val, &data.test})
        for (const auto label : split->labels)
          data.classes = std::max(data.classes, label + 1);
    }
    if (data.classes < 2) throw bad_input("{}: expected at least 2 classes, found {}", file.name(), data.classes);
  }
  for (const auto& [part, split] : {std::pair<std::string, const Split*>{layout ? "/train" : "", &data.train},
                                    {"/val", &data.val},
                                    {"/test", &data.test}})
    check_split(data, *split, part);
  data.class_names = file.texts("/", "class_names");
  data.feature_names = file.texts("/", "feature_names");
  data.inputs = read_standard(file, "mean", "std", groups(any));
  if (data.inputs.empty()) data.inputs = standard_of(any);
  if (!data.classification)
    data.outputs = read_standard(file, "target_mean", "target_std", static_cast<std::size_t>(any.target_width));
  data.source = file.text("/", "source").value_or("");
  data.licence = file.text("/", "licence").value_or("");
  return data;
}

void write_dataset(h5::Output& file, const Dataset& data) {
  for (const auto& [part, split] :
       {std::pair<std::string, const Split*>{"/train", &data.train}, {"/val", &data.val}, {"/test", &data.test}}) {
    if (split->empty()) continue;
    h5::Shape shape = {split->count};
    for (const auto d : split->sample)
      shape.push_back(static_cast<std::size_t>(d));
    const std::vector<std::string> dims = split->sample.size() == 3
                                              ? std::vector<std::string>{"sample", "channel", "row", "column"}
                                              : std::vector<std::string>{"sample", "feature"};
    h5::Shape chunk = shape;
    const std::size_t bytes = split->bytes.empty() ? 4 * split->size() : split->size();
    chunk[0] = std::clamp<std::size_t>((std::size_t{1} << 18) / std::max<std::size_t>(1, bytes), 1, split->count);
    const h5::Describe x{.units = "1", .long_name = "samples", .dims = dims, .chunk = chunk, .deflate = 4};
    if (split->bytes.empty())
      file.write(part + "/x", split->reals, shape, x);
    else
      file.write(part + "/x", split->bytes, shape, x);
    if (!split->labels.empty() && data.classification)
      file.column(part + "/y", split->labels, {.units = "1", .long_name = "class", .dims = {"sample"}});
    else
      file.write(part + "/y", split->targets, {split->count, static_cast<std::size_t>(split->target_width)},
                 {.units = "1",
                  .long_name = data.classification ? "probability of each class" : "target",
                  .dims = {"sample", "target"}});
    if (!split->index.empty())
      file.column(part + "/index", split->index, {.units = "1", .long_name = "id of the sample", .dims = {"sample"}});
  }
  file.attribute("/", "task", data.classification ? "classification" : "regression");
  if (data.classification) file.attribute("/", "classes", data.classes);
  if (!data.class_names.empty()) file.attribute("/", "class_names", data.class_names);
  if (!data.feature_names.empty()) file.attribute("/", "feature_names", data.feature_names);
  if (!data.inputs.empty()) {
    file.attribute("/", "mean", data.inputs.mean);
    file.attribute("/", "std", data.inputs.std);
  }
  if (!data.outputs.empty()) {
    file.attribute("/", "target_mean", data.outputs.mean);
    file.attribute("/", "target_std", data.outputs.std);
  }
  if (!data.source.empty()) file.attribute("/", "source", data.source);
  if (!data.licence.empty()) file.attribute("/", "licence", data.licence);
}

namespace {

/// Mean and standard deviation of `groups` interleaved variables: value (n, g, p) at n * groups * per + g * per + p.
template <class T>
Standard moments(std::span<const T> values, std::size_t count, std::size_t groups, std::size_t per, double scale) {
  Standard s{std::vector<double>(groups), std::vector<double>(groups, 1)};
  for (std::size_t g = 0; g < groups; ++g) {
    const auto each = [&](const auto& add) {
      for (std::size_t n = 0; n < count; ++n)
        for (std::size_t p = 0; p < per; ++p)
          add(scale * static_cast<double>(values[(n * groups + g) * per + p]));
    };
    double sum = 0, squares = 0;
    each([&](double v) { sum += v; });
    const double number = static_cast<double>(count * per);
    const double mean = sum / number;
    each([&](double v) { squares += (v - mean) * (v - mean); });
    const double deviation = number > 1 ? std::sqrt(squares / (number - 1)) : 0;
    s.mean[g] = mean;
    s.std[g] = deviation < 1e-12 ? 1 : deviation;
  }
  return s;
}

}  // namespace

Standard standard_of(const Split& split) {
  const std::size_t g = groups(split), per = split.size() / g;
  return split.bytes.empty() ? moments<float>(split.reals, split.count, g, per, 1)
                             : moments<std::uint8_t>(split.bytes, split.count, g, per, 1.0 / 255);
}

Standard standard_of_targets(const Split& split) {
  return moments<float>(split.targets, split.count, static_cast<std::size_t>(split.target_width), 1, 1);
}

Split take(const Split& split, std::span<const std::size_t> rows) {
  Split out;
  out.sample = split.sample;
  out.count = rows.size();
  out.target_width = split.target_width;
  const auto gather = [&](const auto& from, auto& to, std::size_t width) {
    if (from.empty()) return;
    to.resize(rows.size() * width);
    for (std::size_t i = 0; i < rows.size(); ++i)
      std::copy_n(from.begin() + static_cast<std::ptrdiff_t>(rows[i] * width), width,
                  to.begin() + static_cast<std::ptrdiff_t>(i * width));
  };
  gather(split.bytes, out.bytes, split.size());
  gather(split.reals, out.reals, split.size());
  gather(split.labels, out.labels, 1);
  gather(split.targets, out.targets, static_cast<std::size_t>(split.target_width));
  for (const std::size_t row : rows)
    out.index.push_back(split.id(row));
  return out;
}

void append(Split& to, const Split& from) {
  if (to.empty()) {
    to = from;
    return;
  }
  const auto join = [](auto& a, const auto& b) { a.insert(a.end(), b.begin(), b.end()); };
  join(to.bytes, from.bytes);
  join(to.reals, from.reals);
  join(to.labels, from.labels);
  join(to.targets, from.targets);
  to.index.clear();
  to.count += from.count;
}

void split(Dataset& data, const SplitRule& rule) {
  const Split all = std::move(data.train);
  const std::size_t n = all.count;
  std::vector<std::size_t> parts[3];
  if (rule.every > 0) {
    const auto k = static_cast<std::size_t>(rule.every);
    if (k < 2) throw usage_error("--every {}: expected at least 2", k);
    for (std::size_t i = 0; i < n; ++i)
      parts[i % k == k - 1 ? 2 : 0].push_back(i);
  } else if (!rule.train_rows.empty() || !rule.test_rows.empty()) {
    std::vector<char> used(n, 0);
    const auto claim = [&](const std::vector<std::size_t>& rows) {
      for (const std::size_t row : rows) {
        if (row >= n) throw bad_input("{}: row {} was asked for, there are {}", data.name, row, n);
        if (used[row]++) throw bad_input("{}: row {} was asked for twice", data.name, row);
      }
    };
    parts[0] = rule.train_rows;
    parts[2] = rule.test_rows;
    claim(parts[0]);
    claim(parts[2]);
    for (std::size_t i = 0; i < n; ++i)
      if (!used[i]) parts[rule.train_rows.empty() ? 0 : rule.test_rows.empty() ? 2 : 1].push_back(i);
    if (!rule.train_rows.empty() && !rule.test_rows.empty()) parts[1].clear();
  } else if (!rule.fractions.empty()) {
    std::vector<double> f = rule.fractions;
    f.resize(3);
    const double sum = std::accumulate(f.begin(), f.end(), 0.0);
    if (rule.fractions.size() > 3 || std::abs(sum - 1) > 1e-6 || *std::min_element(f.begin(), f.end()) < 0)
      throw usage_error("--split: expected two or three fractions that add up to 1");
    std::vector<std::size_t> order(n);
    std::iota(order.begin(), order.end(), std::size_t{0});
    stream(rule.seed, Channel::split, 0).shuffle(std::span<std::size_t>(order));
    std::vector<std::vector<std::size_t>> strata(1);
    if (rule.stratify) {
      if (all.labels.empty()) throw usage_error("--stratify needs classes");
      strata.resize(static_cast<std::size_t>(data.classes));
      for (const std::size_t i : order)
        strata[static_cast<std::size_t>(all.labels[i])].push_back(i);
    } else {
      strata[0] = order;
    }
    for (const auto& rows : strata) {
      const auto size = static_cast<double>(rows.size());
      const auto first = static_cast<std::size_t>(std::llround(f[0] * size));
      const auto second = static_cast<std::size_t>(std::llround((f[0] + f[1]) * size));
      for (std::size_t i = 0; i < rows.size(); ++i)
        parts[i < first ? 0 : i < second ? 1 : 2].push_back(rows[i]);
    }
    for (auto& rows : parts)
      std::sort(rows.begin(), rows.end());
  } else {
    data.train = all;
    return;
  }
  data.train = take(all, parts[0]);
  data.val = take(all, parts[1]);
  data.test = take(all, parts[2]);
  if (data.train.empty()) throw usage_error("{}: this split leaves no training samples", data.name);
  data.inputs = {};
}

}  // namespace fachwerk::neural

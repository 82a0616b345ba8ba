#include <charconv>
#include <filesystem>

#include <fmt/format.h>

#include "cli/command.hpp"
#include "io/bytes.hpp"
#include "io/delimited.hpp"
#include "io/npy.hpp"
#include "neural/import.hpp"
#include "neural/synthesis.hpp"

using namespace fachwerk;
using formats::File;

namespace {

struct Options {
  std::vector<std::string> test;
  std::string delimiter, target, missing = "?", comment = "#", source_column, header = "auto", task = "auto";
  std::vector<std::string> categorical;
  bool ordinal = false, onehot = false, stratify = false;
  std::vector<double> fractions;
  std::int64_t every = 0, split_seed = 1;
  std::string rows, test_rows, source, licence;
  neural::DatasetPaths paths;
  neural::SynthesisOptions synthesis;
  std::string part = "train";
};

std::vector<File> open_all(const std::vector<std::string>& paths) {
  std::vector<File> files;
  for (const std::string& path : paths)
    files.push_back(File::open(path));
  return files;
}

std::vector<std::size_t> read_rows(const std::string& path) {
  if (path.empty()) return {};
  const File file = File::open(path);
  std::vector<std::size_t> rows;
  std::string_view rest = file.text();
  while (!rest.empty()) {
    const std::size_t begin = rest.find_first_not_of(" \t\r\n,");
    if (begin == rest.npos) break;
    rest.remove_prefix(begin);
    const std::string_view word = rest.substr(0, rest.find_first_of(" \t\r\n,"));
    std::size_t row = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), row);
    if (error != std::errc() || end != word.data() + word.size())
      throw bad_input("{}: entry {}: expected a row number, found \"{}\"", path, rows.size(), word);
    rows.push_back(row);
    rest.remove_prefix(word.size());
  }
  return rows;
}

neural::CsvOptions csv_options(const Options& o) {
  neural::CsvOptions csv;
  if (!o.delimiter.empty()) csv.delimiter = o.delimiter == "tab" ? '\t' : o.delimiter[0];
  if (o.header != "auto") csv.header = o.header == "yes";
  csv.target = o.target;
  csv.categorical = o.categorical;
  csv.onehot = !o.ordinal;
  csv.missing = o.missing;
  csv.comment = o.comment;
  csv.source_column = o.source_column;
  if (o.task != "auto") csv.classification = o.task == "classification";
  return csv;
}

neural::Split import_part(const std::string& format, const std::vector<std::string>& files, const Options& o,
                          neural::Dataset& data) {
  neural::Split split;
  if (format == "idx") {
    if (files.size() != 2) throw usage_error("idx: expected the files of images and labels");
    return neural::read_idx(File::open(files[0]), File::open(files[1]));
  }
  if (files.empty()) throw usage_error("{}: no file to import", format);
  if (format == "npy" || format == "npz") {
    const auto opened = open_all(files);
    return neural::read_numpy(opened[0], opened.size() > 1 ? &opened[1] : nullptr, o.paths);
  }
  for (const std::string& path : files) {
    if (format == "cifar10" || format == "cifar100")
      append(split, neural::read_cifar(File::open(path), format == "cifar100"));
    else if (format == "libsvm")
      append(split,
             neural::read_libsvm(File::open(path), o.task == "regression",
                                 split.empty() ? data.train.empty() ? 0 : data.train.sample[0] : split.sample[0]));
    else if (format == "svhn")
      append(split, neural::read_svhn(path));
    else if (format == "folder")
      append(split, neural::read_folder(path, data.class_names));
    else
      throw usage_error("\"{}\" is not one of idx, cifar10, cifar100, csv, npz, npy, libsvm, svhn, folder, h5", format);
  }
  return split;
}

neural::Dataset import(cli::Session& session, const std::string& format, const std::vector<std::string>& files,
                       const Options& o) {
  neural::Dataset data;
  if (files.empty()) throw usage_error("{}: no file to import", format);
  data.name = files[0];
  if (format == "h5") {
    data = neural::read_dataset(h5::Input::open(files[0]), o.paths);
  } else if (format == "csv") {
    std::size_t unknown = 0, unknown_test = 0;
    const neural::CsvEncoder encoder(open_all(files), csv_options(o));
    data.train = encoder.encode(open_all(files), unknown);
    encoder.describe(data);
    if (!o.test.empty()) {
      data.test = encoder.encode(open_all(o.test), unknown_test);
      session.summary.add("unknown categories in the test file", unknown_test);
    }
  } else {
    data.train = import_part(format, files, o, data);
    if (!o.test.empty()) {
      neural::Dataset other = data;
      other.class_names.clear();
      data.test = import_part(format, o.test, o, other);
      if (other.class_names != data.class_names && format == "folder")
        throw bad_input("{}: the test folder has other classes", o.test[0]);
    }
    data.classification = !data.train.labels.empty();
    for (const auto label : data.train.labels)
      data.classes = std::max(data.classes, label + 1);
    if (format == "idx" || format == "cifar10" || format == "svhn")
      data.classes = std::max<std::int64_t>(data.classes, 10);
    if (format == "cifar100") data.classes = 100;
  }
  return data;
}

void export_part(const cli::Session& session, const std::string& format, const neural::Dataset& data,
                 const neural::Split& split, const std::string& output) {
  formats::Sink sink = formats::Sink::create(output, session.force, format != "csv");
  formats::Variable x{.name = "x"}, y{.name = "y"};
  x.shape = {split.count};
  for (const auto d : split.sample)
    x.shape.push_back(static_cast<std::size_t>(d));
  if (split.bytes.empty())
    x.values = split.reals;
  else
    x.values = split.bytes;
  y.shape = {split.count};
  if (split.targets.empty()) {
    y.values = split.labels;
  } else {
    y.values = split.targets;
    y.shape.push_back(static_cast<std::size_t>(split.target_width));
  }
  if (format == "npz") {
    const std::vector<formats::Variable> both = {std::move(x), std::move(y)};
    formats::write_npz(sink, both);
  } else if (format == "csv") {
    formats::DelimitedWriter writer(sink);
    std::vector<std::string> names = data.feature_names;
    for (std::size_t i = names.size(); i < split.size(); ++i)
      names.push_back(fmt::format("x{}", i));
    for (std::int64_t i = 0; i < std::max<std::int64_t>(1, split.target_width); ++i)
      names.push_back(split.target_width > 1 ? fmt::format("y{}", i) : "y");
    writer.header(names);
    x.shape = {split.count, split.size()};
    const std::vector<formats::Variable> both = {std::move(x), std::move(y)};
    writer.rows(both);
  } else {  // idx
    if (split.bytes.empty()) throw bad_input("{}: idx holds bytes, the samples are real", data.name);
    const bool gray = split.sample.size() == 3 && split.sample[0] == 1;
    const neural::Dims dims = gray ? neural::Dims{split.sample[1], split.sample[2]} : split.sample;
    const auto big = [&](std::uint32_t v) { sink.number(__builtin_bswap32(v)); };
    big(0x0800U + static_cast<std::uint32_t>(1 + dims.size()));
    big(static_cast<std::uint32_t>(split.count));
    for (const auto d : dims)
      big(static_cast<std::uint32_t>(d));
    sink.write(std::as_bytes(std::span(split.bytes)));
  }
  sink.commit();
}

}  // namespace

int main(int argc, char** argv) {
  std::string action, output;
  std::vector<std::string> words;
  Options o;
  auto& s = o.synthesis;
  cli::Command command;
  command.name = "nn-data";
  command.purpose = "import, split, generate and export data sets for training";
  command.description =
      "nn-data import FORMAT FILE... OUT reads idx (images, labels), cifar10, cifar100, csv, npz, npy (x, y), libsvm, "
      "svhn "
      "(.mat), folder (one subfolder of PNG, PGM or PPM images a class) or h5 (any file with samples and targets); "
      "gzip is "
      "unpacked on the way. Several files of one format follow one another; --test FILE adds a test part, encoded as "
      "the "
      "training part.\n\n"
      "nn-data split IN OUT deals the training part out again; nn-data synth NAME OUT generates teacher, sgemm, blobs, "
      "spiral, stripes or seqcopy; nn-data export FORMAT IN OUT writes one part as csv, npz or idx (the images).\n\n"
      "CSV: columns of text become categories, one feature each (--onehot) or their number (--ordinal); a category "
      "that "
      "only the test file has becomes all zeros, or number 0, and is counted. Missing numbers become the mean.";
  command.arguments = {cli::choice("ACTION", action, {"import", "split", "synth", "export"}, "what to do"),
                       {cli::Role::texts, "WORD", &words, "format or name, and files to read"},
                       cli::output("OUT", output, "data set, or exported file")};
  command.options = {
      {"--test", &o.test, "import: files of the test part", {.value_name = "FILE"}},
      {"--split", &o.fractions, "fractions of train, val and test", {.minimum = 0, .maximum = 1}},
      {"--split-seed", &o.split_seed, "of the random order", {.minimum = 0}},
      {"--stratify", &o.stratify, "the same fractions of every class"},
      {"--every", &o.every, "row i is a test row if i mod K = K-1", {.minimum = 2, .value_name = "K"}},
      {"--rows", &o.rows, "file with the numbers of the training rows, from 0", {.value_name = "FILE"}},
      {"--test-rows", &o.test_rows, "file with the numbers of the test rows", {.value_name = "FILE"}},
      {"--target",
       &o.target,
       "csv: target column, by name or number from 0; the last one if not given",
       {.value_name = "COLUMN"}},
      {"--task",
       &o.task,
       "what the targets are; found out if not given",
       {.choices = {"auto", "classification", "regression"}}},
      {"--categorical",
       &o.categorical,
       "csv: columns that are categories; auto: those with text",
       {.value_name = "COLUMN"}},
      {"--onehot", &o.onehot, "csv: one feature for each category (the default)"},
      {"--ordinal", &o.ordinal, "csv: categories as numbers"},
      {"--delimiter", &o.delimiter, "csv: a character or tab; found out if not given", {.value_name = "CHAR"}},
      {"--header", &o.header, "csv: the first line has names", {.choices = {"auto", "yes", "no"}}},
      {"--missing", &o.missing, "csv: the word for a missing value", {.value_name = "WORD"}},
      {"--comment", &o.comment, "csv: lines that begin so are skipped", {.value_name = "TEXT"}},
      {"--source-column",
       &o.source_column,
       "csv: add a feature of this name, the number of the file",
       {.value_name = "NAME"}},
      {"--x", &o.paths.x, "h5, npz: where the samples are", {.value_name = "PATH"}},
      {"--y", &o.paths.y, "h5, npz: where the targets are", {.value_name = "PATH"}},
      {"--part", &o.part, "export: which part", {.choices = {"train", "val", "test"}}},
      {"--n", &s.n, "synth: samples", {.minimum = 1}},
      {"--features", &s.features, "synth: features, or tokens in a row", {.minimum = 1}},
      {"--classes", &s.classes, "synth: classes, or vocabulary", {.minimum = 1}},
      {"--noise", &s.noise, "synth: wrong labels, or standard deviation", {.minimum = 0}},
      {"--separation", &s.separation, "synth blobs: distance of the centres in standard deviations", {.minimum = 0}},
      {"--source", &o.source, "where the data is from: kept in the file", {.value_name = "TEXT"}},
      {"--licence", &o.licence, "its licence: kept in the file", {.value_name = "TEXT"}}};
  command.examples = {
      {"nn-data import idx train-images.gz train-labels.gz mnist.h5 --test t10k-images.gz,t10k-labels.gz",
       "MNIST and its family"},
      {"nn-data import csv wine-red.csv wine-white.csv wine.h5 --task regression --source-column colour --split "
       "0.8,0.1,0.1",
       "two tables"},
      {"nn-data synth blobs - --n 2000 --split 0.8,0,0.2 | nn-train - model.h5 --hidden 32",
       "clusters with a known best error"}};
  command.reads = "with h5 and split: " + std::string("/train/x, /train/y, ... as nn-train reads them");
  command.writes =
      "/train/x, /train/y, /train/index; /val, /test: the same\nroot attributes task, classes, class_names, "
      "feature_names, mean, std, source, licence";
  command.standard.seed = true;
  return command.run(argc, argv, [&](cli::Session& session) {
    if (words.empty()) throw usage_error("{}: say what: see nn-data --help", action);
    const std::string first = words.front();
    if (o.onehot && o.ordinal) throw usage_error("--onehot and --ordinal exclude each other");
    neural::Dataset data;
    if (action == "import") {
      data = import(session, first, {words.begin() + 1, words.end()}, o);
    } else if (action == "synth") {
      if (words.size() != 1) throw usage_error("synth takes one name and OUT");
      s.seed = session.seed;
      s.regression = o.task == "regression";
      data = neural::synthesise(first, s);
    } else if (action == "split") {
      if (words.size() != 1) throw usage_error("split takes IN and OUT");
      data = neural::read_dataset(h5::Input::open(first), o.paths);
    } else {
      if (words.size() != 2) throw usage_error("export takes FORMAT, IN and OUT");
      if (first != "csv" && first != "npz" && first != "idx")
        throw usage_error("\"{}\" is not one of csv, npz, idx", first);
      data = neural::read_dataset(h5::Input::open(words[1]), o.paths);
      if (data.part(o.part).empty()) throw bad_input("{}:/{}/x: no samples", data.name, o.part);
      export_part(session, first, data, data.part(o.part), output);
      session.summary.add("samples", data.part(o.part).count);
      return;
    }
    neural::SplitRule rule{.fractions = o.fractions,
                           .stratify = o.stratify,
                           .seed = static_cast<std::uint64_t>(o.split_seed),
                           .every = o.every};
    rule.train_rows = read_rows(o.rows);
    rule.test_rows = read_rows(o.test_rows);
    const bool asked = o.every > 0 || !o.fractions.empty() || !rule.train_rows.empty() || !rule.test_rows.empty();
    if (action == "split" && !asked) throw usage_error("split: --split, --every or --rows says how");
    if (asked && !data.test.empty() && action == "import") throw usage_error("--test and a split exclude each other");
    check_split(data, data.train, "/train");
    check_split(data, data.test, "/test");
    if (asked) split(data, rule);
    if (data.inputs.empty()) data.inputs = neural::standard_of(data.train_or_any());
    if (!o.source.empty()) data.source = o.source;
    if (!o.licence.empty()) data.licence = o.licence;
    h5::Output out = h5::Output::create(output, session.force);
    out.stamp(session, "dataset");
    write_dataset(out, data);
    out.commit();
    session.summary.add("task", data.classification ? "classification" : "regression");
    session.summary.add(data.classification ? "classes" : "targets", data.outputs_count());
    session.summary.add("sample", neural::text(data.train_or_any().sample));
    for (const char* part : {"train", "val", "test"})
      session.summary.add(part, data.part(part).count);
    if (!data.source.empty()) session.summary.add("source", data.source);
  });
}

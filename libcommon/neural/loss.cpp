#include "neural/loss.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace fachwerk::neural {

namespace {

constexpr std::size_t bins = 15;
enum Sum : std::size_t { n, loss, right, nll, brier, mse, mae, mape, target, target2, values, bin_first };

std::int64_t largest(const double* row, std::int64_t width) {
  return std::max_element(row, row + width) - row;
}

/// One row of outputs as probabilities.
void to_probabilities(double* row, std::int64_t width, OutputKind kind) {
  double sum = 0;
  if (kind == OutputKind::values) {
    const double top = *std::max_element(row, row + width);
    for (std::int64_t i = 0; i < width; ++i)
      row[i] = std::exp(row[i] - top);
  }
  for (std::int64_t i = 0; i < width; ++i)
    sum += row[i];
  for (std::int64_t i = 0; i < width; ++i)
    row[i] = sum > 0 ? row[i] / sum : 1.0 / static_cast<double>(width);
}

}  // namespace

OutputKind output_kind(const Graph& graph) {
  const Op last = graph.nodes.back().op;
  return last == Op::sigmoid ? OutputKind::sigmoid : last == Op::softmax ? OutputKind::softmax : OutputKind::values;
}

at::Tensor loss_of(const LossOptions& o, OutputKind kind, const at::Tensor& output, const Batch& batch) {
  const auto scale = 1 / static_cast<double>(batch.global);
  const std::string name = !o.name.empty() ? o.name : batch.labels.defined() ? "ce" : "mse";
  if (name == "ce") {
    if (batch.labels.defined())
      return at::cross_entropy_loss(output, batch.labels, {}, at::Reduction::Sum, -100, o.smoothing) * scale;
    const auto classes = static_cast<double>(output.size(-1));
    const at::Tensor wanted = batch.targets * (1 - o.smoothing) + o.smoothing / classes;
    return -(wanted * at::log_softmax(output, -1)).sum() * scale;
  }
  if (name == "nll") {
    const at::Tensor logs = kind == OutputKind::softmax ? output.clamp_min(1e-38).log() : at::log_softmax(output, -1);
    if (batch.labels.defined()) return at::nll_loss(logs, batch.labels, {}, at::Reduction::Sum) * scale;
    return -(batch.targets * logs).sum() * scale;
  }
  const at::Tensor wanted =
      batch.targets.defined() ? batch.targets : at::one_hot(batch.labels, output.size(-1)).to(output.scalar_type());
  const double per_value = scale / static_cast<double>(output.size(-1));
  if (name == "bce")
    return (kind == OutputKind::values
                ? at::binary_cross_entropy_with_logits(output, wanted, {}, {}, at::Reduction::Sum)
                : at::binary_cross_entropy(output, wanted, {}, at::Reduction::Sum)) *
           per_value;
  if (name == "mse") return at::mse_loss(output, wanted, at::Reduction::Sum) * per_value;
  throw usage_error("\"{}\" is not one of the losses ce, bce, mse, nll", name);
}

MetricSums::MetricSums(bool classification, OutputKind kind, const Standard& outputs)
    : classification_(classification), kind_(kind), outputs_(outputs), sums_(bin_first + 3 * bins, 0) {}

void MetricSums::add(const at::Tensor& output, const Batch& batch, double loss_sum) {
  const at::Tensor values_of = output.detach().to(at::kDouble).contiguous();
  const std::int64_t rows = values_of.size(0), width = values_of.size(1);
  sums_[n] += static_cast<double>(rows);
  sums_[loss] += loss_sum;
  std::vector<double> row(static_cast<std::size_t>(width));
  const at::Tensor targets = batch.targets.defined() ? batch.targets.to(at::kDouble).contiguous() : at::Tensor();
  for (std::int64_t r = 0; r < rows; ++r) {
    std::copy_n(values_of.data_ptr<double>() + r * width, width, row.begin());
    const double* wanted = targets.defined() ? targets.data_ptr<double>() + r * width : nullptr;
    if (!classification_) {
      for (std::int64_t o = 0; o < width; ++o) {
        const auto k = static_cast<std::size_t>(o);
        const double scale = outputs_.empty() ? 1 : outputs_.std[k], shift = outputs_.empty() ? 0 : outputs_.mean[k];
        const double t = wanted[o] * scale + shift, e = row[k] * scale + shift - t;
        sums_[mse] += e * e;
        sums_[mae] += std::abs(e);
        sums_[mape] += std::abs(e) / std::max(std::abs(t), 1.17e-6);
        sums_[target] += t;
        sums_[target2] += t * t;
        sums_[values] += 1;
      }
      continue;
    }
    const std::int64_t label = wanted == nullptr ? batch.labels.data_ptr<std::int64_t>()[r] : largest(wanted, width);
    to_probabilities(row.data(), width, kind_);
    const std::int64_t guess = largest(row.data(), width);
    const double sure = row[static_cast<std::size_t>(guess)];
    const bool hit = guess == label;
    sums_[right] += hit ? 1 : 0;
    sums_[nll] -= std::log(std::max(row[static_cast<std::size_t>(label)], 1e-300));
    for (std::int64_t o = 0; o < width; ++o) {
      const double truth = wanted == nullptr ? (o == label ? 1 : 0) : wanted[o];
      sums_[brier] += (row[static_cast<std::size_t>(o)] - truth) * (row[static_cast<std::size_t>(o)] - truth);
    }
    const auto bin = std::min(bins - 1, static_cast<std::size_t>(sure * bins));
    sums_[bin_first + bin] += 1;
    sums_[bin_first + bins + bin] += sure;
    sums_[bin_first + 2 * bins + bin] += hit ? 1 : 0;
  }
}

Metrics MetricSums::result() const {
  Metrics m;
  m.count = static_cast<std::int64_t>(sums_[n]);
  if (m.count == 0) return m;
  const double count = sums_[n];
  m.loss = sums_[loss] / count;
  if (classification_) {
    m.accuracy = sums_[right] / count;
    m.nll = sums_[nll] / count;
    m.brier = sums_[brier] / count;
    for (std::size_t b = 0; b < bins; ++b)
      m.ece += std::abs(sums_[bin_first + bins + b] - sums_[bin_first + 2 * bins + b]) / count;
    return m;
  }
  const double v = sums_[values];
  m.mse = sums_[mse] / v;
  m.mae = sums_[mae] / v;
  m.mape = sums_[mape] / v;
  const double spread = sums_[target2] / v - sums_[target] / v * (sums_[target] / v);
  m.r2 = spread > 0 ? 1 - m.mse / spread : 0;
  return m;
}

/// (sum of the positives' ranks - P (P + 1) / 2) / (P N): the Mann-Whitney statistic.
double auroc(std::span<const float> scores, std::span<const std::int64_t> labels, std::int64_t classes) {
  const std::size_t n = labels.size(), width = static_cast<std::size_t>(classes);
  std::vector<std::size_t> order(n);
  double total = 0;
  int counted = 0;
  for (std::size_t c = 0; c < width; ++c) {
    const auto score = [&](std::size_t i) { return scores[i * width + c]; };
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return score(a) < score(b); });
    double ranks = 0, positives = 0;
    for (std::size_t begin = 0, end = 0; begin < n; begin = end) {
      double here = 0;
      for (; end < n && !(score(order[begin]) < score(order[end])); ++end)
        here += labels[order[end]] == static_cast<std::int64_t>(c) ? 1 : 0;
      ranks += here * 0.5 * static_cast<double>(begin + 1 + end);
      positives += here;
    }
    const double negatives = static_cast<double>(n) - positives;
    if (positives == 0 || negatives == 0) continue;
    total += (ranks - positives * (positives + 1) / 2) / (positives * negatives);
    ++counted;
  }
  return counted > 0 ? total / counted : std::nan("");
}

std::int64_t count_correct(const at::Tensor& output, const Batch& batch) {
  const at::Tensor values = output.detach().to(at::kDouble).contiguous();
  const at::Tensor truth = batch.labels.defined() ? batch.labels : batch.targets.argmax(-1);
  const std::int64_t width = values.size(-1);
  const double* row = values.data_ptr<double>();
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < truth.size(0); ++i, row += width)
    right += largest(row, width) == truth.data_ptr<std::int64_t>()[i] ? 1 : 0;
  return right;
}

}  // namespace fachwerk::neural

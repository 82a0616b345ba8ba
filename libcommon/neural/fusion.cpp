#include "neural/fusion.hpp"

namespace fachwerk::neural {

namespace {

class Fuser {
 public:
  Fuser(const Graph& graph, int begin, int end) : graph_(graph), begin_(begin), end_(end) {
    result_.resize(graph.nodes.size());
    only_user_.assign(graph.nodes.size(), nobody);
    for (int i = begin; i < end; ++i)
      for (const int input : node(i).inputs)
        user(input) = user(input) == nobody ? i : several;
    user(end - 1) = several;  // the caller needs it
  }

  std::vector<Fused> run() {
    for (int i = begin_; i < end_; ++i) {
      const Op op = node(i).op;
      if (op == Op::batch_norm && node(i).shape.size() == 3) at(i) = {.kind = Fused::Kind::norm, .norm = i};
      if (op == Op::add) join(i);
      if (op == Op::relu) end_chain(i);
      if (op == Op::max_pool) pool(i);
    }
    return std::move(result_);
  }

 private:
  static constexpr int nobody = -1, several = -2;
  const Node& node(int i) const { return graph_.nodes[static_cast<std::size_t>(i)]; }
  Fused& at(int i) { return result_[static_cast<std::size_t>(i)]; }
  int& user(int i) { return only_user_[static_cast<std::size_t>(i)]; }
  /// A chain that ends at node i and is needed nowhere else.
  bool open_chain(int i) { return i >= begin_ && at(i).kind == Fused::Kind::norm && !at(i).relu && user(i) >= 0; }

  void join(int i) {
    const auto& inputs = node(i).inputs;
    for (const std::size_t side : {std::size_t{0}, std::size_t{1}}) {
      const int chain = inputs[side], other = inputs[1 - side];
      if (chain == other || !open_chain(chain) || at(chain).skip >= 0) continue;
      at(i) = {.kind = Fused::Kind::norm, .norm = at(chain).norm, .skip = other};
      at(chain) = {.kind = Fused::Kind::absorbed};
      return;
    }
  }

  void end_chain(int i) {
    const int from = node(i).inputs[0];
    const bool pooled = user(i) >= 0 && tiles(user(i));
    if (pooled) return;
    if (overwritable(from)) at(i).kind = Fused::Kind::relu_in_place;
    if (!open_chain(from)) return;
    at(i) = at(from);
    at(i).relu = true;
    at(from) = {.kind = Fused::Kind::absorbed};
  }

  /// A layer whose output nobody else reads and whose derivative does not need it. Layers over several tokens give
  /// views, in which writing in place costs more than it saves.
  bool overwritable(int i) {
    const bool layer = node(i).op == Op::conv || (node(i).op == Op::linear && node(i).shape.size() == 1);
    return i >= begin_ && layer && user(i) >= 0;
  }

  void pool(int i) {
    const int from = node(i).inputs[0];
    if (from < begin_ || !tiles(i) || node(from).op != Op::relu || user(from) != i) return;
    at(i) = {.kind = Fused::Kind::pool, .relu = true};
    at(from) = {.kind = Fused::Kind::absorbed};
  }

  bool tiles(int i) const {
    const Setting& s = node(i).setting;
    return node(i).op == Op::max_pool && s.kernel == s.stride && s.padding == 0 && s.kernel <= 15;
  }

  const Graph& graph_;
  int begin_, end_;
  std::vector<Fused> result_;
  std::vector<int> only_user_;
};

}  // namespace

std::vector<Fused> fuse(const Graph& graph, int begin, int end) {
  return Fuser(graph, begin, end).run();
}

}  // namespace fachwerk::neural

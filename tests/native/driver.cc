// The C++ of the CPU kernels under the sanitizers: random searches of odd shapes, in arrays of the
// exact size, on every instruction set of this CPU and on several threads, against the plainest code
// that gives the answer.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "native/collector.h"
#include "native/gather.h"
#include "native/search.h"

namespace silver {
namespace {

using Random = std::mt19937;
constexpr float kNone = -std::numeric_limits<float>::infinity();

int64_t draw(Random& random, int64_t low, int64_t high) {
  return std::uniform_int_distribution<int64_t>(low, high)(random);
}

// An array on the heap of just this size: the address sanitizer sees one byte too far.
template <class T, class Draw>
std::unique_ptr<T[]> array(int64_t size, Draw next) {
  auto values = std::make_unique<T[]>(size);
  for (int64_t i = 0; i < size; ++i) values[i] = static_cast<T>(next());
  return values;
}

constexpr int64_t kUnit = 65536;  // reach.py: UNIT
constexpr int kReach = 2;         // reach.py: REACH

// The upper tail of the normal distribution, as reach.py makes it.
std::array<int32_t, 2 * kTailEnd> make_tail() {
  std::array<int32_t, 2 * kTailEnd> tail;
  for (int i = 0; i < 2 * kTailEnd; ++i) {
    const double deviations = static_cast<double>(i - kTailEnd) / kTailSteps;
    tail[i] = static_cast<int32_t>(std::lround(kUnit * std::erfc((deviations + kReach) / std::sqrt(2.0)) / 2));
  }
  return tail;
}
const auto tail = make_tail();

// A random search that owns its arrays.
struct Case {
  Search search;
  PlanArrays plan;
  ExactArrays exact;
  std::unique_ptr<int8_t[]> codes, queries;
  std::unique_ptr<float[]> scales, query_scales, affinity, spread, scores;
  std::unique_ptr<uint32_t[]> words, eligible;
  std::unique_ptr<int32_t[]> clusters, rows, modes, program, spans, terms, leaf_terms,
      excluded, names, slots, live_count, eligible_count;
  std::unique_ptr<bool[]> negated, decided;

  explicit Case(Random& random) {
    Search& s = search;
    s.C = draw(random, 1, 12), s.S = draw(random, 1, 90), s.D = draw(random, 1, 150);
    s.R = draw(random, 1, 9), s.W = (s.S + kWord - 1) / kWord;
    s.B = draw(random, 0, 20), s.N = draw(random, 1, s.C), s.k = draw(random, 1, s.N * s.S);
    s.most = draw(random, s.N, s.C);
    const int64_t levels = draw(random, 0, 1) ? 128 : 1;  // few levels make ties
    auto code = [&] { return draw(random, -levels, levels - 1); };
    auto scale = [&] { return levels == 1 ? 1.0f : static_cast<float>(draw(random, 0, 999)); };
    auto bits = [&] { return random() | random(); };
    s.codes = (codes = array<int8_t>(s.C * s.S * s.D, code)).get();
    s.scales = (scales = array<float>(s.C * s.S, scale)).get();
    s.queries = (queries = array<int8_t>(s.B * s.D, code)).get();
    s.query_scales = (query_scales = array<float>(s.B, scale)).get();
    s.scores = (scores = std::make_unique<float[]>(s.B * s.k)).get();
    s.slots = (slots = std::make_unique<int32_t[]>(s.B * s.k)).get();
    if (draw(random, 0, 2) == 0) {  // masks that are given, also for clusters that come twice
      s.clusters =
          (clusters = array<int32_t>(s.B * s.N, [&] { return draw(random, -1, s.C); })).get();
      s.eligible = (eligible = array<uint32_t>(s.B * s.N * s.W, bits)).get();
      return;
    }
    if (draw(random, 0, 1)) {
      s.names = (names = array<int32_t>(s.C * s.S, [&] { return draw(random, 0, 999); })).get();
    }
    s.live_count = (live_count = std::make_unique<int32_t[]>(s.B)).get();
    s.eligible_count = (eligible_count = std::make_unique<int32_t[]>(s.B)).get();
    s.words = (words = array<uint32_t>(s.R * s.C * s.W, bits)).get();
    auto near = [&] { return draw(random, 0, 9) ? static_cast<float>(draw(random, -3, 3)) : kNone; };
    s.affinity = (affinity = array<float>(s.B * s.C, near)).get();
    if (draw(random, 0, 1)) {
      s.X = draw(random, 1, 40);
      auto slot = [&] { return draw(random, -1, s.C * s.S - 1); };
      s.excluded = (excluded = array<int32_t>(s.B * s.X, slot)).get();
    }
    if (!draw(random, 0, 3)) return;
    draw_filters(random);
    if (!draw(random, 0, 3)) return;
    // From nothing to more than scores differ by.
    auto width = [&] { return std::ldexp(1.0f, static_cast<int>(draw(random, -20, 24))); };
    s.spread = (spread = array<float>(s.B * s.C, width)).get();
    s.tail = tail.data();
    s.allowed = draw(random, 0, s.k * kUnit);
  }

  void draw_filters(Random& random) {
    Search& s = search;
    const int64_t L = draw(random, 1, 5), K = draw(random, 1, 3), P = 2 * L, T = 20;
    auto row = [&] { return draw(random, -1, s.R); };  // also rows that are not there
    plan.rows = (rows = array<int32_t>(s.B * L * K, row)).get();
    plan.modes = (modes = array<int32_t>(s.B * L, [&] { return draw(random, 0, 3); })).get();
    plan.leaves = L, plan.terms = K, plan.tokens = P;
    program = array<int32_t>(s.B * P, [] { return -3; });
    for (int64_t b = 0; b < s.B; ++b) {
      int64_t left = draw(random, 0, L), height = 0;
      for (int32_t* token = program.get() + b * P; left || height > 1; ++token) {
        if (left && (height < 2 || draw(random, 0, 1))) {
          *token = static_cast<int32_t>(draw(random, 0, L - 1));
          --left, ++height;
        } else {
          *token = static_cast<int32_t>(draw(random, -2, -1));
          --height;
        }
      }
    }
    plan.program = program.get();
    s.plan = &plan;
    if (!draw(random, 0, 2)) return;
    const int64_t lists = s.C * s.S;
    exact.term_count = 3 * lists, exact.leaves = L;
    terms = array<int32_t>(exact.term_count, [&] { return draw(random, 0, T); });
    spans = std::make_unique<int32_t[]>(2 * lists);
    for (int64_t i = 0; i < lists; ++i) {
      spans[2 * i] = static_cast<int32_t>(3 * i);
      spans[2 * i + 1] = static_cast<int32_t>(draw(random, 0, 3));
      std::sort(terms.get() + 3 * i, terms.get() + 3 * i + spans[2 * i + 1]);
    }
    exact.terms = terms.get(), exact.spans = spans.get();
    exact.leaf_terms = (leaf_terms = array<int32_t>(s.B * L, [&] { return draw(random, 0, T); })).get();
    exact.negated = (negated = array<bool>(s.B * L, [&] { return draw(random, 0, 1); })).get();
    exact.decided = (decided = array<bool>(s.B, [&] { return !draw(random, 0, 3); })).get();
    s.exact = &exact;
  }
};

bool bit(const uint32_t* words, int64_t slot) { return words[slot / kWord] >> (slot % kWord) & 1; }

// A program, one slot at a time.
template <class Leaf>
bool holds(const PlanArrays& plan, int64_t b, const Leaf& leaf) {
  std::vector<bool> stack{true};
  for (int64_t t = 0; t < plan.tokens; ++t) {
    const int32_t token = plan.program[b * plan.tokens + t];
    if (token >= 0) stack.push_back(leaf(token));
    if (token != kAndToken && token != kOrToken) continue;
    const bool top = stack.back();
    stack.pop_back();
    stack.back() = token == kAndToken ? stack.back() && top : stack.back() || top;
  }
  return stack.back();
}

bool admitted(const Search& s, int64_t b, int64_t c, int64_t slot) {
  const uint32_t* words = s.words + c * s.W;
  if (!bit(words, slot)) return false;
  for (int64_t x = 0; x < s.X; ++x) {
    if (s.excluded[b * s.X + x] == c * s.S + slot) return false;
  }
  if (!s.plan) return true;
  return holds(*s.plan, b, [&](int64_t leaf) {
    const int64_t at = b * s.plan->leaves + leaf;
    bool all = true;
    for (int64_t k = 0; k < s.plan->terms; ++k) {
      const int64_t row = clamp(s.plan->rows[at * s.plan->terms + k], s.R);
      all = all && bit(words + row * s.C * s.W, slot);
    }
    const int32_t mode = s.plan->modes[at];
    return mode == 0 ? all : mode == 1 ? !all : mode == 2;
  });
}

bool passes(const Search& s, int64_t b, int64_t slot) {
  if (!s.exact || s.exact->decided[b]) return true;
  const int32_t* span = s.exact->spans + 2 * slot;
  const std::set<int32_t> own(s.exact->terms + span[0], s.exact->terms + span[0] + span[1]);
  return holds(*s.plan, b, [&](int64_t leaf) {
    const int64_t at = b * s.exact->leaves + leaf;
    return own.count(s.exact->leaf_terms[at]) != s.exact->negated[at];
  });
}

float score(const Search& s, int64_t b, int64_t slot) {
  int32_t dot = 0;
  for (int64_t d = 0; d < s.D; ++d) dot += s.codes[slot * s.D + d] * s.queries[b * s.D + d];
  return static_cast<float>(dot) * s.scales[slot] * s.query_scales[b] + 0.0f;
}

void expect(bool right, const char* what, const Kernels& kernels, int round) {
  if (right) return;
  std::fprintf(stderr, "round %d, %s: wrong %s\n", round, kernels.name, what);
  std::exit(1);
}

bool filtered(const Search& s, int64_t b) {
  for (int64_t t = 0; s.plan && t < s.plan->tokens; ++t) {
    if (s.plan->program[b * s.plan->tokens + t] >= 0) return true;
  }
  return false;
}

// Slots of each cluster that the words admit.
std::vector<int64_t> counts_of(Search s, int64_t b) {
  s.X = 0;
  std::vector<int64_t> counts(s.C);
  for (int64_t c = 0; s.words && c < s.C; ++c) {
    for (int64_t i = 0; i < s.S; ++i) counts[c] += admitted(s, b, c, i);
  }
  return counts;
}

// The clusters to have visited before asking again, after `at` of them.
int64_t further(const Search& s, int64_t b, const std::vector<int64_t>& order,
                const std::vector<int64_t>& counts, int64_t at, bool enough, float least) {
  std::vector<int64_t> expected;
  int64_t passed = 0, left = 0;
  for (size_t n = 0; n < order.size(); ++n) {
    const int64_t at_pair = b * s.C + order[n];
    const float deviations = (least - s.affinity[at_pair]) / s.spread[at_pair];
    const double step = std::clamp(std::floor(8.0 * deviations), -40.0, 39.0);
    expected.push_back(counts[order[n]] * tail[static_cast<int>(step) + 40]);
    if (static_cast<int64_t>(n) < at) passed += counts[order[n]];
    else left += expected.back();
  }
  int64_t goal = at;
  for (int64_t gathered = passed; goal < static_cast<int64_t>(order.size()); ++goal) {
    if ((enough && left <= s.allowed) || gathered >= 4 * passed) break;
    gathered += counts[order[goal]];
    left -= expected[goal];
  }
  return goal;
}

void check(const Search& s, const Kernels& kernels, int round) {
  for (int64_t b = 0; b < s.B; ++b) {
    std::vector<std::pair<float, std::pair<int64_t, int64_t>>> found;  // -score, key, slot
    int64_t live = 0, eligible = 0;
    std::vector<int64_t> order;
    const bool adaptive = s.spread && filtered(s, b);
    const auto counts = counts_of(s, b);
    for (int64_t c = 0; s.affinity && c < s.C; ++c) {
      if (s.affinity[b * s.C + c] == kNone) continue;
      if (!adaptive || counts[c]) {
        order.push_back(c);
        continue;
      }
      for (int64_t i = 0; i < s.S; ++i) live += bit(s.words + c * s.W, i);
    }
    std::stable_sort(order.begin(), order.end(), [&](int64_t one, int64_t two) {
      return s.affinity[b * s.C + one] > s.affinity[b * s.C + two];
    });
    const auto length = std::min<int64_t>(s.most, order.size());
    for (int64_t n = 0, goal = std::min(s.N, length); n < goal;) {
      for (int64_t i = 0; i < s.S; ++i) {
        const int64_t slot = order[n] * s.S + i;
        live += bit(s.words + order[n] * s.W, i);
        if (!admitted(s, b, order[n], i)) continue;
        ++eligible;
        if (passes(s, b, slot)) found.push_back({-score(s, b, slot), {slot, slot}});
      }
      if (++n < goal) continue;
      const bool enough = static_cast<int64_t>(found.size()) >= s.k;
      if (!adaptive) {
        if (!enough) goal = std::min(n + s.N, length);
        continue;
      }
      std::sort(found.begin(), found.end());
      const float least = enough ? 0.0f - found[s.k - 1].first : 0.0f;
      goal = std::min(length, further(s, b, order, counts, n, enough, least));
    }
    for (int64_t n = 0; s.eligible && n < s.N; ++n) {
      const int64_t c = s.clusters[b * s.N + n];
      for (int64_t i = 0; c >= 0 && c < s.C && i < s.S; ++i) {
        if (!bit(s.eligible + (b * s.N + n) * s.W, i)) continue;
        found.push_back({-score(s, b, c * s.S + i), {n * s.S + i, c * s.S + i}});
      }
    }
    std::sort(found.begin(), found.end());
    for (int64_t i = 0; i < s.k; ++i) {
      const bool there = i < static_cast<int64_t>(found.size());
      const float wanted = there ? 0.0f - found[i].first : kNone;
      int64_t slot = there ? found[i].second.second : -1;
      if (there && s.names) slot = s.names[slot];
      expect(s.slots[b * s.k + i] == slot, "slot", kernels, round);
      expect(s.scores[b * s.k + i] == wanted, "score", kernels, round);
    }
    if (!s.affinity) continue;
    expect(s.live_count[b] == live, "count of live slots", kernels, round);
    expect(s.eligible_count[b] == eligible, "count of eligible slots", kernels, round);
  }
}

void check_top(Random& random, const Kernels& kernels, int round) {
  const int64_t n = draw(random, 1, 900), k = draw(random, 1, n);
  const auto row = array<float>(n, [&] { return draw(random, -50, 50) / 8.0f; });
  Collector collector(k, n);
  collector.take_row(kernels, row.get(), n);
  std::vector<int64_t> order(n);
  for (int64_t i = 0; i < n; ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return row[a] > row[b]; });
  const std::vector<uint64_t>& best = collector.sorted(kernels);
  expect(static_cast<int64_t>(best.size()) == k, "number of values", kernels, round);
  for (int64_t i = 0; i < k; ++i) {
    expect(Collector::key_of(best[i]) == order[i], "place of a value", kernels, round);
  }
}

// Eighths are added without rounding, in whichever order.
void check_gather(Random& random, const Kernels& kernels, int round) {
  const int64_t rows = draw(random, 1, 30), groups = draw(random, 1, 4), dim = draw(random, 1, 150);
  const int64_t count = draw(random, 1, 100), vectors = draw(random, 1, 5);
  const int64_t stride = count + draw(random, 0, 3);
  const auto codes = array<int8_t>(rows * groups * dim, [&] { return draw(random, -127, 127); });
  const auto scales = array<float>(rows * groups, [&] { return draw(random, 0, 8) / 4.0f; });
  const auto wanted = array<int32_t>(count, [&] { return draw(random, -2, rows + 1); });
  const auto vector =
      array<int8_t>(groups * vectors * dim, [&] { return draw(random, -127, 127); });
  const auto own = array<float>(groups * vectors, [&] { return draw(random, 0, 8) / 4.0f; });
  const auto weights = array<float>(vectors * count, [&] { return draw(random, -8, 8) / 4.0f; });
  const CodeTable table{codes.get(), scales.get(), rows, groups, dim};
  // The last row ends where the array does, not with its stride.
  const int64_t size = (groups * vectors - 1) * stride + count;
  const auto out = array<float>(size, [] { return kNone; });
  const Codes ready(vector.get(), groups * vectors, dim);
  gather_dots(kernels, table, wanted.get(), count, ready, own.get(), vectors, out.get(), stride);
  const auto sums = array<float>(groups * vectors * dim, [] { return kNone; });
  const auto room = array<float>(count * dim, [] { return kNone; });
  kernels.gather_sum(table, wanted.get(), count, weights.get(), vectors, room.get(), sums.get());
  for (int64_t v = 0; v < groups * vectors; ++v) {
    std::vector<float> right_sums(dim);
    for (int64_t i = 0; i < count; ++i) {
      float right = 0;
      if (wanted[i] >= 0 && wanted[i] < rows) {
        const int64_t at = wanted[i] * groups + v / vectors;
        for (int64_t d = 0; d < dim; ++d) {
          right += static_cast<float>(codes[at * dim + d] * vector[v * dim + d]);
          right_sums[d] += weights[v % vectors * count + i] * codes[at * dim + d] * scales[at];
        }
        right *= scales[at] * own[v];
      }
      expect(out[v * stride + i] == right, "product of a gathered row", kernels, round);
    }
    for (int64_t d = 0; d < dim; ++d) {
      expect(sums[v * dim + d] == right_sums[d], "sum of gathered rows", kernels, round);
    }
  }
}

}  // namespace
}  // namespace silver

int main(int argc, char** argv) {
  using namespace silver;
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 600;
  std::vector<std::thread> pool;
  const Threads threads{4, [&](std::function<void()> task) { pool.emplace_back(std::move(task)); }};
  for (const char* name : {"portable", "avx2", "avx512"}) {
    const Kernels* kernels = choose(name);
    if (!kernels) {
      std::printf("%s: not on this CPU\n", name);
      continue;
    }
    Random random(1);
    for (int round = 0; round < rounds; ++round) {
      const Case one(random);
      run(one.search, *kernels, round % 4 ? Threads{} : threads, /*bytes_per_thread=*/1000,
          /*kept_bytes=*/round % 3 ? 1 << 20 : 0);
      check(one.search, *kernels, round);
      check_top(random, *kernels, round);
      check_gather(random, *kernels, round);
      for (std::thread& thread : pool) thread.join();
      pool.clear();
    }
    std::printf("%s: %d searches right\n", name, rounds);
  }
}

#include "search.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "collector.h"

namespace silver {
namespace {

// Entries kept beyond k where the exact check may strike some out; a second scan is then rare.
constexpr int64_t kSpare = 32;
// Up to this many eligible slots of a word are scored one by one.
constexpr int kFew = 6;
// Bytes of codes between asking for them and reading them, and bytes that come at a time.
constexpr int64_t kAhead = 16 << 10, kLine = 64;
// Nearest clusters that all queries visit before the others, so that thresholds are high early.
constexpr int64_t kFirst = 1;
// Queries worth a task of their own; fewer share one, so that they share the codes they read.
constexpr int64_t kQueriesPerTask = 8;

struct Probe {
  int32_t query;  // within the task
  int32_t probe;
};

// The queries of a task, padded and widened.
class Codes {
 public:
  Codes(const Search& search, int64_t first, int64_t count) {
    const int64_t padded = (search.D + kQueryPadding - 1) / kQueryPadding * kQueryPadding;
    codes_.resize(count * padded);
    wide_.resize(count * padded);
    queries_.resize(count);
    for (int64_t q = 0; q < count; ++q) {
      int8_t* codes = codes_.data() + q * padded;
      std::memcpy(codes, search.queries + (first + q) * search.D, search.D);
      uint32_t sum = 0;
      for (int64_t d = 0; d < search.D; ++d) {
        wide_[q * padded + d] = codes[d];
        sum += static_cast<uint32_t>(static_cast<int32_t>(codes[d]));
      }
      queries_[q] = {codes, wide_.data() + q * padded, static_cast<int32_t>(0u - 128u * sum)};
    }
  }
  const QueryCodes& operator[](int64_t q) const { return queries_[q]; }

 private:
  std::vector<int8_t> codes_;
  std::vector<int16_t> wide_;
  std::vector<QueryCodes> queries_;
};

bool known(const Search& search, int32_t cluster) { return cluster >= 0 && cluster < search.C; }

// Clusters of query `b` that have an affinity, the highest first, `most` of them.
void nearest(const Search& search, const Kernels& kernels, int64_t b, int64_t most,
             std::vector<int32_t>& clusters) {
  clusters.clear();
  Collector collector(std::min(most, search.C), search.C);
  collector.take_row(kernels, search.affinity + b * search.C, search.C);
  for (const uint64_t packed : collector.sorted(kernels)) {
    if (Collector::score_of(packed) == -std::numeric_limits<float>::infinity()) break;
    clusters.push_back(static_cast<int32_t>(Collector::key_of(packed)));
  }
}

// Scans clusters for some queries.
class Scan {
 public:
  // `strict` checks every entry exactly before it can raise a threshold.
  Scan(const Search& search, const Kernels& kernels, int64_t first, int64_t count, bool strict)
      : search_(search),
        kernels_(kernels),
        first_(first),
        count_(count),
        strict_(strict),
        codes_(search, first, count),
        scratch_(kernels.scratch_bytes(search.D) + 64),
        live_(count),
        eligible_(count) {
    collectors_.reserve(count);
    for (int64_t q = 0; q < count; ++q) {
      const bool checked = !strict && search.exact && !search.exact->decided[first + q];
      collectors_.emplace_back(search.k + (checked ? kSpare : 0));
    }
    if (search.plan) {
      programs_.resize(count);
      for (int64_t q = 0; q < count; ++q) programs_[q].compile(*search.plan, first + q, search.R);
    }
    if (search.excluded) gather_excluded();
  }

  // The first probes of each query; of those `part`, `part + parts`, ...
  void probe_nearest(int64_t part, int64_t parts) {
    clusters_ = search_.clusters + first_ * search_.N;
    probes_per_query_ = search_.N;
    if (search_.affinity) {
      chosen_.assign(count_ * search_.N, -1);
      std::vector<int32_t> near;
      for (int64_t q = 0; q < count_; ++q) {
        nearest(search_, kernels_, first_ + q, search_.N, near);
        std::copy(near.begin(), near.end(), chosen_.begin() + q * search_.N);
      }
      clusters_ = chosen_.data();
    }
    // Two steps, the nearest clusters first: they raise the thresholds for the others.
    const int64_t near = std::min(search_.N, kFirst * parts);
    visit(part, near, parts);
    visit(near + part, search_.N, parts);
  }

  // More clusters, of a scan that has one query.
  void probe(const int32_t* clusters, int64_t count) {
    clusters_ = clusters;
    probes_per_query_ = count;
    visit(0, count, 1);
  }

  Collector& collector(int64_t q) { return collectors_[q]; }
  int64_t live(int64_t q) const { return live_[q]; }
  int64_t eligible(int64_t q) const { return eligible_[q]; }

 private:
  int32_t cluster_of(int64_t q, int64_t n) const {
    return clusters_[q * probes_per_query_ + n];
  }

  void visit(int64_t begin, int64_t end, int64_t step) {
    if (count_ == 1) {  // in the order of the probes, the nearest first
      for (int64_t n = begin; n < end; n += step) {
        const Probe probe{0, static_cast<int32_t>(n)};
        if (!known(search_, cluster_of(0, n))) continue;
        const int32_t next = n + step < end ? cluster_of(0, n + step) : -1;
        scan(cluster_of(0, n), known(search_, next) ? next : -1, &probe, 1);
      }
      return;
    }
    // By cluster, so that one is read once for all the queries that probe it (counting sort).
    starts_.assign(search_.C + 1, 0);
    for (int64_t q = 0; q < count_; ++q) {
      for (int64_t n = begin; n < end; n += step) {
        const int32_t cluster = cluster_of(q, n);
        if (known(search_, cluster)) ++starts_[cluster + 1];
      }
    }
    for (int64_t c = 0; c < search_.C; ++c) starts_[c + 1] += starts_[c];
    probes_.resize(starts_[search_.C]);
    for (int64_t q = 0; q < count_; ++q) {
      for (int64_t n = begin; n < end; n += step) {
        const int32_t cluster = cluster_of(q, n);
        if (known(search_, cluster)) {
          probes_[starts_[cluster]++] = {static_cast<int32_t>(q), static_cast<int32_t>(n)};
        }
      }
    }
    for (int64_t c = 0, from = 0; c < search_.C;) {  // starts_ are ends by now
      int64_t next = c + 1;
      while (next < search_.C && starts_[next] == starts_[c]) ++next;
      if (starts_[c] > from) {
        scan(static_cast<int32_t>(c), next < search_.C ? static_cast<int32_t>(next) : -1,
             probes_.data() + from, starts_[c] - from);
      }
      from = starts_[c];
      c = next;
    }
  }

  // The bits that each probe of a cluster admits.
  void find_eligible(int32_t cluster, const Probe* probes, int64_t count) {
    const int64_t W = search_.W;
    masks_.resize(count);
    if (search_.eligible) {
      for (int64_t i = 0; i < count; ++i) {
        masks_[i] = search_.eligible + ((first_ + probes[i].query) * search_.N + probes[i].probe) * W;
      }
      return;
    }
    const uint32_t* words = search_.words + int64_t{cluster} * search_.R * W;
    const int64_t live = bits(words);
    if (search_.plan || search_.excluded) own_.resize(count * W);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t q = probes[i].query;
      live_[q] += live;
      masks_[i] = words;
      if (!search_.plan && !search_.excluded) {
        eligible_[q] += live;
        continue;
      }
      uint32_t* own = own_.data() + i * W;
      if (search_.plan) {
        const Program& program = programs_[q];
        kernels_.evaluate(program.steps.data(), static_cast<int64_t>(program.steps.size()),
                          program.rows.data(), words, W, own);
      } else {
        std::memcpy(own, words, W * sizeof *own);
      }
      if (search_.excluded) exclude(q, cluster, own);
      eligible_[q] += bits(own);
      masks_[i] = own;
    }
  }

  uint32_t valid(int64_t w) const {
    const int64_t slots = search_.S - w * kWord;
    return slots >= kWord ? ~0u : (1u << slots) - 1;
  }

  int64_t bits(const uint32_t* words) const {
    int64_t count = 0;
    for (int64_t w = 0; w < search_.W; ++w) count += __builtin_popcount(words[w] & valid(w));
    return count;
  }

  // Slots to leave out, by query, ascending.
  void gather_excluded() {
    excluded_.resize(count_);
    for (int64_t q = 0; q < count_; ++q) {
      const int32_t* slots = search_.excluded + (first_ + q) * search_.X;
      std::copy_if(slots, slots + search_.X, std::back_inserter(excluded_[q]),
                   [](int32_t slot) { return slot >= 0; });
      if (!std::is_sorted(excluded_[q].begin(), excluded_[q].end())) {
        std::sort(excluded_[q].begin(), excluded_[q].end());
      }
    }
  }

  void exclude(int64_t q, int32_t cluster, uint32_t* words) {
    const int64_t from = cluster * search_.S;
    const std::vector<int32_t>& slots = excluded_[q];
    for (auto at = std::lower_bound(slots.begin(), slots.end(), from);
         at != slots.end() && *at < from + search_.S; ++at) {
      const int64_t s = *at - from;
      words[s / kWord] &= ~(1u << (s % kWord));
    }
  }

  // `next` is the cluster that comes afterwards, -1 for none.
  void scan(int32_t cluster, int32_t next, const Probe* probes, int64_t count) {
    find_eligible(cluster, probes, count);
    const float* scales = search_.scales + cluster * search_.S;
    uint8_t* scratch = scratch_.data();
    scratch += -reinterpret_cast<uintptr_t>(scratch) & 63;
    dense_.resize(count);
    whose_.resize(count);
    scores_.resize(count * kWord);
    if (next >= 0 && search_.words) {
      const uint32_t* words = search_.words + int64_t{next} * search_.R * search_.W;
      for (int64_t w = 0; w < search_.W; w += kLine / 4) __builtin_prefetch(words + w);
    }
    const int64_t ahead = std::max<int64_t>(1, kAhead / (kWord * search_.D));
    for (int64_t w = 0; w < search_.W; ++w) {
      const int64_t at = w * kWord;
      const uint32_t inside = valid(w);
      const Rows rows{search_.codes + (cluster * search_.S + at) * search_.D, search_.D,
                      static_cast<int>(std::min<int64_t>(kWord, search_.S - at))};
      prefetch(cluster, next, w + ahead, count);
      int dense = 0;
      for (int64_t i = 0; i < count; ++i) {
        const uint32_t mask = masks_[i][w] & inside;
        if (!mask) continue;
        const int64_t q = probes[i].query;
        // Written field by field where it is read: a copy would wait for the stores.
        Job& job = dense_[dense];
        job.query = &codes_[q];
        job.scale = search_.query_scales[first_ + q];
        job.threshold = collectors_[q].threshold;
        job.mask = mask;
        if (__builtin_popcount(mask) > kFew) {
          whose_[dense++] = static_cast<int32_t>(i);
          continue;
        }
        kernels_.score_few(rows, scales + at, &job, scores_.data());
        if (job.passed) append(cluster, probes[i], at, job.passed, scores_.data());
      }
      if (dense == 0) continue;
      kernels_.score(rows, scales + at, dense_.data(), dense, scratch, scores_.data());
      for (int j = 0; j < dense; ++j) {
        if (!dense_[j].passed) continue;
        append(cluster, probes[whose_[j]], at, dense_[j].passed, scores_.data() + j * kWord);
      }
    }
  }

  // Asks for the rows of a word ahead of time: clusters lie far apart, and the CPU's own guesses
  // end at the page. Past the last word it is the next cluster's turn.
  void prefetch(int32_t cluster, int32_t next, int64_t w, int64_t count) const {
    const bool all = !search_.plan && !search_.eligible;  // or nearly
    uint32_t wanted = all ? ~0u : 0u;
    if (w >= search_.W) {
      // What the next cluster admits is not known yet, unless it is all.
      if (next < 0 || !all) return;
      cluster = next;
      w -= search_.W;
      if (w >= search_.W) return;
    } else if (!all) {
      for (int64_t i = 0; i < count; ++i) wanted |= masks_[i][w];
    }
    const int64_t first = cluster * search_.S + w * kWord;
    const int8_t* codes = search_.codes + first * search_.D;
    __builtin_prefetch(search_.scales + first);
    __builtin_prefetch(search_.scales + first + kWord / 2);
    for (wanted &= valid(w); wanted; wanted &= wanted - 1) {
      const int8_t* row = codes + __builtin_ctz(wanted) * search_.D;
      for (int64_t d = 0; d < search_.D; d += kLine) __builtin_prefetch(row + d);
    }
  }

  void append(int32_t cluster, const Probe& probe, int64_t at, uint32_t passed,
              const float* scores) {
    Collector& collector = collectors_[probe.query];
    const int64_t place = search_.eligible ? probe.probe : cluster;
    const auto key = static_cast<uint32_t>(place * search_.S + at);
    kernels_.append(scores, passed, key, collector.score_end(), collector.key_end());
    const int64_t before = collector.count();
    collector.added(__builtin_popcount(passed));
    if (strict_) {
      collector.filter(before, [&](uint32_t slot) {
        return admits(*search_.exact, *search_.plan, first_ + probe.query, slot);
      });
    }
    if (collector.full()) collector.select(kernels_);
  }

  const Search& search_;
  const Kernels& kernels_;
  const int64_t first_, count_;
  const bool strict_;
  const Codes codes_;
  std::vector<Collector> collectors_;
  std::vector<Program> programs_;
  std::vector<std::vector<int32_t>> excluded_;
  std::vector<uint8_t> scratch_;
  std::vector<int64_t> live_, eligible_;
  const int32_t* clusters_ = nullptr;  // [count, probes_per_query_]
  int64_t probes_per_query_ = 0;
  std::vector<int32_t> chosen_;
  // Of the cluster at hand.
  std::vector<int64_t> starts_;
  std::vector<Probe> probes_;
  std::vector<const uint32_t*> masks_;
  std::vector<uint32_t> own_;
  std::vector<Job> dense_;      // the queries that want much of a word
  std::vector<int32_t> whose_;  // which of the probes they are
  std::vector<float> scores_;
};

// Turns what was collected for query `b` into its answer.
class Finish {
 public:
  Finish(const Search& search, const Kernels& kernels, int64_t b)
      : search_(search), kernels_(kernels), b_(b),
        checked_(search.exact && !search.exact->decided[b]) {}

  int64_t live = 0, eligible = 0;  // slots counted so far

  void run(Collector& collector) {
    write(collector.sorted(kernels_), checked_);
    if (checked_ && found_ < search_.k && collector.dropped()) {
      // The check struck out more than there was to spare: again, checking what enters.
      Scan again(search_, kernels_, b_, 1, true);
      again.probe_nearest(0, 1);
      write(again.collector(0).sorted(kernels_), false);
    }
    if (search_.affinity && found_ < search_.k) probe_further();
    std::fill(scores() + found_, scores() + search_.k, -std::numeric_limits<float>::infinity());
    std::fill(slots() + found_, slots() + search_.k, -1);
  }

 private:
  float* scores() const { return search_.scores + b_ * search_.k; }
  int32_t* slots() const { return search_.slots + b_ * search_.k; }

  void write(const std::vector<uint64_t>& order, bool check) {
    found_ = 0;
    for (const uint64_t packed : order) {
      if (found_ == search_.k) break;
      int64_t slot = Collector::key_of(packed);
      if (search_.eligible) {
        const int64_t cluster = search_.clusters[b_ * search_.N + slot / search_.S];
        slot = cluster * search_.S + slot % search_.S;
      }
      if (check && !admits(*search_.exact, *search_.plan, b_, slot)) continue;
      scores()[found_] = Collector::score_of(packed);
      slots()[found_++] = static_cast<int32_t>(slot);
    }
  }

  void probe_further() {
    const int64_t most = std::min(search_.most, search_.C);
    if (most <= search_.N) return;
    Scan scan(search_, kernels_, b_, 1, checked_);
    Collector& collector = scan.collector(0);
    for (int64_t i = 0; i < found_; ++i) {
      collector.add(scores()[i], static_cast<uint32_t>(slots()[i]));
    }
    std::vector<int32_t> clusters;
    int64_t at = search_.N, sorted = search_.N;
    while (at < most && collector.count() < search_.k) {
      if (at == sorted) {  // few filters need many clusters: sort as far as this one goes
        sorted = std::min(most, 4 * sorted);
        nearest(search_, kernels_, b_, sorted, clusters);
      }
      const int64_t end = std::min<int64_t>({at + search_.N, most, sorted});
      const auto known = static_cast<int64_t>(clusters.size());
      if (at >= known) break;
      scan.probe(clusters.data() + at, std::min(end, known) - at);
      at = end;
    }
    live += scan.live(0);
    eligible += scan.eligible(0);
    write(collector.sorted(kernels_), false);
  }

  const Search& search_;
  const Kernels& kernels_;
  const int64_t b_;
  const bool checked_;
  int64_t found_ = 0;
};

}  // namespace

void run(const Search& search, const Kernels& kernels, const Threads& threads,
         int64_t bytes_per_thread) {
  if (search.B == 0) return;
  const int64_t bytes = search.B * search.N * search.S * search.D;
  const int64_t useful = std::clamp<int64_t>(bytes / bytes_per_thread, 1, threads.count);
  const int64_t groups = std::min(useful, (search.B + kQueriesPerTask - 1) / kQueriesPerTask);
  const int64_t parts = std::clamp<int64_t>(useful / groups, 1, std::max<int64_t>(1, search.N));
  auto first_of = [&](int64_t group) { return search.B * group / groups; };
  std::vector<std::optional<Scan>> scans(groups * parts);
  parallel_for(threads, groups * parts, [&](int64_t task) {
    const int64_t group = task / parts, first = first_of(group);
    std::optional<Scan>& scan = scans[task];
    scan.emplace(search, kernels, first, first_of(group + 1) - first, false);
    scan->probe_nearest(task % parts, parts);
  });
  // One by one: a query whose filter leaves little may have far to go.
  parallel_for({useful, threads.schedule}, search.B, [&](int64_t b) {
    int64_t group = b * groups / search.B;
    while (first_of(group + 1) <= b) ++group;
    const int64_t q = b - first_of(group);
    Collector& collector = scans[group * parts]->collector(q);
    Finish finish(search, kernels, b);
    for (int64_t part = 0; part < parts; ++part) {
      Scan& scan = *scans[group * parts + part];
      if (part) collector.take(kernels, scan.collector(q));
      finish.live += scan.live(q);
      finish.eligible += scan.eligible(q);
    }
    finish.run(collector);
    if (search.live_count) search.live_count[b] = static_cast<int32_t>(finish.live);
    if (search.eligible_count) search.eligible_count[b] = static_cast<int32_t>(finish.eligible);
  });
}

}  // namespace silver

// Scans clusters for some queries: eligibility, int8 scores and the best k, cluster by cluster.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bit_rows.h"
#include "codes.h"
#include "collector.h"
#include "course.h"
#include "search.h"

namespace silver {

// Entries kept beyond k where the exact check may strike some out; a second scan is then rare.
constexpr int64_t kSpare = 32;
// Up to this many eligible slots of a word are picked out and scored with others that lie elsewhere,
// kPicked at a time: enough of them that the rows asked for first have come.
constexpr int kFew = 6, kPicked = 128;
// Up to this many eligible slots per word of a whole cluster are picked out without a scan.
constexpr int64_t kSparse = 4;
// Probes between asking for their words and reading them.
constexpr int64_t kProbesAhead = 16;
// Bytes of codes between asking for them and reading them, and bytes that come at a time.
constexpr int64_t kAhead = 8 << 10, kLine = 64;
// Nearest clusters that all queries visit before the others, so that thresholds are high early.
constexpr int64_t kFirst = 1;

struct Probe {
  int32_t query;  // within the task
  int32_t probe;
};

// What the filters admit everywhere, counted before the first visit.
struct Counted {
  std::unique_ptr<int32_t[]> live;       // [C]: slots that hold something
  std::unique_ptr<int32_t[]> slots;      // [B, C]: slots that pass
  std::unique_ptr<uint32_t[]> admitted;  // [B, C, W], their bits; null where those are too many
};

// A cluster at hand, the probes that want much of it, and what each of them admits.
struct Visit {
  int32_t cluster = -1;  // none
  std::vector<Probe> probes;
  std::vector<const uint32_t*> masks;
  std::vector<uint32_t> own;  // masks that are not kept elsewhere
};

inline bool known(const Search& search, int32_t cluster) { return cluster >= 0 && cluster < search.C; }

// Keeps the entries from `from` on that pass the filter of query `b`.
inline void filter_exactly(const Search& search, int64_t b, int64_t from, Collector& found) {
  found.filter(
      from,
      [&](const uint32_t* slots, int64_t count) { bring(*search.exact, slots, count); },
      [&](uint32_t slot) { return admits(*search.exact, *search.plan, b, slot); });
}

// One query across the tasks that scan for it.
struct Query {
  Query(Course course, const Search& search, int64_t b)
      : course(std::move(course)),
        best(search.k),
        checked(search.exact && !search.exact->decided[b]) {}

  static bool filtered(const Search& search, int64_t b) {
    if (!search.plan) return false;
    const int32_t* program = search.plan->program + b * search.plan->tokens;
    return std::any_of(program, program + search.plan->tokens, [](int32_t t) { return t >= 0; });
  }

  // The score that an entry must reach to matter.
  float threshold(int64_t k) const {
    return best.count() < k ? std::numeric_limits<float>::lowest() : best.least();
  }

  Course course;
  Collector best;  // of what was found so far, each entry checked
  bool checked;    // the words alone do not decide its filter
};

// Scans clusters for some queries.
class Scan {
 public:
  // `strict` checks every entry exactly before it can raise a threshold.
  Scan(const Search& search, const Kernels& kernels, const Counted& counted, int64_t first,
       int64_t count, bool strict)
      : search_(search),
        kernels_(kernels),
        counted_(counted),
        bits_(kernels, search.words, search.R, search.C * search.W),
        first_(first),
        count_(count),
        strict_(strict),
        codes_(search.queries + first * search.D, count, search.D),
        scratch_(kernels.scratch_bytes(search.D) + 64),
        live_(count),
        eligible_(count),
        picked_(count) {
    collectors_.reserve(count);
    for (int64_t q = 0; q < count; ++q) {
      filtered_.push_back(Query::filtered(search, first + q));
      const bool checked = !strict && search.exact && !search.exact->decided[first + q];
      collectors_.emplace_back(search.k + (checked ? kSpare : 0));
    }
    if (search.plan) {
      programs_.resize(count);
      for (int64_t q = 0; q < count; ++q) programs_[q].compile(*search.plan, first + q, search.R);
    }
    if (search.excluded) gather_excluded();
  }

  // Counts what the filters admit in each of the clusters [begin, end). Some clusters at a time, so
  // that queries that read the same rows find them in the cache.
  void count(int64_t begin, int64_t end) {
    std::vector<int64_t> read;
    int64_t together = end - begin;
    if (count_ > 1) {
      read = bits_.read_by(programs_);
      together = std::max<int64_t>(1, BitRows::together(read.size()) / search_.W);
    }
    std::vector<uint32_t> own;
    for (int64_t c = begin; c < end; c += together) {
      const int64_t clusters = std::min(together, end - c);
      bits_.bring(read, c * search_.W, clusters * search_.W);
      if (first_ == 0) {
        kernels_.count_bits(search_.words + c * search_.W, clusters, search_.W,
                            valid(search_.W - 1), counted_.live.get() + c);
      }
      for (int64_t q = 0; q < count_; ++q) {
        const int64_t b = first_ + q;
        if (!filtered_[q]) continue;
        uint32_t* out = kept(q, c);
        if (!out) {
          own.resize(together * search_.W);
          out = own.data();
        }
        evaluate(q, c, clusters, out);
        kernels_.count_bits(out, clusters, search_.W, valid(search_.W - 1),
                            counted_.slots.get() + b * search_.C + c);
      }
    }
  }

  // What the courses of the queries have next; of those clusters `part`, `part + parts`, ... Those of
  // a query alone are taken in turns, as a thread that had to be woken comes late.
  void visit(const std::vector<std::optional<Query>>& queries, int64_t part, int64_t parts,
             std::atomic<int64_t>& turn) {
    clusters_.resize(count_);
    ends_.resize(count_);
    int64_t near = 0;
    for (int64_t q = 0; q < count_; ++q) {
      const Query& query = *queries[first_ + q];
      clusters_[q] = query.course.clusters();
      ends_[q] = query.course.count();
      collectors_[q].restart(query.threshold(search_.k));
      if (query.course.first()) near = kFirst * parts;
    }
    if (count_ == 1) {
      visit_in_turns(turn);
      return;
    }
    // Two steps at first, the nearest clusters before the others: they raise the thresholds.
    visit_by_cluster(part, near, parts);
    visit_by_cluster(near + part, std::numeric_limits<int64_t>::max(), parts);
  }

  Collector& collector(int64_t q) { return collectors_[q]; }
  int64_t live(int64_t q) const { return live_[q]; }
  int64_t eligible(int64_t q) const { return eligible_[q]; }

 private:
  // In the order of the probes, the nearest first.
  void visit_in_turns(std::atomic<int64_t>& turn) {
    for (int64_t n; (n = turn.fetch_add(1, std::memory_order_relaxed)) < ends_[0];) {
      if (!known(search_, clusters_[0][n])) continue;
      const Probe probe{0, static_cast<int32_t>(n)};
      meet(clusters_[0][n], &probe, 1, 1);
    }
    end_visits();
  }

  // Scans what was prepared last.
  void end_visits() {
    next_.cluster = -1;
    if (now_.cluster >= 0) scan();
    now_.cluster = -1;
    for (int64_t q = 0; q < count_; ++q) score_picked(q);
  }

  // Prepares a cluster and scans the one before it, so that what comes next is known by then.
  // `ahead`: probes from the first of this cluster on, those of later clusters with them.
  void meet(int32_t cluster, const Probe* probes, int64_t count, int64_t ahead) {
    next_.cluster = cluster;
    find_eligible(next_, probes, count, ahead);
    if (next_.probes.empty()) return;
    if (now_.cluster >= 0) scan();
    std::swap(now_, next_);
  }

  // Clusters [begin, end) of each query that has so many, in steps. One is read once for all the
  // queries that probe it (counting sort).
  void visit_by_cluster(int64_t begin, int64_t end, int64_t step) {
    starts_.assign(search_.C + 1, 0);
    for (int64_t q = 0; q < count_; ++q) {
      for (int64_t n = begin; n < std::min(end, ends_[q]); n += step) {
        const int32_t cluster = clusters_[q][n];
        if (known(search_, cluster)) ++starts_[cluster + 1];
      }
    }
    for (int64_t c = 0; c < search_.C; ++c) starts_[c + 1] += starts_[c];
    probes_.resize(starts_[search_.C]);
    for (int64_t q = 0; q < count_; ++q) {
      for (int64_t n = begin; n < std::min(end, ends_[q]); n += step) {
        const int32_t cluster = clusters_[q][n];
        if (known(search_, cluster)) {
          probes_[starts_[cluster]++] = {static_cast<int32_t>(q), static_cast<int32_t>(n)};
        }
      }
    }
    for (int64_t c = 0, from = 0; c < search_.C;) {  // starts_ are ends by now
      int64_t next = c + 1;
      while (next < search_.C && starts_[next] == starts_[c]) ++next;
      if (starts_[c] > from) {
        meet(static_cast<int32_t>(c), probes_.data() + from, starts_[c] - from,
             static_cast<int64_t>(probes_.size()) - from);
      }
      from = starts_[c];
      c = next;
    }
    end_visits();
  }

  // The bits that each probe of a cluster admits; where they are few, they are picked out at once.
  void find_eligible(Visit& visit, const Probe* probes, int64_t count, int64_t ahead) {
    const int64_t W = search_.W;
    visit.probes.clear();
    visit.masks.clear();
    const auto add = [&](const Probe& probe, const uint32_t* mask) {
      visit.probes.push_back(probe);
      visit.masks.push_back(mask);
    };
    if (search_.eligible) {
      for (int64_t i = 0; i < count; ++i) {
        const int64_t probe = (first_ + probes[i].query) * search_.N + probes[i].probe;
        add(probes[i], search_.eligible + probe * W);
      }
      return;
    }
    const uint32_t* words = search_.words + visit.cluster * W;
    const int64_t live = counted_.live ? counted_.live[visit.cluster] : bits(words);
    if (search_.plan || search_.excluded) visit.own.resize(count * W);
    for (int64_t i = 0; i < count; ++i) {
      if (counted_.admitted && i + kProbesAhead < ahead) {
        const Probe& later = probes[i + kProbesAhead];
        __builtin_prefetch(kept(later.query, clusters_[later.query][later.probe]));
      }
      const int64_t q = probes[i].query;
      uint32_t* own = visit.own.data() + i * W;
      const uint32_t* mask = search_.plan ? kept(q, visit.cluster) : words;
      if (!mask) {
        evaluate(q, visit.cluster, 1, own);
        mask = own;
      }
      if (search_.excluded) {
        if (mask != own) std::memcpy(own, mask, W * sizeof *own);
        exclude(q, visit.cluster, own);
        mask = own;
      }
      const int64_t eligible = mask == words ? live : bits(mask);
      live_[q] += live;
      eligible_[q] += eligible;
      if (eligible > kSparse * W) {
        add(probes[i], mask);
        continue;
      }
      for (int64_t w = 0; w < W; ++w) {
        if (const uint32_t some = mask[w] & valid(w)) pick(visit.cluster, probes[i], w * kWord, some);
      }
    }
  }

  // Runs the program of a query over some clusters.
  void evaluate(int64_t q, int64_t cluster, int64_t clusters, uint32_t* out) const {
    bits_.evaluate(programs_[q], cluster * search_.W, clusters * search_.W, out);
  }

  // The words of a cluster that the count keeps; null where it does not.
  uint32_t* kept(int64_t q, int64_t cluster) const {
    if (!counted_.admitted || !filtered_[q]) return nullptr;
    return counted_.admitted.get() + ((first_ + q) * search_.C + cluster) * search_.W;
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

  void scan() {
    const int32_t cluster = now_.cluster;
    const float* scales = search_.scales + cluster * search_.S;
    uint8_t* scratch = scratch_.data();
    scratch += -reinterpret_cast<uintptr_t>(scratch) & 63;
    const auto count = static_cast<int64_t>(now_.probes.size());
    dense_.resize(count);
    whose_.resize(count);
    scores_.resize(count * kWord);
    const int64_t ahead = std::max<int64_t>(1, kAhead / (kWord * search_.D));
    for (int64_t w = 0; w < search_.W; ++w) {
      const int64_t at = w * kWord;
      const uint32_t inside = valid(w);
      const Rows rows{search_.codes + (cluster * search_.S + at) * search_.D, search_.D,
                      static_cast<int>(std::min<int64_t>(kWord, search_.S - at))};
      prefetch(w + ahead);
      int dense = 0;
      for (int64_t i = 0; i < count; ++i) {
        const uint32_t mask = now_.masks[i][w] & inside;
        if (!mask) continue;
        const int64_t q = now_.probes[i].query;
        if (__builtin_popcount(mask) <= kFew) {
          pick(cluster, now_.probes[i], at, mask);
          continue;
        }
        // Written field by field where it is read: a copy would wait for the stores.
        Job& job = dense_[dense];
        job.query = &codes_[q];
        job.scale = search_.query_scales[first_ + q];
        job.threshold = collectors_[q].threshold;
        job.mask = mask;
        whose_[dense++] = static_cast<int32_t>(i);
      }
      if (dense == 0) continue;
      kernels_.score(rows, scales + at, dense_.data(), dense, scratch, scores_.data());
      for (int j = 0; j < dense; ++j) {
        if (!dense_[j].passed) continue;
        append(cluster, now_.probes[whose_[j]], at, dense_[j].passed, scores_.data() + j * kWord);
      }
    }
  }

  // Asks for the rows of a word ahead of time: clusters lie far apart, and the CPU's own guesses
  // end at the page, whose address one load has to find out for the prefetches that follow it. Past
  // the last word it is the next cluster's turn.
  void prefetch(int64_t w) const {
    const bool later = w >= search_.W;
    const Visit& visit = later ? next_ : now_;
    if (later) w -= search_.W;
    if (visit.cluster < 0 || w >= search_.W) return;
    uint32_t wanted = 0;
    for (size_t i = 0; i < visit.masks.size() && ~wanted; ++i) {
      const uint32_t mask = visit.masks[i][w];
      if (__builtin_popcount(mask) > kFew) wanted |= mask;
    }
    if (!wanted) return;
    const int64_t first = visit.cluster * search_.S + w * kWord;
    const int8_t* codes = search_.codes + first * search_.D;
    touch(codes);
    touch(search_.scales + first);
    __builtin_prefetch(search_.scales + first);
    __builtin_prefetch(search_.scales + first + kWord / 2);
    for (wanted &= valid(w); wanted; wanted &= wanted - 1) {
      const int8_t* row = codes + __builtin_ctz(wanted) * search_.D;
      for (int64_t d = 0; d < search_.D; d += kLine) __builtin_prefetch(row + d);
    }
  }

  // Sets the slots of a mask aside, and asks for what scoring them will read.
  void pick(int32_t cluster, const Probe& probe, int64_t at, uint32_t mask) {
    Picked& picked = picked_[probe.query];
    for (; mask; mask &= mask - 1) {
      const int64_t s = at + __builtin_ctz(mask), slot = cluster * search_.S + s;
      const int8_t* row = search_.codes + slot * search_.D;
      for (int64_t d = 0; d < search_.D; d += kLine) __builtin_prefetch(row + d);
      __builtin_prefetch(search_.scales + slot);
      picked.slots[picked.count] = static_cast<uint32_t>(slot);
      picked.keys[picked.count++] = key_of(cluster, probe, s);
    }
    // Queries that take turns share the rows of a cluster, which is at hand as long as it lasts.
    if (picked.count > (count_ == 1 ? kPicked : kWord)) score_picked(probe.query);
  }

  void score_picked(int64_t q) {
    Picked& picked = picked_[q];
    Collector& collector = collectors_[q];
    float scores[kWord];
    for (int from = 0; from < picked.count; from += kWord) {
      const int count = std::min(picked.count - from, kWord);
      const uint32_t all = ~0u >> (kWord - count);
      Job job{&codes_[q], search_.query_scales[first_ + q], collector.threshold, all, 0};
      kernels_.score_picked(search_.codes, search_.D, search_.scales, picked.slots + from, count,
                            &job, 1, scores);
      const int64_t before = collector.count();
      for (; job.passed; job.passed &= job.passed - 1) {
        const int i = __builtin_ctz(job.passed);
        collector.add(scores[i], picked.keys[from + i]);
      }
      settle(q, before);
    }
    picked.count = 0;
  }

  uint32_t key_of(int32_t cluster, const Probe& probe, int64_t s) const {
    return static_cast<uint32_t>((search_.eligible ? probe.probe : cluster) * search_.S + s);
  }

  void append(int32_t cluster, const Probe& probe, int64_t at, uint32_t passed,
              const float* scores) {
    Collector& collector = collectors_[probe.query];
    kernels_.append(scores, passed, key_of(cluster, probe, at), collector.score_end(),
                    collector.key_end());
    const int64_t before = collector.count();
    collector.added(__builtin_popcount(passed));
    settle(probe.query, before);
  }

  // After entries were added.
  void settle(int64_t q, int64_t before) {
    Collector& collector = collectors_[q];
    if (strict_) {
      filter_exactly(search_, first_ + q, before, collector);
    }
    if (collector.full()) collector.select(kernels_);
  }

  struct Picked {
    int count = 0;
    uint32_t slots[kPicked + kWord], keys[kPicked + kWord];
  };

  const Search& search_;
  const Kernels& kernels_;
  const Counted& counted_;
  const BitRows bits_;
  const int64_t first_, count_;
  const bool strict_;
  const Codes codes_;
  std::vector<char> filtered_;
  std::vector<Collector> collectors_;
  std::vector<Program> programs_;
  std::vector<std::vector<int32_t>> excluded_;
  std::vector<uint8_t> scratch_;
  std::vector<int64_t> live_, eligible_;
  std::vector<Picked> picked_;
  std::vector<const int32_t*> clusters_;  // of each query, those to visit now
  std::vector<int64_t> ends_;             // and how many
  std::vector<int64_t> starts_;
  std::vector<Probe> probes_;
  Visit now_, next_;
  // Of the cluster at hand.
  std::vector<Job> dense_;      // the queries that want much of a word
  std::vector<int32_t> whose_;  // which of the probes they are
  std::vector<float> scores_;
};

}  // namespace silver

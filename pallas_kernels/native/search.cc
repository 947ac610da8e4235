#include "search.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "scan.h"

namespace silver {
namespace {

// Queries worth a task of their own; fewer share one, so that they share the codes they read.
constexpr int64_t kQueriesPerTask = 8;
// Bytes that could be scanned while one cluster finds its place in the order of visiting, and while
// one of the best is found among the candidates.
constexpr int64_t kOrderBytes = 128, kSelectBytes = 1024;

// A whole search: rounds of scanning by tasks, after each of which every query decides how to go on.
class Rounds {
 public:
  Rounds(const Search& search, const Kernels& kernels, const Threads& threads,
         int64_t bytes_per_thread, int64_t kept_bytes)
      : search_(search),
        kernels_(kernels),
        bytes_per_thread_(bytes_per_thread),
        kept_bytes_(kept_bytes),
        threads_(threads.for_work(bytes_counted() + bytes_at_first(), bytes_per_thread)),
        team_(threads_, search.B < kQueriesPerTask),
        groups_(std::min(threads_.count, (search.B + kQueriesPerTask - 1) / kQueriesPerTask)),
        parts_(threads_.count / groups_),
        scans_(groups_ * parts_),
        turns_(groups_),
        queries_(search.B) {}

  void run() {
    if (search_.spread) {
      const int64_t words = search_.B * search_.C * search_.W;
      counted_.live = std::make_unique_for_overwrite<int32_t[]>(search_.C);
      counted_.slots = std::make_unique_for_overwrite<int32_t[]>(search_.B * search_.C);
      if (words * static_cast<int64_t>(sizeof(uint32_t)) <= kept_bytes_) {
        counted_.admitted = std::make_unique_for_overwrite<uint32_t[]>(words);
      }
      team_.each(useful(bytes_counted()), groups_ * parts_, [&](int64_t task) {
        const int64_t part = task % parts_;
        scan(task).count(search_.C * part / parts_, search_.C * (part + 1) / parts_);
      });
    } else {
      team_.call(useful(bytes_at_first()));
    }
    team_.each(useful(search_.B * search_.C * kOrderBytes), search_.B, [&](int64_t b) {
      queries_[b].emplace(course(b), search_, b);
      if (queries_[b]->course.count() == 0) finish(b);
    });
    while (const int64_t slots = to_visit()) {
      for (std::atomic<int64_t>& turn : turns_) turn = 0;
      team_.each(useful(slots * search_.D), groups_ * parts_, [&](int64_t task) {
        scan(task).visit(queries_, task % parts_, parts_, turns_[task / parts_]);
      });
      team_.each(useful(search_.B * search_.k * kSelectBytes), search_.B, [&](int64_t b) {
        if (queries_[b]->course.count() > 0) gather(b);
      });
    }
  }

 private:
  int64_t useful(int64_t bytes) const { return threads_.for_work(bytes, bytes_per_thread_).count; }

  int64_t bytes_counted() const {
    return search_.spread ? search_.B * search_.C * search_.W * kLine : 0;
  }
  int64_t bytes_at_first() const { return search_.B * search_.N * search_.S * search_.D; }

  // Slots that the courses have next, about.
  int64_t to_visit() const {
    int64_t slots = 0;
    for (const std::optional<Query>& query : queries_) slots += query->course.slots(search_.S);
    return slots;
  }

  int64_t first_of(int64_t group) const { return search_.B * group / groups_; }
  int64_t group_of(int64_t b) const {
    int64_t group = b * groups_ / search_.B;
    while (first_of(group + 1) <= b) ++group;
    return group;
  }

  Scan& scan(int64_t task) {
    const int64_t group = task / parts_, first = first_of(group);
    std::optional<Scan>& scan = scans_[task];
    if (!scan) scan.emplace(search_, kernels_, counted_, first, first_of(group + 1) - first, false);
    return *scan;
  }

  Course course(int64_t b) const {
    if (!search_.affinity) return Course(search_.clusters + b * search_.N, search_.N);
    const float* affinity = search_.affinity + b * search_.C;
    if (!search_.spread || !Query::filtered(search_, b)) {
      return Course(kernels_, affinity, search_.C, search_.N, search_.most);
    }
    return Course(kernels_, affinity, search_.C, search_.N, search_.most,
                  counted_.slots.get() + b * search_.C, search_.spread + b * search_.C, search_.tail,
                  search_.allowed);
  }

  // Joins what the tasks found for a query, and lets it go on or end.
  void gather(int64_t b) {
    Query& query = *queries_[b];
    const int64_t group = group_of(b), q = b - first_of(group);
    Collector& found = scans_[group * parts_]->collector(q);
    for (int64_t part = 1; part < parts_; ++part) {
      found.take(kernels_, scans_[group * parts_ + part]->collector(q));
    }
    if (query.checked) {
      check(b, found);
    } else if (query.best.count() == 0) {
      std::swap(query.best, found);
    } else {
      query.best.take(kernels_, found);
    }
    query.best.select(kernels_);
    const bool enough = query.best.count() == search_.k;
    query.course.advance(enough, enough ? query.best.least() : 0);
    if (query.course.count() == 0) finish(b);
  }

  // Keeps what passes the exact filter.
  void check(int64_t b, Collector& found) {
    found.select(kernels_);
    filter_exactly(search_, b, 0, found);
    if (found.count() >= search_.k || !found.dropped()) {
      queries_[b]->best.take(kernels_, found);
      return;
    }
    // The check struck out more than there was to spare: again, checking what enters.
    Scan again(search_, kernels_, counted_, b, 1, true);
    std::atomic<int64_t> turn{0};
    again.visit(queries_, 0, 1, turn);
    queries_[b]->best.take(kernels_, again.collector(0));
  }

  // Live slots of clusters that were counted and hold nothing that passes; what is never probed was
  // not searched either.
  int64_t known_empty(int64_t b) const {
    const float* affinity = search_.affinity + b * search_.C;
    const int32_t* slots = counted_.slots.get() + b * search_.C;
    int64_t live = 0;
    for (int64_t c = 0; c < search_.C; ++c) {
      const bool open = affinity[c] > -std::numeric_limits<float>::infinity();
      live += open && slots[c] == 0 ? counted_.live[c] : 0;
    }
    return live;
  }

  void finish(int64_t b) {
    Query& query = *queries_[b];
    int64_t live = 0, eligible = 0;
    const int64_t group = group_of(b), q = b - first_of(group);
    for (int64_t part = 0; part < parts_; ++part) {
      std::optional<Scan>& scan = scans_[group * parts_ + part];
      if (!scan) continue;
      live += scan->live(q);
      eligible += scan->eligible(q);
    }
    if (search_.spread && Query::filtered(search_, b)) live += known_empty(b);
    if (search_.live_count) search_.live_count[b] = static_cast<int32_t>(live);
    if (search_.eligible_count) search_.eligible_count[b] = static_cast<int32_t>(eligible);
    float* scores = search_.scores + b * search_.k;
    int32_t* slots = search_.slots + b * search_.k;
    int64_t i = 0;
    for (const uint64_t packed : query.best.sorted(kernels_)) {
      int64_t slot = Collector::key_of(packed);
      if (search_.eligible) {
        const int64_t cluster = search_.clusters[b * search_.N + slot / search_.S];
        slot = cluster * search_.S + slot % search_.S;
      }
      scores[i] = Collector::score_of(packed);
      slots[i++] = static_cast<int32_t>(slot);
    }
    if (search_.names) {
      for (int64_t j = 0; j < i; ++j) __builtin_prefetch(search_.names + slots[j]);
      for (int64_t j = 0; j < i; ++j) slots[j] = search_.names[slots[j]];
    }
    std::fill(scores + i, scores + search_.k, -std::numeric_limits<float>::infinity());
    std::fill(slots + i, slots + search_.k, -1);
  }

  const Search& search_;
  const Kernels& kernels_;
  const int64_t bytes_per_thread_, kept_bytes_;
  const Threads threads_;
  Team team_;
  const int64_t groups_, parts_;  // tasks share the queries, then the clusters of a query
  std::vector<std::optional<Scan>> scans_;
  std::vector<std::atomic<int64_t>> turns_;  // of each group, the next probe of its query
  std::vector<std::optional<Query>> queries_;
  Counted counted_;
};

}  // namespace

void run(const Search& search, const Kernels& kernels, const Threads& threads,
         int64_t bytes_per_thread, int64_t kept_bytes) {
  if (search.B == 0) return;
  Rounds(search, kernels, threads, bytes_per_thread, kept_bytes).run();
}

}  // namespace silver

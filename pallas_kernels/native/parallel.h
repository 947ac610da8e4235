// Loops over XLA's own threads. Nothing here starts a thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace silver {

// Where tasks may run besides the calling thread.
struct Threads {
  int64_t count = 1;  // with the calling thread
  std::function<void(std::function<void()>)> schedule;
};

// Loops that follow closely on one another. Waking a thread costs the waker about 7 microseconds, and
// the thread comes 14 later, which is much of a lone search. So whoever has nothing to do looks out
// for a while before it sleeps: helpers for the next loop, the caller for the last helper.
class Team {
 public:
  explicit Team(const Threads& threads) : threads_(threads) {}
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() {
    if (shared_) shared_->over.store(true, std::memory_order_release);
  }

  // Wakes the helpers of a loop that is about to come, `threads` with the caller.
  void call(int64_t threads) {
    const int64_t wanted = std::min(threads_.count, threads) - 1;
    if (wanted > 0 && !shared_) shared_ = std::make_shared<Shared>();
    while (wanted > 0 && shared_->helpers.load(std::memory_order_relaxed) < wanted) {
      shared_->helpers.fetch_add(1, std::memory_order_relaxed);
      threads_.schedule([shared = shared_] { shared->help(); });
    }
  }

  // Calls body(0) ... body(tasks - 1) on as many threads as are useful, and returns when all are done.
  // The calling thread works too and waits only for tasks that another thread has begun, so a busy
  // pool costs speed, never progress.
  void each(int64_t useful, int64_t tasks, const std::function<void(int64_t)>& body) {
    useful = std::min({useful, tasks, threads_.count});
    if (useful < 2) {
      for (int64_t i = 0; i < tasks; ++i) body(i);
      return;
    }
    if (!shared_) shared_ = std::make_shared<Shared>();
    Shared& shared = *shared_;
    shared.body = &body;
    shared.tasks = tasks;
    shared.left.store(tasks, std::memory_order_relaxed);
    shared.open.store(tasks, std::memory_order_release);
    call(useful);
    while (shared.work()) {
    }
    const Patience patience;
    int64_t left;
    while ((left = shared.left.load(std::memory_order_acquire)) > 0) {
      if (patience.ended()) shared.left.wait(left, std::memory_order_acquire);
    }
  }

 private:
  // Looks out for as long as two wakings take; then it is cheaper to sleep.
  class Patience {
   public:
    bool ended() const {
      for (int i = 0; i < 16; ++i) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
      }
      return Clock::now() - since_ > std::chrono::microseconds(40);
    }

   private:
    using Clock = std::chrono::steady_clock;
    const Clock::time_point since_ = Clock::now();
  };

  // Outlives the team: a helper may start late, and then finds nothing to do.
  struct Shared {
    // Does one task, if there is one that nobody has begun. Until it is done no other loop starts, so
    // `body` and `tasks` are those of this one.
    bool work() {
      int64_t mine = open.load(std::memory_order_relaxed);
      do {
        if (mine < 1) return false;
      } while (!open.compare_exchange_weak(mine, mine - 1, std::memory_order_acquire,
                                           std::memory_order_relaxed));
      (*body)(tasks - mine);
      if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) left.notify_one();
      return true;
    }

    void help() {
      for (bool idle = false; !idle;) {
        while (work()) {
        }
        const Patience patience;
        while (open.load(std::memory_order_relaxed) < 1 && !idle) {
          idle = over.load(std::memory_order_acquire) || patience.ended();
        }
      }
      helpers.fetch_sub(1, std::memory_order_relaxed);
    }

    std::atomic<int64_t> open{0};     // tasks of the loop that nobody has begun
    std::atomic<int64_t> left{0};     // and that are not done
    std::atomic<int64_t> helpers{0};  // scheduled or at work
    std::atomic<bool> over{false};
    const std::function<void(int64_t)>* body = nullptr;
    int64_t tasks = 0;
  };

  const Threads threads_;
  std::shared_ptr<Shared> shared_;
};

// One loop alone.
inline void parallel_for(const Threads& threads, int64_t tasks,
                         const std::function<void(int64_t)>& body) {
  Team(threads).each(threads.count, tasks, body);
}

}  // namespace silver

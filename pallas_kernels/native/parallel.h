// Loops over XLA's own threads. Nothing here starts a thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace silver {

// Where tasks may run besides the calling thread.
struct Threads {
  int64_t count = 1;  // with the calling thread
  std::function<void(std::function<void()>)> schedule;

  // As many of them as so much work keeps busy, if each is worth waking for `each` of it.
  Threads for_work(int64_t work, int64_t each) const {
    return {std::clamp<int64_t>(work / each, 1, count), schedule};
  }

  // Tasks to cut equal work into: so many that nobody waits long for the last.
  int64_t tasks() const { return count == 1 ? 1 : 4 * count; }
};

// Loops that follow closely on one another. Waking a thread costs the waker about 7 microseconds, and
// the thread comes 14 later, which is much of a lone search. So whoever has nothing to do looks out
// for a while before it sleeps: helpers for the next loop, of this team or another one that comes
// soon, the caller for the last helper. In long work it is not for long, as others want the cores.
class Team {
 public:
  // `brief`: what it does takes about as long as waking a thread, so its helpers stay awake, also for
  // the next one.
  Team(const Threads& threads, bool brief) : threads_(threads), brief_(brief) {}
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team() {
    if (shared_) shared_->over.store(true, std::memory_order_release);
  }

  // Wakes the helpers of a loop that is about to come, `threads` with the caller.
  void call(int64_t threads) {
    const int64_t wanted = std::min(threads_.count, threads) - 1;
    while (wanted > 0 && shared().helpers.load() < wanted) {
      shared_->helpers.fetch_add(1);
      if (!Standby::here().take(shared_)) {
        threads_.schedule([shared = shared_, brief = brief_]() mutable {
          do {
            shared->help();
            shared.reset();
            if (brief) shared = Standby::here().wait();
          } while (shared);
        });
      }
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
    Shared& shared = this->shared();
    shared.body = &body;
    shared.tasks = tasks;
    shared.left.store(tasks, std::memory_order_relaxed);
    shared.open.store(tasks);
    call(useful);
    while (shared.work()) {
    }
    const Patience patience(shared.patience);
    int64_t left;
    while ((left = shared.left.load(std::memory_order_acquire)) > 0) {
      if (patience.ended()) shared.left.wait(left, std::memory_order_acquire);
    }
  }

 private:
  using Clock = std::chrono::steady_clock;
  using Microseconds = std::chrono::microseconds;
  static constexpr Microseconds kTwoWakings{40}, kBetweenLoops{4};

  // How long to look out; from then on it is cheaper to sleep.
  class Patience {
   public:
    explicit Patience(Microseconds most) : end_(Clock::now() + most) {}

    bool ended() const {
      for (int i = 0; i < 16; ++i) {
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
      }
      return Clock::now() > end_;
    }

   private:
    const Clock::time_point end_;
  };

  // Outlives the team: a helper may start late, and then finds nothing to do.
  struct Shared {
    explicit Shared(Microseconds patience) : patience(patience) {}

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
      for (;;) {
        for (bool idle = false; !idle;) {
          while (work()) {
          }
          const Patience waiting(patience);
          while (open.load(std::memory_order_relaxed) < 1 && !idle) {
            idle = over.load(std::memory_order_acquire) || waiting.ended();
          }
        }
        helpers.fetch_sub(1);
        if (open.load() < 1) return;
        helpers.fetch_add(1);  // a loop has begun meanwhile, and counts on this one
      }
    }

    const Microseconds patience;
    std::atomic<int64_t> open{0};     // tasks of the loop that nobody has begun
    std::atomic<int64_t> left{0};     // and that are not done
    std::atomic<int64_t> helpers{0};  // scheduled or at work
    std::atomic<bool> over{false};
    const std::function<void(int64_t)>* body = nullptr;
    int64_t tasks = 0;
  };

  // Where helpers wait whose team is over.
  class Standby {
   public:
    // Never destroyed: a helper may still be here when the process ends.
    static Standby& here() {
      static Standby& standby = *new Standby;
      return standby;
    }

    // Whether one of them will help.
    bool take(const std::shared_ptr<Shared>& team) {
      std::lock_guard lock(mutex_);
      if (teams_.size() == waiting_) return false;
      teams_.push_back(team);
      called_.store(true, std::memory_order_relaxed);
      return true;
    }

    // The next team; none comes for now if it is null.
    std::shared_ptr<Shared> wait() {
      {
        std::lock_guard lock(mutex_);
        ++waiting_;
      }
      const Patience patience(kTwoWakings);
      for (bool ended = false;;) {
        while (!ended && !called_.load(std::memory_order_relaxed)) ended = patience.ended();
        std::lock_guard lock(mutex_);
        if (teams_.empty() && !ended) continue;  // another helper took it
        --waiting_;
        if (teams_.empty()) return nullptr;
        std::shared_ptr<Shared> team = teams_.back();
        teams_.pop_back();
        called_.store(!teams_.empty(), std::memory_order_relaxed);
        return team;
      }
    }

   private:
    std::mutex mutex_;
    std::vector<std::shared_ptr<Shared>> teams_;  // that wait for one, no more than wait here
    size_t waiting_ = 0;
    std::atomic<bool> called_{false};
  };

  Shared& shared() {
    if (!shared_) shared_ = std::make_shared<Shared>(brief_ ? kTwoWakings : kBetweenLoops);
    return *shared_;
  }

  const Threads threads_;
  const bool brief_;
  std::shared_ptr<Shared> shared_;
};

// One loop alone.
inline void parallel_for(const Threads& threads, int64_t tasks,
                         const std::function<void(int64_t)>& body) {
  Team(threads, false).each(threads.count, tasks, body);
}

}  // namespace silver

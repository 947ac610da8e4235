// Loops over XLA's own threads. Nothing here starts a thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>

namespace silver {

// Where tasks may run besides the calling thread.
struct Threads {
  int64_t count = 1;  // with the calling thread
  std::function<void(std::function<void()>)> schedule;
};

// Calls body(0) ... body(tasks - 1) and returns when all are done. The calling thread works too and
// waits only for tasks that another thread has begun, so a busy pool costs speed, never progress.
inline void parallel_for(const Threads& threads, int64_t tasks,
                         const std::function<void(int64_t)>& body) {
  const int64_t helpers = std::min(threads.count, tasks) - 1;
  if (helpers < 1) {
    for (int64_t i = 0; i < tasks; ++i) body(i);
    return;
  }
  struct State {
    std::atomic<int64_t> next{0};
    std::mutex mutex;
    std::condition_variable finished;
    int64_t left;
  };
  // A helper that starts late finds nothing to do, perhaps after this function has returned: it
  // shares the counters, and touches `body` only while a task is left.
  auto state = std::make_shared<State>();
  state->left = tasks;
  auto work = [state, tasks, &body] {
    for (;;) {
      const int64_t i = state->next.fetch_add(1);
      if (i >= tasks) return;
      body(i);
      std::lock_guard<std::mutex> lock(state->mutex);
      if (--state->left == 0) state->finished.notify_all();
    }
  };
  for (int64_t i = 0; i < helpers; ++i) threads.schedule(work);
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->finished.wait(lock, [&] { return state->left == 0; });
}

}  // namespace silver

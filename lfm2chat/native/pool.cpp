#include "pool.h"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

namespace lfm2 {

namespace {

// About 20 microseconds: longer than a meeting takes where every thread has its core.
constexpr int TURNS = 1500;

inline void pause() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

void wait_while(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int turn = 0; turn < TURNS; ++turn) {
    if (value.load(std::memory_order_acquire) != old) return;
    pause();
  }
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

}  // namespace

Pool::Pool(int threads) {
  try {
    for (int number = 1; number < threads; ++number) {
      workers_.emplace_back([this, number] { work(number); });
    }
  } catch (...) {  // the system gives no more threads
    close();
    throw;
  }
}

Pool::~Pool() { close(); }

void Pool::close() {
  closing_.store(true);
  epoch_.fetch_add(1, std::memory_order_release);
  epoch_.notify_all();
  for (auto& worker : workers_) worker.join();
}

void Pool::run(void (*job)(void*, int), void* context) {
  job_ = job;
  context_ = context;
  next_.store(0, std::memory_order_relaxed);
  if (!workers_.empty()) {
    epoch_.fetch_add(1, std::memory_order_release);
    epoch_.notify_all();
  }
  job(context, 0);
  meet();
}

void Pool::meet() {
  if (workers_.empty()) {
    next_.store(0, std::memory_order_relaxed);
    return;
  }
  const uint32_t generation = generation_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads()) {
    arrived_.store(0, std::memory_order_relaxed);
    next_.store(0, std::memory_order_relaxed);
    generation_.fetch_add(1, std::memory_order_release);
    generation_.notify_all();
    return;
  }
  wait_while(generation_, generation);
}

void Pool::work(int number) {
  uint32_t seen = 0;
  while (true) {
    wait_while(epoch_, seen);
    seen = epoch_.load(std::memory_order_acquire);
    if (closing_.load()) return;
    job_(context_, number);
    meet();
  }
}

}  // namespace lfm2

// Threads that work on one forward pass together, and sleep between two.
//
// A thread that waits for the others turns for some microseconds and then sleeps: on a busy
// machine the system can then give its core to the one that is waited for, which would otherwise
// stand in line behind the screen's thread for a whole time slice.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace lfm2 {

class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls job(context, number) on every thread, the caller's being number 0, and returns when all
  // have returned. One caller at a time.
  void run(void (*job)(void*, int), void* context);

  // Waits until every thread of the job is here; claims begin at 0 again.
  void meet();

  // The first of the next `count` pieces of work that nobody has claimed since the last meeting.
  int claim(int count) { return next_.fetch_add(count, std::memory_order_relaxed); }

  // Claims a share of what is left of `all` pieces, at least `least` of them: long runs first, so
  // that reading goes on undisturbed, and short ones last, so that all end at the same time.
  // Returns the number of pieces, from `first` on; 0 where nothing is left.
  int claim_share(int all, int least, int* first) {
    int begin = next_.load(std::memory_order_relaxed);
    while (begin < all) {
      const int left = all - begin;
      int count = left / (2 * threads());
      if (count < least) count = least;
      if (count > left) count = left;
      if (next_.compare_exchange_weak(begin, begin + count, std::memory_order_relaxed)) {
        *first = begin;
        return count;
      }
    }
    return 0;
  }

 private:
  void work(int number);
  void close();

  std::vector<std::thread> workers_;
  void (*job_)(void*, int) = nullptr;
  void* context_ = nullptr;
  alignas(64) std::atomic<uint32_t> epoch_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<int> next_{0};
  std::atomic<bool> closing_{false};
};

}  // namespace lfm2

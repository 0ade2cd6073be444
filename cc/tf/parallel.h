#ifndef BLADE_TF_PARALLEL_H_
#define BLADE_TF_PARALLEL_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>

#include "tensorflow/core/framework/op_kernel.h"

namespace blade_tf {

// Blocks of [0, total) for several threads, each of which takes the next one until none is left. The first ones are
// large, as each begins with work of its own, the last ones small, so that all threads end at the same time.
class Blocks {
 public:
  Blocks(int64_t total, int64_t least, int64_t threads) : total_(total), least_(least), threads_(threads) {}

  // False if there is none. The last one, if small, is for the calling thread, which would otherwise have to be woken
  // when the others are done.
  bool Take(bool calling, int64_t* begin, int64_t* end) {
    const int64_t last = calling || total_ < 8 * threads_ * least_ ? total_ : total_ - least_;
    *begin = next_.load(std::memory_order_relaxed);
    do {
      if (*begin >= last) return false;
      const int64_t share = (total_ - *begin) * 4 / (5 * threads_) / least_ * least_;
      *end = std::min(*begin + std::max(share, least_), total_);
    } while (!next_.compare_exchange_weak(*begin, *end, std::memory_order_relaxed));
    return true;
  }

  // Says that `n` of what was taken is done.
  void Done(int64_t n) {
    if (done_.fetch_add(n, std::memory_order_acq_rel) + n < total_) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    all_done_ = true;
    condition_.notify_one();
  }

  // Until all is done.
  void Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    condition_.wait(lock, [this] { return all_done_; });
  }

 private:
  const int64_t total_, least_, threads_;
  std::atomic<int64_t> next_{0}, done_{0};
  std::mutex mutex_;
  std::condition_variable condition_;
  bool all_done_ = false;
};

// Calls work(begin, end) for blocks that cover [0, total), in the calling thread and in those of TensorFlow's pool that
// are free; `least` is the least length of a block and divides the beginning of each. As many threads take part as the
// pool has, no more. Throws std::bad_alloc if one of the calls did, which throw nothing else.
template <typename Work>
void ParallelFor(tensorflow::OpKernelContext* context, int64_t total, int64_t least, const Work& work) {
  if (total == 0) return;
  const auto* pool = context->device()->tensorflow_cpu_worker_threads();
  least = std::max<int64_t>(least, 1);
  const int64_t threads = std::min<int64_t>(pool->num_threads, (total + least - 1) / least);
  if (threads <= 1) return work(0, total);
  std::atomic<bool> out_of_memory{false};
  // A thread that comes when nothing is left touches nothing but the blocks, which it owns as well.
  const auto blocks = std::make_shared<Blocks>(total, least, threads);
  const auto take_part = [blocks = blocks.get(), &work, &out_of_memory](bool calling) {
    int64_t begin, end;
    while (blocks->Take(calling, &begin, &end)) {
      // TensorFlow's threads must not see an exception.
      try {
        work(begin, end);
      } catch (const std::bad_alloc&) {
        out_of_memory = true;
      }
      blocks->Done(end - begin);
    }
  };
  try {
    for (int64_t i = 1; i < threads; ++i)
      pool->workers->Schedule([blocks, take_part] { take_part(/*calling=*/false); });
  } catch (const std::bad_alloc&) {
    // Those that were asked help; all that is left is done here.
  }
  take_part(/*calling=*/true);
  blocks->Wait();
  if (out_of_memory) throw std::bad_alloc();
}

}  // namespace blade_tf

#endif  // BLADE_TF_PARALLEL_H_

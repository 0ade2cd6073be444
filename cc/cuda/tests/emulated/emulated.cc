#include <ucontext.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <vector>

#include "cc/blade/simd.h"
#include "cc/cuda/tests/emulated/cuda_runtime.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) static_cast<void>(address)
#define ASAN_UNPOISON_MEMORY_REGION(address, size) static_cast<void>(address)
#endif

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif
// What the threads share with the scheduler alone.
#define SCHEDULER __attribute__((no_sanitize("thread")))

dim3 threadIdx, blockIdx, blockDim, gridDim;

constexpr size_t kSharedBytes = 256 << 10;
thread_local float4 blade_cuda_shared[kSharedBytes / sizeof(float4)];

namespace emulated {

Device device;

namespace {

constexpr size_t kStackBytes = 128 << 10;

// Tells the thread sanitizer that what runs on another stack is another thread, which is ordered with the others by
// barriers alone: it then finds accesses to one place that no barrier separates.
class Fiber {
 public:
#ifdef __SANITIZE_THREAD__
  explicit Fiber(bool current = false)
      : handle_(current ? __tsan_get_current_fiber() : __tsan_create_fiber(0)), owned_(!current) {}
  ~Fiber() {
    if (owned_) __tsan_destroy_fiber(handle_);
  }
  void Enter() { __tsan_switch_to_fiber(handle_, __tsan_switch_to_fiber_no_sync); }
  static void Release(char* at) { __tsan_release(at); }
  static void Acquire(char* at) { __tsan_acquire(at); }

 private:
  void* handle_;
  bool owned_;
#else
  explicit Fiber(bool = false) {}
  void Enter() {}
  static void Release(char*) {}
  static void Acquire(char*) {}
#endif
};

struct Thread {
  Fiber fiber;
  ucontext_t context;
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  dim3 index;
  bool finished = false;
};

struct Block {
  Fiber scheduler{true};
  ucontext_t context;
  Thread* running = nullptr;
  const std::function<void()>* kernel = nullptr;
  // Barriers in turn use one of two places, so that no thread passes on what it does after the barrier.
  char barrier[2] = {}, begin = 0, end = 0;
  int turn = 0;
};
Block block;

SCHEDULER void Yield(Thread* thread) {
  block.scheduler.Enter();
  swapcontext(&thread->context, &block.context);
}

SCHEDULER void Main() {
  Thread* thread = block.running;
  Fiber::Acquire(&block.begin);
  (*block.kernel)();
  thread->finished = true;
  Fiber::Release(&block.end);
  Yield(thread);
}

std::vector<unsigned> Ordered(unsigned size, std::mt19937* random) {
  std::vector<unsigned> order(size);
  std::iota(order.begin(), order.end(), 0u);
  if (device.order == Order::kDescending) std::reverse(order.begin(), order.end());
  if (device.order == Order::kShuffled) std::shuffle(order.begin(), order.end(), *random);
  return order;
}

// Every thread to its next barrier or its end; the number of those that ended.
SCHEDULER unsigned Turn(std::vector<Thread>* threads, std::mt19937* random) {
  unsigned finished = 0;
  for (unsigned i : Ordered(static_cast<unsigned>(threads->size()), random)) {
    Thread& thread = (*threads)[i];
    if (!thread.finished) {
      threadIdx = thread.index;
      block.running = &thread;
      thread.fiber.Enter();
      swapcontext(&block.context, &thread.context);
    }
    finished += thread.finished;
  }
  return finished;
}

}  // namespace

SCHEDULER void Barrier() {
  Thread* thread = block.running;
  char* place = &block.barrier[block.turn];
  Fiber::Release(place);
  Yield(thread);
  Fiber::Acquire(place);
}

SCHEDULER cudaError_t Run(unsigned blocks, unsigned threads, size_t shared_bytes, const std::function<void()>& kernel) {
  if (blocks == 0 || shared_bytes > static_cast<size_t>(device.shared_bytes)) return cudaErrorInvalidConfiguration;
  ++device.launches;
  const blade::ScopedFlushSubnormals flush;
  std::mt19937 random(20211016);
  std::vector<Thread> all(threads);
  block.kernel = &kernel;
  gridDim = dim3(blocks);
  blockDim = dim3(threads);
  for (unsigned index : Ordered(blocks, &random)) {
    blockIdx = dim3(index);
    // What a block has not written is NaN, and what it did not ask for is out of bounds.
    std::memset(blade_cuda_shared, 0xff, sizeof(blade_cuda_shared));
    char* shared = reinterpret_cast<char*>(blade_cuda_shared);
    ASAN_POISON_MEMORY_REGION(shared + shared_bytes, sizeof(blade_cuda_shared) - shared_bytes);
    for (unsigned i = 0; i < threads; ++i) {
      Thread& thread = all[i];
      thread.index = dim3(i);
      thread.finished = false;
      getcontext(&thread.context);
      thread.context.uc_stack.ss_sp = thread.stack.get();
      thread.context.uc_stack.ss_size = kStackBytes;
      makecontext(&thread.context, Main, 0);
    }
    Fiber::Release(&block.begin);
    unsigned finished = 0;
    while (finished == 0) {
      finished = Turn(&all, &random);
      block.turn = 1 - block.turn;
    }
    Fiber::Acquire(&block.end);
    ASAN_UNPOISON_MEMORY_REGION(shared, sizeof(blade_cuda_shared));
    if (finished != threads) return cudaErrorInvalidConfiguration;
  }
  return cudaSuccess;
}

}  // namespace emulated

// A stand-in for NVIDIA's driver (libcuda.so.1) that computes nothing and is strict about how it is called: what a card
// would answer with an error, or with wrong numbers some day, ends the process here and says why. So the way from the
// program to the driver is tested on machines without one: contexts, allocations, streams, captures, graphs, events,
// page-locked memory. Its clock goes on by a fixed time for each piece of work, so that times are numbers.
//
// STAND_IN_MEMORY: bytes of the card's memory.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

using Result = int;
using Address = uint64_t;

namespace {

enum : Result {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kInvalidDevice = 101,
  kInvalidHandle = 400,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
};

constexpr size_t kSharedMemory = 227 << 10;
constexpr size_t kSharedMemoryWithoutOptIn = 48 << 10;

struct Stream {
  bool captures = false;
  /** Something that is not allowed while it captures. */
  bool invalid = false;
  int nodes = 0;
};

struct Event {
  bool timed;
  bool recorded;
  double at;
};

struct Function {
  std::string name;
  size_t dynamic_shared;
};

/** A copy from page-locked memory that nobody has waited for, and what it will read. */
struct Pending {
  const void* from;
  size_t bytes;
  uint64_t hash;
};

std::recursive_mutex mutex;
std::map<Address, size_t> allocations;
std::map<const void*, size_t> pinned;
std::vector<Pending> pending;
std::set<void*> streams, events, graphs, executables;
size_t used = 0;
double microseconds = 0.0;
int context;
thread_local bool has_context = false;
thread_local int captures = 0;

[[noreturn]] void wrong(const std::string& what) {
  fprintf(stderr, "stand-in driver: %s\n", what.c_str());
  abort();
}

void need_context(const char* call) {
  if (!has_context) wrong(std::string(call) + " on a thread without a context");
}

/** What this thread must not do while it captures: the driver breaks the capture off. */
bool breaks_capture() {
  if (captures == 0) return false;
  for (void* stream : streams) static_cast<Stream*>(stream)->invalid |= static_cast<Stream*>(stream)->captures;
  return true;
}

size_t memory() {
  const char* bytes = getenv("STAND_IN_MEMORY");
  return bytes ? strtoull(bytes, nullptr, 10) : size_t{2} << 30;
}

void need_memory(const char* call, Address address, size_t bytes) {
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) wrong(std::string(call) + " outside of every allocation");
  --next;
  if (address + bytes > next->first + next->second) wrong(std::string(call) + " beyond an allocation");
}

template <typename T>
T* live(const std::set<void*>& all, void* handle, const char* what) {
  if (!all.count(handle)) wrong(std::string("a ") + what + " that does not exist");
  return static_cast<T*>(handle);
}

uint64_t hash(const void* bytes, size_t n) {
  uint64_t sum = 0xCBF29CE484222325;
  for (size_t i = 0; i < n; ++i) sum = (sum ^ static_cast<const uint8_t*>(bytes)[i]) * 0x100000001B3;
  return sum;
}

/** All copies have ended: what they read must be what it was. */
void finish() {
  for (const Pending& copy : pending) {
    if (hash(copy.from, copy.bytes) != copy.hash) wrong("page-locked memory changed before its copy had ended");
  }
  pending.clear();
}

void work(double time) { microseconds += time; }

}  // namespace

extern "C" {

Result cuInit(unsigned) { return kSuccess; }

Result cuDriverGetVersion(int* version) {
  *version = 13000;
  return kSuccess;
}

Result cuGetErrorName(Result, const char** text) {
  *text = "STAND_IN_ERROR";
  return kSuccess;
}

Result cuGetErrorString(Result, const char** text) {
  *text = "an error of the stand-in driver";
  return kSuccess;
}

Result cuDeviceGetCount(int* count) {
  *count = 1;
  return kSuccess;
}

Result cuDeviceGet(int* device, int ordinal) {
  *device = 0;
  return ordinal == 0 ? kSuccess : kInvalidDevice;
}

Result cuDeviceGetName(char* name, int bytes, int) {
  snprintf(name, bytes, "Stand-in GPU");
  return kSuccess;
}

Result cuDeviceTotalMem_v2(size_t* bytes, int) {
  *bytes = memory();
  return kSuccess;
}

Result cuDeviceGetPCIBusId(char* text, int bytes, int) {
  snprintf(text, bytes, "0000:1B:00.0");
  return kSuccess;
}

Result cuDeviceGetUuid_v2(char* uuid, int) {
  memset(uuid, 7, 16);
  return kSuccess;
}

Result cuDeviceGetAttribute(int* value, int attribute, int) {
  // By the numbers of CUdevice_attribute: threads of a block, multiprocessors, memory clock and bus, L2, compute
  // capability, shared memory with opt-in, memory pools.
  const std::map<int, int> values = {{1, 1024},   {16, 132}, {36, 3201000}, {37, 6144},
                                     {38, 60 << 20}, {75, 9},   {76, 0},        {97, kSharedMemory}, {115, 1}};
  const auto found = values.find(attribute);
  if (found == values.end()) return kInvalidValue;
  *value = found->second;
  return kSuccess;
}

Result cuDevicePrimaryCtxRetain(void** result, int) {
  *result = &context;
  return kSuccess;
}

Result cuDevicePrimaryCtxRelease_v2(int) { return kSuccess; }

Result cuCtxSetCurrent(void* current) {
  has_context = current != nullptr;
  return kSuccess;
}

Result cuCtxGetCurrent(void** current) {
  *current = has_context ? &context : nullptr;
  return kSuccess;
}

Result cuCtxGetDevice(int* device) {
  *device = 0;
  return kSuccess;
}

Result cuCtxSynchronize() {
  std::lock_guard lock(mutex);
  need_context("cuCtxSynchronize");
  if (breaks_capture()) return kCaptureUnsupported;
  finish();
  return kSuccess;
}

Result cuMemGetInfo_v2(size_t* free, size_t* total) {
  std::lock_guard lock(mutex);
  need_context("cuMemGetInfo");
  *total = memory();
  *free = *total - used;
  return kSuccess;
}

Result cuMemAlloc_v2(Address* address, size_t bytes) {
  std::lock_guard lock(mutex);
  need_context("cuMemAlloc");
  if (breaks_capture()) return kCaptureUnsupported;
  if (bytes == 0) return kInvalidValue;
  if (used + bytes > memory()) return kOutOfMemory;
  void* block = nullptr;
  if (posix_memalign(&block, 512, bytes)) return kOutOfMemory;
  *address = reinterpret_cast<Address>(block);
  allocations[*address] = bytes;
  used += bytes;
  return kSuccess;
}

Result cuMemFree_v2(Address address) {
  std::lock_guard lock(mutex);
  need_context("cuMemFree");
  if (breaks_capture()) return kCaptureUnsupported;
  const auto found = allocations.find(address);
  if (found == allocations.end()) wrong("cuMemFree of what is not allocated");
  finish();
  used -= found->second;
  allocations.erase(found);
  free(reinterpret_cast<void*>(address));
  return kSuccess;
}

Result cuMemcpyHtoD_v2(Address to, const void* from, size_t bytes) {
  std::lock_guard lock(mutex);
  need_context("cuMemcpyHtoD");
  if (breaks_capture()) return kCaptureUnsupported;
  need_memory("cuMemcpyHtoD", to, bytes);
  memcpy(reinterpret_cast<void*>(to), from, bytes);
  work(bytes / 5e4);
  return kSuccess;
}

Result cuMemcpyDtoH_v2(void* to, Address from, size_t bytes) {
  std::lock_guard lock(mutex);
  need_context("cuMemcpyDtoH");
  if (breaks_capture()) return kCaptureUnsupported;
  need_memory("cuMemcpyDtoH", from, bytes);
  finish();
  memcpy(to, reinterpret_cast<void*>(from), bytes);
  work(bytes / 5e4);
  return kSuccess;
}

Result cuMemcpyHtoDAsync_v2(Address to, const void* from, size_t bytes, void* stream) {
  std::lock_guard lock(mutex);
  need_context("cuMemcpyHtoDAsync");
  need_memory("cuMemcpyHtoDAsync", to, bytes);
  if (live<Stream>(streams, stream, "stream")->captures) wrong("a copy from the host is captured: a replay would read it again");
  for (const auto& [start, size] : pinned) {
    const auto* first = static_cast<const uint8_t*>(start);
    const auto* begin = static_cast<const uint8_t*>(from);
    if (begin >= first && begin + bytes <= first + size) pending.push_back({from, bytes, hash(from, bytes)});
  }
  memcpy(reinterpret_cast<void*>(to), from, bytes);
  work(bytes / 5e4);
  return kSuccess;
}

Result cuMemcpyDtoHAsync_v2(void* to, Address from, size_t bytes, void* stream) {
  std::lock_guard lock(mutex);
  need_context("cuMemcpyDtoHAsync");
  need_memory("cuMemcpyDtoHAsync", from, bytes);
  if (live<Stream>(streams, stream, "stream")->captures) wrong("a copy to the host is captured");
  memcpy(to, reinterpret_cast<void*>(from), bytes);
  work(bytes / 5e4);
  return kSuccess;
}

Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void* stream) {
  std::lock_guard lock(mutex);
  need_context("cuMemcpyDtoDAsync");
  need_memory("cuMemcpyDtoDAsync to", to, bytes);
  need_memory("cuMemcpyDtoDAsync from", from, bytes);
  if (live<Stream>(streams, stream, "stream")->captures) {
    ++static_cast<Stream*>(stream)->nodes;
    return kSuccess;
  }
  memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
  work(bytes / 2e6);
  return kSuccess;
}

Result cuMemsetD8Async(Address to, uint8_t byte, size_t bytes, void* stream) {
  std::lock_guard lock(mutex);
  need_context("cuMemsetD8Async");
  need_memory("cuMemsetD8Async", to, bytes);
  if (live<Stream>(streams, stream, "stream")->captures) {
    ++static_cast<Stream*>(stream)->nodes;
    return kSuccess;
  }
  memset(reinterpret_cast<void*>(to), byte, bytes);
  work(bytes / 4e6);
  return kSuccess;
}

Result cuMemsetD8_v2(Address to, uint8_t byte, size_t bytes) {
  std::lock_guard lock(mutex);
  need_context("cuMemsetD8");
  if (breaks_capture()) return kCaptureUnsupported;
  need_memory("cuMemsetD8", to, bytes);
  memset(reinterpret_cast<void*>(to), byte, bytes);
  return kSuccess;
}

Result cuMemHostAlloc(void** memory, size_t bytes, unsigned) {
  std::lock_guard lock(mutex);
  need_context("cuMemHostAlloc");
  if (breaks_capture()) return kCaptureUnsupported;
  *memory = malloc(bytes);
  pinned[*memory] = bytes;
  return kSuccess;
}

Result cuMemFreeHost(void* memory) {
  std::lock_guard lock(mutex);
  need_context("cuMemFreeHost");
  if (!pinned.count(memory)) wrong("cuMemFreeHost of what is not allocated");
  for (const Pending& copy : pending) {
    if (copy.from == memory) wrong("cuMemFreeHost before the copy from there has ended");
  }
  pinned.erase(memory);
  free(memory);
  return kSuccess;
}

Result cuStreamCreate(void** stream, unsigned) {
  std::lock_guard lock(mutex);
  need_context("cuStreamCreate");
  streams.insert(*stream = new Stream);
  return kSuccess;
}

Result cuStreamDestroy_v2(void* stream) {
  std::lock_guard lock(mutex);
  need_context("cuStreamDestroy");
  delete live<Stream>(streams, stream, "stream");
  streams.erase(stream);
  return kSuccess;
}

Result cuStreamSynchronize(void* stream) {
  std::lock_guard lock(mutex);
  need_context("cuStreamSynchronize");
  live<Stream>(streams, stream, "stream");
  if (breaks_capture()) return kCaptureUnsupported;
  finish();
  return kSuccess;
}

Result cuStreamBeginCapture_v2(void* stream, int mode) {
  std::lock_guard lock(mutex);
  need_context("cuStreamBeginCapture");
  if (mode != 1) wrong("a capture that is not thread-local");
  Stream* recording = live<Stream>(streams, stream, "stream");
  if (recording->captures) return kCaptureUnsupported;
  *recording = {true, false, 0};
  ++captures;
  return kSuccess;
}

Result cuStreamEndCapture(void* stream, void** graph) {
  std::lock_guard lock(mutex);
  need_context("cuStreamEndCapture");
  Stream* recording = live<Stream>(streams, stream, "stream");
  if (!recording->captures) return kCaptureUnsupported;
  recording->captures = false;
  --captures;
  if (recording->invalid) return kCaptureInvalidated;
  graphs.insert(*graph = new int(recording->nodes));
  return kSuccess;
}

Result cuGraphInstantiateWithFlags(void** executable, void* graph, unsigned long long) {
  std::lock_guard lock(mutex);
  need_context("cuGraphInstantiate");
  executables.insert(*executable = new int(*live<int>(graphs, graph, "graph")));
  return kSuccess;
}

Result cuGraphDestroy(void* graph) {
  std::lock_guard lock(mutex);
  delete live<int>(graphs, graph, "graph");
  graphs.erase(graph);
  return kSuccess;
}

Result cuGraphExecDestroy(void* executable) {
  std::lock_guard lock(mutex);
  delete live<int>(executables, executable, "graph that can be launched");
  executables.erase(executable);
  return kSuccess;
}

Result cuGraphLaunch(void* executable, void* stream) {
  std::lock_guard lock(mutex);
  need_context("cuGraphLaunch");
  if (live<Stream>(streams, stream, "stream")->captures) wrong("a graph is launched while its stream captures");
  work(3.0 + 2.5 * *live<int>(executables, executable, "graph that can be launched"));
  return kSuccess;
}

Result cuEventCreate(void** event, unsigned flags) {
  std::lock_guard lock(mutex);
  need_context("cuEventCreate");
  constexpr unsigned kDisableTiming = 2;
  events.insert(*event = new Event{(flags & kDisableTiming) == 0, false, 0.0});
  return kSuccess;
}

Result cuEventDestroy_v2(void* event) {
  std::lock_guard lock(mutex);
  delete live<Event>(events, event, "event");
  events.erase(event);
  return kSuccess;
}

Result cuEventRecord(void* event, void* stream) {
  std::lock_guard lock(mutex);
  need_context("cuEventRecord");
  if (live<Stream>(streams, stream, "stream")->captures) wrong("an event is recorded while its stream captures");
  Event* moment = live<Event>(events, event, "event");
  moment->recorded = true;
  moment->at = microseconds;
  work(0.5);
  return kSuccess;
}

Result cuEventSynchronize(void* event) {
  std::lock_guard lock(mutex);
  need_context("cuEventSynchronize");
  live<Event>(events, event, "event");
  if (breaks_capture()) return kCaptureUnsupported;
  finish();
  return kSuccess;
}

Result cuEventElapsedTime_v2(float* milliseconds, void* start, void* end) {
  std::lock_guard lock(mutex);
  const Event* first = live<Event>(events, start, "event");
  const Event* last = live<Event>(events, end, "event");
  if (!first->recorded || !last->recorded || !first->timed || !last->timed) return kInvalidHandle;
  *milliseconds = static_cast<float>((last->at - first->at) / 1e3);
  return kSuccess;
}

Result cuModuleLoadDataEx(void** module, const void* image, unsigned, void*, void*) {
  std::lock_guard lock(mutex);
  need_context("cuModuleLoadDataEx");
  if (breaks_capture()) return kCaptureUnsupported;
  if (image == nullptr) return kInvalidValue;
  *module = new int(0);
  return kSuccess;
}

Result cuModuleUnload(void* module) {
  need_context("cuModuleUnload");
  delete static_cast<int*>(module);
  return kSuccess;
}

Result cuModuleGetFunction(void** function, void*, const char* name) {
  // Lives as long as the process: the driver's are its module's.
  *function = new Function{name, kSharedMemoryWithoutOptIn};
  return kSuccess;
}

Result cuFuncGetAttribute(int* value, int, void*) {
  *value = 0;
  return kSuccess;
}

Result cuFuncSetAttribute(void* function, int attribute, int value) {
  constexpr int kMaxDynamicSharedSize = 8;
  if (attribute != kMaxDynamicSharedSize || value < 0 || value > static_cast<int>(kSharedMemory)) return kInvalidValue;
  static_cast<Function*>(function)->dynamic_shared = value;
  return kSuccess;
}

struct LaunchConfig {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  void* stream;
  void* attributes;
  unsigned num_attributes;
};

Result cuLaunchKernelEx(const LaunchConfig* config, void* handle, void** arguments, void**) {
  std::lock_guard lock(mutex);
  need_context("cuLaunchKernelEx");
  const Function* function = static_cast<Function*>(handle);
  const auto [x, y, z] = config->grid;
  const auto [width, height, depth] = config->block;
  if (x == 0 || y == 0 || z == 0 || y > 65535 || z > 65535) wrong(function->name + ": a grid that no card has");
  if (width * height * depth == 0 || width * height * depth > 1024) wrong(function->name + ": a block that no card has");
  if (config->shared_bytes > function->dynamic_shared) wrong(function->name + ": more shared memory than it opted in to");
  if (arguments == nullptr) wrong(function->name + ": no arguments");
  Stream* stream = live<Stream>(streams, config->stream, "stream");
  if (stream->captures) {
    ++stream->nodes;
  } else {
    work(4.0);
  }
  return kSuccess;
}

}  // extern "C"

#include "api.h"

#include <chrono>
#include <exception>

#include "forward.h"

namespace {

constexpr int32_t ABI = 7;

// One kind of processor. Its table is made in a file that is compiled for such processors alone, so
// nothing there may be called elsewhere: not even to ask for a name.
struct Kind {
  const char* name;
  bool usable;
  const lfm2::Kernels* (*table)();
};

Kind kind_of(int32_t number) {
#if defined(__x86_64__) || defined(_M_X64)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
  switch (number) {
    case 0: return {"amx", avx512 && lfm2::tiles_ready(), lfm2::kernels_amx};
    case 1: return {"avx512", avx512, lfm2::kernels_avx512};
    case 2: return {"avxvnni", avx2 && __builtin_cpu_supports("avxvnni"), lfm2::kernels_avxvnni};
    case 3: return {"avx2", avx2, lfm2::kernels_avx2};
    case 4: return {"plain", true, lfm2::kernels_plain};
  }
#else
  if (number == 0) return {"plain", true, lfm2::kernels_plain};
#endif
  return {nullptr, false, nullptr};
}

// Null where this processor is not of that kind.
const lfm2::Kernels* kernels(int32_t number) {
  const Kind kind = kind_of(number);
  return kind.usable ? kind.table() : nullptr;
}

struct Product {
  const lfm2::Matrix* matrix;
  lfm2::Activations activations;
  lfm2::Output out;
  int32_t rows;
  const lfm2::Kernels* kernels;
  lfm2::Pool* pool;
  std::vector<std::vector<float>> sums;
};

struct Reading {
  const uint8_t* data;
  int64_t bytes;
  const lfm2::Kernels* kernels;
  lfm2::Pool* pool;
  std::vector<uint64_t> sums;
};

constexpr int64_t READ_PIECE = 1 << 20;
constexpr int32_t UNUSABLE = -1;
constexpr int32_t NO_MEMORY = -2;

// work(), or NO_MEMORY: nothing that is thrown may reach the caller, who knows no C++.
template <typename Work>
auto guarded(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const std::exception&) {
    return decltype(work())(NO_MEMORY);
  }
}

int32_t product(const lfm2::Matrix& matrix, const float* x, int rows, int columns, float* out,
                int threads, const lfm2::Kernels* table) {
  lfm2::Quantized quantized;
  const lfm2::Activations a = quantized.room(rows, matrix.columns);
  for (int row = 0; row < rows; ++row) {
    table->quantize(x + size_t(row) * columns, a.levels + row * a.stride,
                    a.scales + row * a.scale_stride, columns, matrix.columns, matrix.group,
                    matrix.bits);
  }
  lfm2::Pool pool(threads);
  Product work = {&matrix, a, {out, matrix.rows, lfm2::Finish::STORE, matrix.rows}, rows, table,
                  &pool, {}};
  work.sums.assign(threads, std::vector<float>(lfm2::sum_floats(rows)));
  pool.run(
      [](void* context, int number) {
        auto& own = *static_cast<Product*>(context);
        const int all = lfm2::panels(*own.matrix);
        for (int panel = own.pool->claim(1); panel < all; panel = own.pool->claim(1)) {
          own.kernels->product(*own.matrix, own.activations, own.rows, panel, panel + 1, own.out,
                               own.sums[number].data());
        }
      },
      &work);
  return 0;
}

double read_seconds(const uint8_t* data, int64_t bytes, int threads, const lfm2::Kernels* table) {
  lfm2::Pool pool(threads);
  Reading work = {data, bytes, table, &pool, std::vector<uint64_t>(threads * 8)};
  const auto started = std::chrono::steady_clock::now();
  pool.run(
      [](void* context, int number) {
        auto& own = *static_cast<Reading*>(context);
        const auto pieces = static_cast<int>((own.bytes + READ_PIECE - 1) / READ_PIECE);
        for (int piece = own.pool->claim(1); piece < pieces; piece = own.pool->claim(1)) {
          const int64_t at = piece * READ_PIECE;
          const int64_t count = at + READ_PIECE < own.bytes ? READ_PIECE : own.bytes - at;
          own.sums[number * 8] += own.kernels->read(own.data + at, count);
        }
      },
      &work);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
  // The sum must be used, or the reading could be left out.
  return work.sums[0] == 1 ? taken.count() + 1e-12 : taken.count();
}

}  // namespace

extern "C" {

int32_t lfm2_abi(void) { return ABI; }

const char* lfm2_kernels(int32_t kind, int32_t* usable) {
  const Kind own = kind_of(kind);
  *usable = own.usable;
  return own.name;
}

void* lfm2_open(const lfm2_config* config, int32_t threads, int32_t kind) {
  const lfm2::Kernels* table = kernels(kind);
  if (table == nullptr) return nullptr;
  try {
    return new lfm2::Model(*config, table, threads);
  } catch (const std::exception&) {
    return nullptr;
  }
}

void lfm2_close(void* model) { delete static_cast<lfm2::Model*>(model); }

int32_t lfm2_forward(void* model, int32_t sequences, const lfm2_sequence* sequence,
                     const int32_t* ids, int32_t all, float* logits,
                     lfm2_before_layer before_layer) {
  return guarded([&] {
    return static_cast<lfm2::Model*>(model)->forward(sequences, sequence, ids, all != 0, logits,
                                                     before_layer);
  });
}

int32_t lfm2_product(const lfm2::Matrix* matrix, const float* x, int32_t rows, int32_t columns,
                     float* out, int32_t threads, int32_t kind) {
  const lfm2::Kernels* table = kernels(kind);
  if (table == nullptr) return UNUSABLE;
  return guarded([&] { return product(*matrix, x, rows, columns, out, threads, table); });
}

int32_t lfm2_best_scales(const lfm2::Groups* from, const float* factors, int32_t count, float* out,
                         int32_t kind) {
  const lfm2::Kernels* table = kernels(kind);
  if (table == nullptr) return UNUSABLE;
  table->best_scales(*from, factors, count, out);
  return 0;
}

double lfm2_read_seconds(const uint8_t* data, int64_t bytes, int32_t threads, int32_t kind) {
  const lfm2::Kernels* table = kernels(kind);
  if (table == nullptr) return UNUSABLE;
  return guarded([&] { return read_seconds(data, bytes, threads, table); });
}
}

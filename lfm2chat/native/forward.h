// One model with its threads and scratch, and the forward pass.
#pragma once

#include <vector>

#include "api.h"
#include "pool.h"

namespace lfm2 {

// Memory that begins at a cache line, and grows.
template <typename T>
class Scratch {
 public:
  T* at(size_t count) {
    if (count > count_) {
      room_.resize(count * sizeof(T) + 64);
      count_ = count;
    }
    const auto address = reinterpret_cast<uintptr_t>(room_.data());
    return reinterpret_cast<T*>((address + 63) & ~uintptr_t{63});
  }

 private:
  std::vector<unsigned char> room_;
  size_t count_ = 0;
};

// Rows of activations in 8 bits.
struct Quantized {
  Scratch<int8_t> levels;
  Scratch<GroupScale> scales;
  Activations room(int rows, int columns);
};

// What each thread has for itself.
struct Own {
  Scratch<float> normed, sums, attention;
};

class Model {
 public:
  Model(const lfm2_config& config, const Kernels* kernels, int threads);

  int32_t forward(int count, const lfm2_sequence* sequences, const int32_t* ids, bool all,
                  float* logits, lfm2_before_layer before_layer);

 private:
  struct Token {
    int32_t id, sequence, index;  // index within its sequence
  };

  static void job(void* model, int number);
  void run(int number);
  void begin(int number);
  bool stopped(int number);
  void attention(const lfm2_layer& layer, int slot, int number);
  void heads(const lfm2_layer& layer, int slot, int row, int head);
  void attend(int slot, int number);
  void convolution(const lfm2_layer& layer, int slot, int number);
  ConvRow conv_row(const lfm2_layer& layer, int slot, int row) const;
  void feed_forward(const lfm2_layer& layer, int number);
  void head(int number);
  void multiply(const Matrix& m, const Activations& a, int rows, const Output& out, int number);

  // Calls work(row) for each of `rows`: a few, which are every thread's own, or shared out.
  template <typename Work>
  void each_row(int rows, int number, Work work);
  // Fills a row with the norm of its hidden state; it takes the whole row, whatever is asked for.
  auto normed(const float* weight) {
    return [this, weight](int row, float* scratch, int, int) {
      const int D = config_.hidden;
      kernels_->norm(x_ + size_t(row) * D, weight, scratch, D, config_.norm_eps);
      return scratch;
    };
  }
  // Activations of the pass's rows, made by fill(row, scratch, start, end) -> floats of `n`, of
  // which those from start to end are needed.
  template <typename Fill>
  Activations quantized(int rows, int n, const Matrix& m, int number, Fill fill);

  lfm2_config config_;
  std::vector<lfm2_layer> layers_;
  std::vector<std::vector<float>> taps_;  // of the convolutions, (W, D)
  const Kernels* kernels_;
  Pool pool_;
  std::vector<Own> own_;

  // The pass at hand.
  const lfm2_sequence* sequences_ = nullptr;
  std::vector<Token> tokens_;
  std::vector<int32_t> last_rows_;
  bool all_ = false;
  float* logits_ = nullptr;
  lfm2_before_layer before_layer_ = nullptr;
  int32_t answer_ = 0;
  int rows_ = 0;
  Scratch<float> hidden_, wide_, mixed_, angles_, kept_rows_;
  Quantized shared_;
  float *x_ = nullptr, *w_ = nullptr, *o_ = nullptr, *rotary_ = nullptr;
};

}  // namespace lfm2

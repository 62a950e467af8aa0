// The forward pass: token ids of one or several sequences to logits, every thread in one job.
//
// Letters as in lfm2chat/engine/model.py. Between two layers the hidden states are float32; the
// cache is bf16, and columns of the convolutions are rounded to it before they are used, so that
// it makes no difference whether a token's neighbours are in the cache or in the same pass.
#include "forward.h"

#include <cmath>
#include <cstring>

namespace lfm2 {

namespace {

constexpr size_t CLAIM_BYTES = 96 << 10;  // weights that a thread takes on at a time

inline int padded(int columns) {
  return (columns + BLOCK_COLUMNS - 1) / BLOCK_COLUMNS * BLOCK_COLUMNS;
}

}  // namespace

Activations Quantized::room(int rows, int columns) {
  // Room for the smallest groups, whatever the matrix has. Rows a power of two apart would push one
  // another out of the first cache: a line between them is left free.
  const int64_t groups = columns / 32, stride = columns + 64;
  return {levels.at(size_t(rows) * stride), scales.at(size_t(rows) * groups), stride, groups};
}

Model::Model(const lfm2_config& config, const Kernels* kernels, int threads)
    : config_(config), layers_(config.layer, config.layer + config.layers), kernels_(kernels),
      pool_(threads), own_(threads) {
  // Taps by columns, so that sixteen channels can be read at once.
  const size_t D = config.hidden, W = config.conv_width;
  for (lfm2_layer& layer : layers_) {
    if (layer.has_attention) continue;
    std::vector<float>& turned = taps_.emplace_back(D * W);
    for (size_t d = 0; d < D; ++d) {
      for (size_t k = 0; k < W; ++k) turned[k * D + d] = layer.taps[d * W + k];
    }
    layer.taps = turned.data();
  }
}

int32_t Model::forward(int count, const lfm2_sequence* sequences, const int32_t* ids, bool all,
                       float* logits, lfm2_before_layer before_layer) {
  sequences_ = sequences;
  all_ = all;
  logits_ = logits;
  before_layer_ = before_layer;
  answer_ = 0;
  tokens_.clear();
  last_rows_.clear();
  for (int s = 0; s < count; ++s) {
    for (int t = 0; t < sequences[s].tokens; ++t) tokens_.push_back({*ids++, s, t});
    last_rows_.push_back(static_cast<int32_t>(tokens_.size()) - 1);
  }
  rows_ = static_cast<int>(tokens_.size());
  const int E = config_.head_dim, D = config_.hidden;
  const int qkv = (config_.heads + 2 * config_.kv_heads) * E;
  int wide = 3 * D > config_.ff ? 3 * D : config_.ff;
  if (qkv > wide) wide = qkv;
  x_ = hidden_.at(size_t(rows_) * D);
  w_ = wide_.at(size_t(rows_) * (wide + PANEL_ROWS));
  o_ = mixed_.at(size_t(rows_) * config_.heads * E);
  rotary_ = angles_.at(size_t(rows_) * E);
  shared_.room(rows_, padded(wide));
  // All memory is taken here, where a failure can be told: not by threads in the middle of a pass.
  for (Own& own : own_) {
    own.normed.at(padded(wide));
    own.sums.at(sum_floats(rows_));
    own.attention.at(attention_scratch(E));
  }
  pool_.run(&Model::job, this);
  return answer_;
}

void Model::job(void* model, int number) { static_cast<Model*>(model)->run(number); }

void Model::run(int number) {
  begin(number);
  int attention_slot = 0, conv_slot = 0;
  for (const lfm2_layer& layer : layers_) {
    if (stopped(number)) return;
    if (layer.has_attention) {
      attention(layer, attention_slot++, number);
    } else {
      convolution(layer, conv_slot++, number);
    }
    feed_forward(layer, number);
  }
  head(number);
}

bool Model::stopped(int number) {
  if (before_layer_ == nullptr) return false;
  if (number == 0) answer_ = before_layer_();
  pool_.meet();
  return answer_ != 0;
}

void Model::begin(int number) {
  const int D = config_.hidden, E = config_.head_dim;
  for (int row = number; row < rows_; row += pool_.threads()) {
    const Token& token = tokens_[row];
    kernels_->embed(config_.embedding, token.id, x_ + size_t(row) * D, D);
    const float position = static_cast<float>(sequences_[token.sequence].position + token.index);
    for (int i = 0; i < E / 2; ++i) {
      const float angle = position * config_.inverse_frequencies[i];
      rotary_[size_t(row) * E + i] = std::cos(angle);
      rotary_[size_t(row) * E + E / 2 + i] = std::sin(angle);
    }
  }
  pool_.meet();
}

template <typename Work>
void Model::each_row(int rows, int number, Work work) {
  for (int row = number; row < rows; row += pool_.threads()) work(row);
  pool_.meet();
}

template <typename Fill>
Activations Model::quantized(int rows, int n, const Matrix& m, int number, Fill fill) {
  float* scratch = own_[number].normed.at(padded(n));
  Activations a = shared_.room(0, m.columns);
  if (rows == 1) {
    // Every thread makes its share of the levels.
    const int groups = m.columns / m.group, threads = pool_.threads();
    const int first = groups * number / threads, last = groups * (number + 1) / threads;
    const int start = first * m.group, left = n > start ? n - start : 0;
    const int end = last * m.group < n ? last * m.group : n;
    const float* line = fill(0, scratch, start, end);
    kernels_->quantize(line + start, a.levels + start, a.scales + first, left,
                       (last - first) * m.group, m.group, m.bits);
    pool_.meet();
    return a;
  }
  each_row(rows, number, [&](int row) {
    kernels_->quantize(fill(row, scratch, 0, n), a.levels + row * a.stride,
                       a.scales + row * a.scale_stride, n, m.columns, m.group, m.bits);
  });
  return a;
}

void Model::multiply(const Matrix& m, const Activations& a, int rows, const Output& out,
                     int number) {
  float* sums = own_[number].sums.at(sum_floats(rows));
  const int all = panels(m);
  int step = static_cast<int>(CLAIM_BYTES / panel_bytes(m));
  if (step < 1) step = 1;
  int first = 0;
  while (const int count = pool_.claim_share(all, step, &first)) {
    kernels_->product(m, a, rows, first, first + count, out, sums);
  }
  pool_.meet();
}

void Model::convolution(const lfm2_layer& layer, int slot, int number) {
  const int D = config_.hidden;
  Activations a = quantized(rows_, D, layer.in, number, normed(layer.operator_norm));
  multiply(layer.in, a, rows_, {w_, 3 * D, Finish::STORE, 3 * D}, number);
  if (rows_ > 1) {  // the rows after read what a row makes here
    each_row(rows_, number, [&](int row) { kernels_->gate_in(conv_row(layer, slot, row), 0, D); });
  }
  a = quantized(rows_, D, layer.out, number, [&](int row, float* scratch, int start, int end) {
    const ConvRow work = conv_row(layer, slot, row);
    if (rows_ == 1) kernels_->gate_in(work, start, end);
    kernels_->convolve(work, start, end, scratch);
    return scratch;
  });
  multiply(layer.out, a, rows_, {x_, D, Finish::ADD, D}, number);
}

ConvRow Model::conv_row(const lfm2_layer& layer, int slot, int row) const {
  const int D = config_.hidden;
  const Token& token = tokens_[row];
  const lfm2_sequence& sequence = sequences_[token.sequence];
  uint16_t* left = sequence.left[slot];
  if (sequence.every) {
    left += size_t(token.index) * D * (config_.conv_width - 1);
  } else if (token.index != sequence.tokens - 1) {
    left = nullptr;
  }
  return {w_ + size_t(row) * 3 * D, int64_t{3} * D, layer.taps, sequence.kept[slot], left,
          token.index,              config_.conv_width, D};
}

void Model::attention(const lfm2_layer& layer, int slot, int number) {
  const int D = config_.hidden, E = config_.head_dim, K = config_.kv_heads;
  const int qkv = (config_.heads + 2 * K) * E, width = config_.heads * E;
  Activations a = quantized(rows_, D, layer.in, number, normed(layer.operator_norm));
  multiply(layer.in, a, rows_, {w_, qkv, Finish::STORE, qkv}, number);
  each_row(rows_ * K, number, [&](int unit) { heads(layer, slot, unit / K, unit % K); });
  attend(slot, number);
  a = quantized(rows_, width, layer.out, number,
                [&](int row, float*, int, int) { return o_ + size_t(row) * width; });
  multiply(layer.out, a, rows_, {x_, D, Finish::ADD, D}, number);
}

void Model::heads(const lfm2_layer& layer, int slot, int row, int head) {
  const int E = config_.head_dim, H = config_.heads, K = config_.kv_heads, groups = H / K;
  const Token& token = tokens_[row];
  const lfm2_sequence& sequence = sequences_[token.sequence];
  const int at = sequence.position + token.index;
  const float* cosines = rotary_ + size_t(row) * E;
  float* line = w_ + size_t(row) * (H + 2 * K) * E;
  const auto turn = [&](float* own, const float* weight) {
    kernels_->norm(own, weight, own, E, config_.norm_eps);
    kernels_->rotate(own, cosines, cosines + E / 2, E);
  };
  for (int query = head * groups; query < (head + 1) * groups; ++query) {
    turn(line + query * E, layer.q_norm);
  }
  float *key = line + (H + head) * E, *value = key + K * E;
  turn(key, layer.k_norm);
  if (at < sequence.known) return;  // kept from before a rewind, and exact
  const size_t to = (size_t(head) * sequence.capacity + at) * E;
  kernels_->to_bf16(key, sequence.keys[slot] + to, E);
  kernels_->to_bf16(value, sequence.values[slot] + to, E);
}

void Model::attend(int slot, int number) {
  const int E = config_.head_dim, H = config_.heads, K = config_.kv_heads, groups = H / K;
  const int height = ATTENTION_ROWS / groups;
  float* scratch = own_[number].attention.at(attention_scratch(E));
  int unit = pool_.claim(1), first_unit = 0;
  for (size_t s = 0; s < last_rows_.size(); ++s) {
    const lfm2_sequence& sequence = sequences_[s];
    const int first_row = last_rows_[s] - sequence.tokens + 1;
    const int pieces = (sequence.tokens + height - 1) / height;
    // The last pieces see most: they go first.
    for (; unit < first_unit + pieces * K; unit = pool_.claim(1)) {
      const int piece = pieces - 1 - (unit - first_unit) / K, head = (unit - first_unit) % K;
      const int begin = piece * height;
      const int count = begin + height < sequence.tokens ? height : sequence.tokens - begin;
      const int64_t stride = int64_t(H + 2 * K) * E;
      const size_t past = size_t(head) * sequence.capacity * E;
      const AttentionUnit work = {w_ + (first_row + begin) * stride + head * groups * E,
                                  o_ + (first_row + begin) * int64_t(H) * E + head * groups * E,
                                  sequence.keys[slot] + past,
                                  sequence.values[slot] + past,
                                  stride,
                                  int64_t(H) * E,
                                  count,
                                  sequence.position + begin,
                                  groups,
                                  E};
      kernels_->attend(work, scratch);
    }
    first_unit += pieces * K;
  }
  pool_.meet();
}

void Model::feed_forward(const lfm2_layer& layer, int number) {
  const int D = config_.hidden, F = config_.ff;
  Activations a = quantized(rows_, D, layer.gate_up, number, normed(layer.ffn_norm));
  multiply(layer.gate_up, a, rows_, {w_, F, Finish::SILU_GATE, F}, number);
  a = quantized(rows_, F, layer.down, number,
                [&](int row, float*, int, int) { return w_ + size_t(row) * F; });
  multiply(layer.down, a, rows_, {x_, D, Finish::ADD, D}, number);
}

void Model::head(int number) {
  const int D = config_.hidden;
  const int count = all_ ? rows_ : static_cast<int>(last_rows_.size());
  const auto norm = normed(config_.final_norm);
  const auto fill = [&](int index, float* scratch, int start, int end) {
    return norm(all_ ? index : last_rows_[index], scratch, start, end);
  };
  const Activations a = quantized(count, D, config_.head, number, fill);
  multiply(config_.head, a, count, {logits_, config_.vocab, Finish::STORE, config_.vocab}, number);
}

}  // namespace lfm2

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DROPOUT: Philox4x32-10 on one register of blocks at once; the four words of a block become four bits of a mask,
 * which then selects elements. The counters are those of core/device/ref/elements.c.
 */
#include "core/base/philox.h"
#include "core/device/cpu/isa/elements_family.h"
#include "core/device/cpu/isa/vec.h"

#include <string.h>

/* Elements that one register of blocks decides. */
#define GROUP (4 * VEC_LANES)

#if defined(LS_ISA_avx512)
typedef __m512i words;

static inline words words_set(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}

static inline words words_count(uint32_t first)
{
    return _mm512_add_epi32(words_set(first), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

static inline words multiply_low(words a, words b)
{
    return _mm512_mullo_epi32(a, b);
}

static inline words multiply_high(words a, words b)
{
    words even = _mm512_mul_epu32(a, b), odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), b);

    return _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xaaaa, odd);
}

/* Bit i: the unit number of lane i is >= rate. */
static inline uint64_t keep_bits(words w, float rate)
{
    vec unit = _mm512_cvtepi32_ps(_mm512_srli_epi32(w, 8)) * vec_set(0x1p-24f);

    return vec_not_less(unit, vec_set(rate));
}

static inline vec_mask mask_of_bits(uint64_t bits)
{
    return (vec_mask)bits;
}
#else
typedef __m256i words;

static inline words words_set(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}

static inline words words_count(uint32_t first)
{
    return _mm256_add_epi32(words_set(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline words multiply_low(words a, words b)
{
    return _mm256_mullo_epi32(a, b);
}

static inline words multiply_high(words a, words b)
{
    words even = _mm256_mul_epu32(a, b), odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), b);

    return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}

static inline uint64_t keep_bits(words w, float rate)
{
    vec unit = _mm256_cvtepi32_ps(_mm256_srli_epi32(w, 8)) * vec_set(0x1p-24f);

    return (uint64_t)_mm256_movemask_ps(vec_not_less(unit, vec_set(rate)));
}

static inline vec_mask mask_of_bits(uint64_t bits)
{
    words lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);

    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(_mm256_and_si256(words_set((uint32_t)bits), lane), lane));
}
#endif

struct stream {
    struct ls_philox_key key;
    uint64_t step;
    float rate, scale;
};

/* Bit e: element 4 * block + e of the sample is kept, for a register of blocks. */
static uint64_t keep_group(const struct stream *stream, uint64_t sample, uint32_t block)
{
    uint32_t high = (uint32_t)(stream->step >> 32 & 0xffff) | (uint32_t)(sample & 0xffff) << 16;
    words c0 = words_set((uint32_t)stream->step), c1 = words_set(high);
    words c2 = words_set((uint32_t)(sample >> 16)), c3 = words_count(block);
    uint32_t k0 = stream->key.word[0], k1 = stream->key.word[1];

    for (int round = 0; round < 10; round++) {
        words m0 = words_set(0xD2511F53u), m1 = words_set(0xCD9E8D57u);
        words p0_low = multiply_low(c0, m0), p0_high = multiply_high(c0, m0);
        words p1_low = multiply_low(c2, m1), p1_high = multiply_high(c2, m1);

        c0 = p1_high ^ c1 ^ words_set(k0);
        c1 = p1_low;
        c2 = p0_high ^ c3 ^ words_set(k1);
        c3 = p0_low;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return _pdep_u64(keep_bits(c0, stream->rate), UINT64_C(0x1111111111111111)) |
           _pdep_u64(keep_bits(c1, stream->rate), UINT64_C(0x2222222222222222)) |
           _pdep_u64(keep_bits(c2, stream->rate), UINT64_C(0x4444444444444444)) |
           _pdep_u64(keep_bits(c3, stream->rate), UINT64_C(0x8888888888888888));
}

struct job {
    struct stream stream;
    const float *in;
    float *out;
    uint64_t first_sample;
    int64_t per_sample;
};

static void dropout_sample(const struct job *job, int64_t sample)
{
    const float *in = job->in + sample * job->per_sample;
    float *out = job->out + sample * job->per_sample;
    vec scale = vec_set(job->stream.scale), zero = vec_set(0.0f);

    for (int64_t e = 0; e < job->per_sample; e += GROUP) {
        uint64_t keep = keep_group(&job->stream, job->first_sample + (uint64_t)sample, (uint32_t)(e / 4));

        for (int64_t i = e; i < e + GROUP && i < job->per_sample; i += VEC_LANES) {
            int64_t count = job->per_sample - i;
            vec x = vec_load_some(in + i, count);

            vec_store_some(out + i, vec_choose(zero, x * scale, mask_of_bits(keep)), count);
            keep >>= VEC_LANES;
        }
    }
}

static void dropout_range(void *state, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    for (int64_t sample = begin; sample < end; sample++)
        dropout_sample(state, sample);
}

static enum ls_status dropout(struct ls_device *device, const struct ls_op_call *call, struct ls_error *err)
{
    int64_t count = ls_shape_count(&call->out[0].shape);
    int64_t samples = call->shards ? call->shards->offset[call->shards->count] : 1;
    float rate = call->attrs->dropout.rate;
    struct job job = {.in = call->in[0].data, .out = call->out[0].data, .per_sample = samples ? count / samples : 0};

    (void)err;
    if (!call->step->training) {
        memcpy(call->out[0].data, call->in[0].data, ls_view_bytes(&call->out[0]));
        return LS_OK;
    }
    job.first_sample = call->shards ? (uint64_t)call->shards->first_sample : LS_PHILOX_NO_SAMPLE;
    job.stream.key = ls_philox_key_of(call->step->seed, call->attrs->dropout.stream, call->attrs->dropout.call);
    job.stream.step = call->step->step;
    job.stream.rate = rate;
    job.stream.scale = 1.0f / (1.0f - rate);
    lsi_device_parallel(device, samples, 1 + 4096 / (job.per_sample + 1), dropout_range, &job);
    return LS_OK;
}

static bool accepts(const struct ls_device *device, const struct ls_op_call *call)
{
    (void)device;
    return call->step && call->in[0].dtype == LS_F32 && call->out[0].dtype == LS_F32;
}

void LSI_ISA_NAME(lsi_cpu_dropout)(struct lsi_kernel *table)
{
    table[LS_OP_DROPOUT] = (struct lsi_kernel){.run = dropout, .accepts = accepts};
}

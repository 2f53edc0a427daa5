/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Element-wise kernels of reductions, written once with vector extensions and compiled for each instruction set
 * (chosen at run time), and the walk over a tree's steps. IEEE operations only, so that every set gives the same bits.
 */
#include "collective/reduce.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#define TARGETS(X) \
    X(base, ) X(avx2, __attribute__((target("avx2")))) X(avx512, __attribute__((target("avx512f,avx512bw"))))
#else
#define TARGETS(X) X(base, )
#endif

#define VECTOR_BYTES 64
typedef float vf32 __attribute__((vector_size(VECTOR_BYTES)));
typedef double vf64 __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t vi32 __attribute__((vector_size(VECTOR_BYTES)));
typedef int64_t vi64 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t vu32 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint64_t vu64 __attribute__((vector_size(VECTOR_BYTES)));
typedef uint16_t vu16 __attribute__((vector_size(VECTOR_BYTES / 2)));

#define PICK(V, I, mask, a, b) ((V)(((I)(a) & (mask)) | ((I)(b) & ~(mask))))

#define F_SUM(V, U, I, a, b) ((a) + (b))
#define F_PRODUCT(V, U, I, a, b) ((a) * (b))
#define F_MIN(V, U, I, a, b) PICK(V, I, ((I)((a) < (b)) | (I)((a) != (a))), a, b)
#define F_MAX(V, U, I, a, b) PICK(V, I, ((I)((a) > (b)) | (I)((a) != (a))), a, b)
/* Integers wrap: added and multiplied without sign. */
#define I_SUM(V, U, I, a, b) ((V)((U)(a) + (U)(b)))
#define I_PRODUCT(V, U, I, a, b) ((V)((U)(a) * (U)(b)))
#define I_MIN(V, U, I, a, b) PICK(V, I, (I)((a) < (b)), a, b)
#define I_MAX(V, U, I, a, b) PICK(V, I, (I)((a) > (b)), a, b)

/* One kernel: whole vectors, then one padded vector. */
#define KERNEL(isa, target, name, V, U, I, type, EXPRESSION)                                \
    target static void name##_##isa(void *out, const void *a, const void *b, int64_t count) \
    {                                                                                       \
        const int64_t lanes = (int64_t)(VECTOR_BYTES / sizeof(type));                       \
        type *o = out;                                                                      \
        const type *pa = a;                                                                 \
        const type *pb = b;                                                                 \
        V x, y;                                                                             \
        int64_t i = 0;                                                                      \
        for (; i + lanes <= count; i += lanes) {                                            \
            memcpy(&x, pa + i, sizeof x);                                                   \
            memcpy(&y, pb + i, sizeof y);                                                   \
            x = EXPRESSION(V, U, I, x, y);                                                  \
            memcpy(o + i, &x, sizeof x);                                                    \
        }                                                                                   \
        if (i == count)                                                                     \
            return;                                                                         \
        memset(&x, 0, sizeof x);                                                            \
        memset(&y, 0, sizeof y);                                                            \
        memcpy(&x, pa + i, (size_t)(count - i) * sizeof(type));                             \
        memcpy(&y, pb + i, (size_t)(count - i) * sizeof(type));                             \
        x = EXPRESSION(V, U, I, x, y);                                                      \
        memcpy(o + i, &x, (size_t)(count - i) * sizeof(type));                              \
    }

#define BF16_WIDEN(h) ((vf32)(__builtin_convertvector(h, vu32) << 16))
/* One vector of bf16: f32 arithmetic, rounded to nearest even, NaN kept quiet. */
#define BF16_ONE(EXPRESSION)                                                            \
    do {                                                                                \
        vf32 fx = BF16_WIDEN(x);                                                        \
        vf32 fy = BF16_WIDEN(y);                                                        \
        vf32 r = EXPRESSION(vf32, vu32, vi32, fx, fy);                                  \
        vu32 bits = (vu32)r;                                                            \
        vu32 rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;                      \
        vu32 quiet = (bits >> 16) | 0x40;                                               \
        vi32 nan = (vi32)(r != r);                                                      \
        x = __builtin_convertvector((vu32)PICK(vi32, vi32, nan, quiet, rounded), vu16); \
    } while (0)
#define KERNEL_BF16(isa, target, name, EXPRESSION)                                          \
    target static void name##_##isa(void *out, const void *a, const void *b, int64_t count) \
    {                                                                                       \
        const int64_t lanes = VECTOR_BYTES / 4;                                             \
        uint16_t *o = out;                                                                  \
        const uint16_t *pa = a;                                                             \
        const uint16_t *pb = b;                                                             \
        vu16 x, y;                                                                          \
        int64_t i = 0;                                                                      \
        for (; i + lanes <= count; i += lanes) {                                            \
            memcpy(&x, pa + i, sizeof x);                                                   \
            memcpy(&y, pb + i, sizeof y);                                                   \
            BF16_ONE(EXPRESSION);                                                           \
            memcpy(o + i, &x, sizeof x);                                                    \
        }                                                                                   \
        if (i == count)                                                                     \
            return;                                                                         \
        memset(&x, 0, sizeof x);                                                            \
        memset(&y, 0, sizeof y);                                                            \
        memcpy(&x, pa + i, (size_t)(count - i) * 2);                                        \
        memcpy(&y, pb + i, (size_t)(count - i) * 2);                                        \
        BF16_ONE(EXPRESSION);                                                               \
        memcpy(o + i, &x, (size_t)(count - i) * 2);                                         \
    }

#define FOUR(isa, target, name, V, U, I, type, P)           \
    KERNEL(isa, target, name##_sum, V, U, I, type, P##_SUM) \
    KERNEL(isa, target, name##_min, V, U, I, type, P##_MIN) \
    KERNEL(isa, target, name##_max, V, U, I, type, P##_MAX) \
    KERNEL(isa, target, name##_product, V, U, I, type, P##_PRODUCT)

#define ALL(isa, target)                                                      \
    FOUR(isa, target, f32, vf32, vu32, vi32, float, F)                        \
    FOUR(isa, target, f64, vf64, vu64, vi64, double, F)                       \
    FOUR(isa, target, i32, vi32, vu32, vi32, int32_t, I)                      \
    FOUR(isa, target, i64, vi64, vu64, vi64, int64_t, I)                      \
    KERNEL_BF16(isa, target, bf16_sum, F_SUM)                                 \
    KERNEL_BF16(isa, target, bf16_min, F_MIN)                                 \
    KERNEL_BF16(isa, target, bf16_max, F_MAX)                                 \
    KERNEL_BF16(isa, target, bf16_product, F_PRODUCT)                         \
    static const lsi_combine table_##isa[5][4] = {                            \
        {f32_sum_##isa, f32_min_##isa, f32_max_##isa, f32_product_##isa},     \
        {f64_sum_##isa, f64_min_##isa, f64_max_##isa, f64_product_##isa},     \
        {bf16_sum_##isa, bf16_min_##isa, bf16_max_##isa, bf16_product_##isa}, \
        {i32_sum_##isa, i32_min_##isa, i32_max_##isa, i32_product_##isa},     \
        {i64_sum_##isa, i64_min_##isa, i64_max_##isa, i64_product_##isa},     \
    };
TARGETS(ALL)

lsi_combine lsi_combine_get(enum ls_dtype dtype, enum ls_reduction reduction)
{
    const lsi_combine(*table)[4] = table_base;

    if (dtype < LS_F32 || dtype > LS_I64 || (unsigned)reduction > LS_PRODUCT)
        return NULL;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        table = table_avx512;
    else if (__builtin_cpu_supports("avx2"))
        table = table_avx2;
#endif
    return table[dtype - LS_F32][reduction];
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static void stream_avx512(uint8_t *dst, const uint8_t *src, size_t lines)
{
    for (size_t i = 0; i < lines; i++)
        _mm512_stream_si512((void *)(dst + 64 * i), _mm512_loadu_si512((const void *)(src + 64 * i)));
}

__attribute__((target("avx2"))) static void stream_avx2(uint8_t *dst, const uint8_t *src, size_t lines)
{
    for (size_t i = 0; i < 2 * lines; i++)
        _mm256_stream_si256((void *)(dst + 32 * i), _mm256_loadu_si256((const void *)(src + 32 * i)));
}

static void stream_lines(uint8_t *dst, const uint8_t *src, size_t lines)
{
    if (__builtin_cpu_supports("avx512f"))
        stream_avx512(dst, src, lines);
    else if (__builtin_cpu_supports("avx2"))
        stream_avx2(dst, src, lines);
    else
        memcpy(dst, src, 64 * lines);
}

/* memcpy whose whole cache lines go past the cache. */
static void store(void *dst, const void *src, size_t bytes, bool stream)
{
    uint8_t *d = dst;
    const uint8_t *s = src;
    size_t head = (64 - ((uintptr_t)d & 63)) & 63;

    if (!stream || bytes < 256) {
        memcpy(d, s, bytes);
        return;
    }
    memcpy(d, s, head);
    stream_lines(d + head, s + head, (bytes - head) / 64);
    head += (bytes - head) / 64 * 64;
    memcpy(d + head, s + head, bytes - head);
}

static void store_end(bool stream)
{
    if (stream)
        _mm_sfence();
}
#else
static void store(void *dst, const void *src, size_t bytes, bool stream)
{
    (void)stream;
    memcpy(dst, src, bytes);
}

static void store_end(bool stream)
{
    (void)stream;
}
#endif

void lsi_copy_stream(void *dst, const void *src, size_t bytes)
{
    store(dst, src, bytes, true);
    store_end(true);
}

#define CHUNK_BYTES 4096

struct chunk {
    size_t offset;
    size_t bytes;
    int64_t count;
};

static const void *operand(const struct lsi_reduce *reduce, uint8_t (*slots)[CHUNK_BYTES], int16_t x, size_t offset)
{
    return x >= 0 ? (const uint8_t *)reduce->inputs[x] + offset : (const void *)slots[-1 - x];
}

/* The last step goes to the first result directly unless it is to pass the cache. */
static void run_chunk(const struct lsi_reduce *reduce, uint8_t (*slots)[CHUNK_BYTES], const struct chunk *chunk)
{
    const struct lsi_steps *steps = reduce->steps;
    const void *result = steps->count == 0 ? operand(reduce, slots, steps->only, chunk->offset) : NULL;
    int first = 0;

    for (int i = 0; i < steps->count; i++) {
        const struct lsi_step *step = &steps->step[i];
        void *out = slots[-1 - step->dst];
        if (i == steps->count - 1 && !reduce->stream) {
            out = (uint8_t *)reduce->outs[0] + chunk->offset;
            first = 1;
        }
        reduce->combine(out, operand(reduce, slots, step->a, chunk->offset),
                        operand(reduce, slots, step->b, chunk->offset), chunk->count);
        result = out;
    }
    for (int k = first; k < reduce->out_count; k++)
        store((uint8_t *)reduce->outs[k] + chunk->offset, result, chunk->bytes, reduce->stream);
}

void lsi_reduce_run(const struct lsi_reduce *reduce, int64_t count)
{
    uint8_t slots[LSI_MAX_SLOTS][CHUNK_BYTES] __attribute__((aligned(64)));
    int64_t per_chunk = (int64_t)(CHUNK_BYTES / reduce->element_bytes);

    for (int64_t i = 0; i < count; i += per_chunk) {
        int64_t n = count - i < per_chunk ? count - i : per_chunk;
        struct chunk chunk = {(size_t)i * reduce->element_bytes, (size_t)n * reduce->element_bytes, n};
        run_chunk(reduce, slots, &chunk);
    }
    store_end(reduce->stream);
}

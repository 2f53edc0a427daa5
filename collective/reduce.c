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
#define F_DIVIDE(V, U, I, a, b) ((a) / (b))
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
/* Rounded to nearest even, NaN kept quiet. */
#define BF16_NARROW(r)                                                                           \
    __builtin_convertvector((vu32)PICK(vi32, vi32, (vi32)((r) != (r)), ((vu32)(r) >> 16) | 0x40, \
                                       ((vu32)(r) + 0x7fff + (((vu32)(r) >> 16) & 1)) >> 16),    \
                            vu16)

/* f16 by integer arithmetic and exact multiplications, the same on every instruction set. The exponent is moved by a
 * factor of 2^112, which also makes normal numbers of the subnormal ones; infinities and NaN get theirs by hand. */
#define F16_MAGNITUDE(h) ((__builtin_convertvector(h, vu32) & 0x7fff) << 13)
#define F16_WIDEN(h)                                                                                              \
    ((vf32)((vu32)((vf32)F16_MAGNITUDE(h) * 0x1p112f) | ((vu32)(F16_MAGNITUDE(h) >= 0x0f800000u) & 0x7f800000u) | \
            ((__builtin_convertvector(h, vu32) & 0x8000) << 16)))
#define F16_ABS(r) ((vu32)(r)&0x7fffffffu)
/* Below 2^-14 the addition of 0.5 rounds to units of 2^-24; above, the exponent is moved and the rest rounded to even. */
#define F16_SMALL(r) ((vu32)((vf32)F16_ABS(r) + 0.5f) - 0x3f000000u)
#define F16_NORMAL(r) ((F16_ABS(r) - 0x38000000u + 0xfff + ((F16_ABS(r) >> 13) & 1)) >> 13)
#define F16_FINITE(r)                                                \
    PICK(vu32, vi32, (vi32)(F16_ABS(r) < 0x38800000u), F16_SMALL(r), \
         PICK(vu32, vi32, (vi32)(F16_ABS(r) < 0x47800000u), F16_NORMAL(r), (vu32){0} + 0x7c00u))
#define F16_NARROW(r)                                                                                  \
    __builtin_convertvector(PICK(vu32, vi32, (vi32)((r) != (r)), (vu32){0} + 0x7e00u, F16_FINITE(r)) | \
                                (((vu32)(r) >> 16) & 0x8000u),                                         \
                            vu16)

/* 16-bit floats: one operation of f32 on two vectors, rounded once. A sum, product or quotient of two bf16 or f16 that is
 * rounded to f32 first rounds to the same number: f32 has more than twice their digits and two. */
#define KERNEL_16(isa, target, name, P, EXPRESSION)                                         \
    target static void name##_##isa(void *out, const void *a, const void *b, int64_t count) \
    {                                                                                       \
        const int64_t lanes = VECTOR_BYTES / 4;                                             \
        uint16_t *o = out;                                                                  \
        const uint16_t *pa = a;                                                             \
        const uint16_t *pb = b;                                                             \
        for (int64_t i = 0; i < count; i += lanes) {                                        \
            size_t bytes = (size_t)(count - i < lanes ? count - i : lanes) * 2;             \
            vu16 x = {0}, y = {0};                                                          \
            if (bytes == sizeof x) {                                                        \
                memcpy(&x, pa + i, sizeof x);                                               \
                memcpy(&y, pb + i, sizeof y);                                               \
            } else {                                                                        \
                memcpy(&x, pa + i, bytes);                                                  \
                memcpy(&y, pb + i, bytes);                                                  \
            }                                                                               \
            vf32 fx = P##_WIDEN(x);                                                         \
            vf32 fy = P##_WIDEN(y);                                                         \
            vf32 r = EXPRESSION(vf32, vu32, vi32, fx, fy);                                  \
            x = P##_NARROW(r);                                                              \
            if (bytes == sizeof x)                                                          \
                memcpy(o + i, &x, sizeof x);                                                \
            else                                                                            \
                memcpy(o + i, &x, bytes);                                                   \
        }                                                                                   \
    }

#define FOUR(isa, target, name, V, U, I, type, P)           \
    KERNEL(isa, target, name##_sum, V, U, I, type, P##_SUM) \
    KERNEL(isa, target, name##_min, V, U, I, type, P##_MIN) \
    KERNEL(isa, target, name##_max, V, U, I, type, P##_MAX) \
    KERNEL(isa, target, name##_product, V, U, I, type, P##_PRODUCT)
#define FOUR_16(isa, target, name, P)                    \
    KERNEL_16(isa, target, name##_sum, P, F_SUM)         \
    KERNEL_16(isa, target, name##_min, P, F_MIN)         \
    KERNEL_16(isa, target, name##_max, P, F_MAX)         \
    KERNEL_16(isa, target, name##_product, P, F_PRODUCT) \
    KERNEL_16(isa, target, name##_divide, P, F_DIVIDE)

/* Rows: enum ls_dtype; columns: enum ls_reduction, then the division of a mean. */
#define DIVIDE 4
#define ROW(isa, name) name##_sum_##isa, name##_min_##isa, name##_max_##isa, name##_product_##isa
#define ALL(isa, target)                                                \
    FOUR(isa, target, f32, vf32, vu32, vi32, float, F)                  \
    FOUR(isa, target, f64, vf64, vu64, vi64, double, F)                 \
    FOUR(isa, target, i32, vi32, vu32, vi32, int32_t, I)                \
    FOUR(isa, target, i64, vi64, vu64, vi64, int64_t, I)                \
    KERNEL(isa, target, f32_divide, vf32, vu32, vi32, float, F_DIVIDE)  \
    KERNEL(isa, target, f64_divide, vf64, vu64, vi64, double, F_DIVIDE) \
    FOUR_16(isa, target, bf16, BF16)                                    \
    FOUR_16(isa, target, f16, F16)                                      \
    static const lsi_combine table_##isa[][DIVIDE + 1] = {              \
        [LS_F32] = {ROW(isa, f32), f32_divide_##isa},                   \
        [LS_F64] = {ROW(isa, f64), f64_divide_##isa},                   \
        [LS_BF16] = {ROW(isa, bf16), bf16_divide_##isa},                \
        [LS_F16] = {ROW(isa, f16), f16_divide_##isa},                   \
        [LS_I32] = {ROW(isa, i32)},                                     \
        [LS_I64] = {ROW(isa, i64)},                                     \
    };
TARGETS(ALL)

static lsi_combine find_kernel(enum ls_dtype dtype, int column)
{
    const lsi_combine(*table)[DIVIDE + 1] = table_base;

    if ((unsigned)dtype >= sizeof table_base / sizeof table_base[0])
        return NULL;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw"))
        table = table_avx512;
    else if (__builtin_cpu_supports("avx2"))
        table = table_avx2;
#endif
    return table[dtype][column];
}

lsi_combine lsi_combine_get(enum ls_dtype dtype, enum ls_reduction reduction)
{
    if ((unsigned)reduction > LS_MEAN)
        return NULL;
    if (reduction == LS_MEAN)
        return find_kernel(dtype, DIVIDE) != NULL ? find_kernel(dtype, LS_SUM) : NULL;
    return find_kernel(dtype, (int)reduction);
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

/* What a run needs beside its reduce. */
struct workspace {
    uint8_t slots[LSI_MAX_SLOTS][CHUNK_BYTES] __attribute__((aligned(64)));
    uint8_t divisors[CHUNK_BYTES] __attribute__((aligned(64))); /* of a mean, one an element */
    lsi_combine divide;                                         /* NULL: no mean */
};

/* A number up to 256 in each dtype: exact. */
static void fill_divisors(struct workspace *work, const struct lsi_reduce *reduce, int64_t count)
{
    float f32 = (float)reduce->divisor;
    double f64 = reduce->divisor;
    uint32_t bits;
    uint16_t half;

    memcpy(&bits, &f32, sizeof bits);
    half = reduce->dtype == LS_BF16 ? (uint16_t)(bits >> 16) : (uint16_t)((bits - 0x38000000u) >> 13);
    for (int64_t i = 0; i < count; i++) {
        uint8_t *at = work->divisors + (size_t)i * reduce->element_bytes;
        if (reduce->element_bytes == sizeof half)
            memcpy(at, &half, sizeof half);
        else if (reduce->element_bytes == sizeof f32)
            memcpy(at, &f32, sizeof f32);
        else
            memcpy(at, &f64, sizeof f64);
    }
}

static const void *operand(const struct lsi_reduce *reduce, struct workspace *work, int16_t x, size_t offset)
{
    return x >= 0 ? (const uint8_t *)reduce->inputs[x] + offset : (const void *)work->slots[-1 - x];
}

/* The last step goes to the first result directly unless it is to pass the cache. */
static void run_chunk(const struct lsi_reduce *reduce, struct workspace *work, const struct chunk *chunk)
{
    const struct lsi_steps *steps = reduce->steps;
    const void *result = steps->count == 0 ? operand(reduce, work, steps->only, chunk->offset) : NULL;
    int first = 0;

    for (int i = 0; i < steps->count; i++) {
        const struct lsi_step *step = &steps->step[i];
        void *out = work->slots[-1 - step->dst];
        if (i == steps->count - 1 && !reduce->stream) {
            out = (uint8_t *)reduce->outs[0] + chunk->offset;
            first = 1;
        }
        reduce->combine(out, operand(reduce, work, step->a, chunk->offset),
                        operand(reduce, work, step->b, chunk->offset), chunk->count);
        result = out;
    }
    if (work->divide != NULL) {
        void *out = first == 1 ? (uint8_t *)reduce->outs[0] + chunk->offset : work->slots[0];
        work->divide(out, result, work->divisors, chunk->count);
        result = out;
    }
    for (int k = first; k < reduce->out_count; k++)
        store((uint8_t *)reduce->outs[k] + chunk->offset, result, chunk->bytes, reduce->stream);
}

void lsi_reduce_run(const struct lsi_reduce *reduce, int64_t count)
{
    struct workspace work;
    int64_t per_chunk = (int64_t)(CHUNK_BYTES / reduce->element_bytes);

    work.divide = reduce->divisor > 1 ? find_kernel(reduce->dtype, DIVIDE) : NULL;
    if (work.divide != NULL)
        fill_divisors(&work, reduce, count < per_chunk ? count : per_chunk);
    for (int64_t i = 0; i < count; i += per_chunk) {
        int64_t n = count - i < per_chunk ? count - i : per_chunk;
        struct chunk chunk = {(size_t)i * reduce->element_bytes, (size_t)n * reduce->element_bytes, n};
        run_chunk(reduce, &work, &chunk);
    }
    store_end(reduce->stream);
}

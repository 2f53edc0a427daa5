/* SPDX-License-Identifier: Apache-2.0 */
/* See bf16.h. The last vector of a run is padded, so that every element goes through the same code. */
#include "collective/bf16.h"

#include <string.h>

#if defined(__x86_64__)
#define TARGETS(X) \
    X(base, ) X(avx2, __attribute__((target("avx2")))) X(avx512, __attribute__((target("avx512f,avx512bw"))))
#else
#define TARGETS(X) X(base, )
#endif

#define LANES 16
typedef float vf32 __attribute__((vector_size(4 * LANES)));
typedef int32_t vi32 __attribute__((vector_size(4 * LANES)));
typedef uint32_t vu32 __attribute__((vector_size(4 * LANES)));
typedef uint16_t vu16 __attribute__((vector_size(2 * LANES)));

#define WIDEN(h) ((vf32)(__builtin_convertvector(h, vu32) << 16))
#define NARROW(r)                                                                                         \
    __builtin_convertvector((((vu32)(r) + 0x7fff + (((vu32)(r) >> 16) & 1)) >> 16 & (vu32)((r) == (r))) | \
                                ((((vu32)(r) >> 16) | 0x40) & (vu32)((r) != (r))),                        \
                            vu16)

/* What a vector of values x and one of travelling values h become; RUN loads and stores what is named. */
#define RUN(isa, target, name, values_type, travel_type, LOAD, BODY, STORE)                                 \
    target static void name##_##isa(values_type *values, travel_type *travel, float divisor, int64_t count) \
    {                                                                                                       \
        (void)divisor, (void)travel;                                                                        \
        for (int64_t i = 0; i < count; i += LANES) {                                                        \
            size_t n = (size_t)(count - i < LANES ? count - i : LANES);                                     \
            vf32 x = {0};                                                                                   \
            vu16 h = {0};                                                                                   \
            (void)h;                                                                                        \
            if (n == LANES) {                                                                               \
                LOAD(LANES)                                                                                 \
                BODY STORE(LANES)                                                                           \
            } else {                                                                                        \
                LOAD(n)                                                                                     \
                BODY STORE(n)                                                                               \
            }                                                                                               \
        }                                                                                                   \
    }

#define LOAD_X(n) memcpy(&x, values + i, (n) * sizeof(float));
#define LOAD_H(n) memcpy(&h, travel + i, (n) * sizeof(uint16_t));
#define LOAD_BOTH(n) LOAD_X(n) LOAD_H(n)
#define STORE_X(n) memcpy(values + i, &x, (n) * sizeof(float));
#define STORE_H(n) memcpy(travel + i, &h, (n) * sizeof(uint16_t));
#define STORE_BOTH(n) STORE_X(n) STORE_H(n)

#define ALL(isa, target)                                                                        \
    RUN(isa, target, narrow, const float, uint16_t, LOAD_X, h = NARROW(x);, STORE_H)            \
    RUN(isa, target, widen, float, const uint16_t, LOAD_H, x = WIDEN(h);, STORE_X)              \
    RUN(isa, target, add, float, const uint16_t, LOAD_BOTH, x += WIDEN(h);, STORE_X)            \
    RUN(isa, target, settle, float, uint16_t, LOAD_X, h = NARROW(x); x = WIDEN(h);, STORE_BOTH) \
    RUN(isa, target, divide, float, uint16_t, LOAD_X, x /= divisor;, STORE_X)
TARGETS(ALL)

#if defined(__x86_64__)
#define CALL(name, ...)                                                              \
    do {                                                                             \
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")) \
            name##_avx512(__VA_ARGS__);                                              \
        else if (__builtin_cpu_supports("avx2"))                                     \
            name##_avx2(__VA_ARGS__);                                                \
        else                                                                         \
            name##_base(__VA_ARGS__);                                                \
    } while (0)
#else
#define CALL(name, ...) name##_base(__VA_ARGS__)
#endif

void lsi_bf16_narrow(uint16_t *out, const float *in, int64_t count)
{
    CALL(narrow, in, out, 1, count);
}

void lsi_bf16_widen(float *out, const uint16_t *in, int64_t count)
{
    CALL(widen, out, in, 1, count);
}

void lsi_bf16_add(float *sum, const uint16_t *in, int64_t count)
{
    CALL(add, sum, in, 1, count);
}

void lsi_bf16_settle(uint16_t *out, float *values, int64_t count)
{
    CALL(settle, values, out, 1, count);
}

void lsi_bf16_divide(float *values, int divisor, int64_t count)
{
    if (divisor > 1)
        CALL(divide, values, NULL, (float)divisor, count);
}

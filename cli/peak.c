/* SPDX-License-Identifier: Apache-2.0 */
/* The arithmetic limit of a core: independent chains of fma on the widest vectors that it has. */
#include "cli/peak.h"

#include "core/base/clock.h"

#include <math.h>

#define CHAINS 16
#define ROUNDS 200000

#if defined(__x86_64__)
#include <immintrin.h>

__attribute__((target("avx512f"))) static double run512(float *out)
{
    __m512 a[CHAINS], b = _mm512_set1_ps(0.5f);

    for (int c = 0; c < CHAINS; c++)
        a[c] = _mm512_set1_ps((float)c);
    for (int i = 0; i < ROUNDS; i++)
#pragma GCC unroll 16
        for (int c = 0; c < CHAINS; c++)
            a[c] = _mm512_fmadd_ps(a[c], b, b);
    for (int c = 0; c < CHAINS; c++)
        *out += _mm512_reduce_add_ps(a[c]);
    return 2.0 * 16 * CHAINS * ROUNDS;
}

__attribute__((target("avx2,fma"))) static double run256(float *out)
{
    __m256 a[CHAINS - 2], b = _mm256_set1_ps(0.5f);

    for (int c = 0; c < CHAINS - 2; c++)
        a[c] = _mm256_set1_ps((float)c);
    for (int i = 0; i < ROUNDS; i++)
#pragma GCC unroll 14
        for (int c = 0; c < CHAINS - 2; c++)
            a[c] = _mm256_fmadd_ps(a[c], b, b);
    for (int c = 0; c < CHAINS - 2; c++)
        *out += _mm256_cvtss_f32(a[c]);
    return 2.0 * 8 * (CHAINS - 2) * ROUNDS;
}
#endif

static double run_scalar(float *out)
{
    float a[CHAINS] = {0};

    for (int i = 0; i < ROUNDS; i++)
        for (int c = 0; c < CHAINS; c++)
            a[c] = fmaf(a[c], 0.5f, 0.5f);
    for (int c = 0; c < CHAINS; c++)
        *out += a[c];
    return 2.0 * CHAINS * ROUNDS;
}

double ls_measure_fma_peak(void)
{
    volatile float kept;
    float out = 0;
    double best = 0;

    for (int round = 0; round < 5; round++) {
        uint64_t began = ls_clock_now_ns();
        double done, rate;

#if defined(__x86_64__)
        if (__builtin_cpu_supports("avx512f"))
            done = run512(&out);
        else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
            done = run256(&out);
        else
#endif
            done = run_scalar(&out);
        rate = done / ((double)(ls_clock_now_ns() - began) * 1e-9);
        if (rate > best)
            best = rate;
    }
    kept = out;
    (void)kept;
    return best;
}

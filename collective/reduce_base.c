/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels for every processor, and the choice of the best table that this one can run. */
#include "collective/isa/reduce_table.h"

#include <stdatomic.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* clang 14 does not know "f16c" as a feature to ask for. */
static bool has_f16c(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

static const struct lsi_kernels *choose(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && has_f16c() && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2")) {
        bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
        return wide ? &lsi_kernels_avx512 : &lsi_kernels_avx2;
    }
#endif
    return &lsi_kernels_base;
}

/* Chosen once: a virtual machine stops for tens of microseconds where a processor is asked what it can. */
const struct lsi_kernels *lsi_kernels_best(void)
{
    static const struct lsi_kernels *_Atomic chosen;
    const struct lsi_kernels *best = atomic_load_explicit(&chosen, memory_order_relaxed);

    if (best == NULL) {
        best = choose();
        atomic_store_explicit(&chosen, best, memory_order_relaxed);
    }
    return best;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The instruction sets of this build, best first. */
#include "core/device/device_internal.h"

#include <stddef.h>
#include <string.h>

static bool always(void)
{
    return true;
}

#if defined(__x86_64__)
/* The features that cmake/layer.cmake compiles for. f16c is not asked for (clang 14 does not know its name): every
 * processor with AVX2 has it. */
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif

static const struct lsi_isa isas[] = {
#if defined(__x86_64__)
    {"avx512", "cpu/avx512", has_avx512, lsi_cpu_kernels_avx512, lsi_cpu_sweeps_avx512},
    {"avx2", "cpu/avx2", has_avx2, lsi_cpu_kernels_avx2, lsi_cpu_sweeps_avx2},
#endif
    {"ref", "cpu/ref", always, NULL, NULL},
};

const struct lsi_isa *lsi_isa_find(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof isas / sizeof isas[0]; i++) {
        if (name == NULL ? isas[i].present() : strcmp(name, isas[i].name) == 0)
            return &isas[i];
    }
    return NULL;
}

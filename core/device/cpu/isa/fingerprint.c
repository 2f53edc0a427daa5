/* SPDX-License-Identifier: Apache-2.0 */
/* Fingerprints of parameters: XXH3 as the instruction set has it (the library's own is built for any processor). */
#include "core/device/cpu/isa/isa.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define AT_ONCE 32 /* floats of an inner loop that becomes whole vectors */

bool LSI_ISA_NAME(lsi_has_nan)(const float *data, int64_t count)
{
    int32_t found[AT_ONCE] = {0};
    int32_t any = 0;
    int64_t i = 0;

    for (; i + AT_ONCE <= count; i += AT_ONCE)
        for (int l = 0; l < AT_ONCE; l++)
            found[l] |= data[i + l] != data[i + l];
    for (int l = 0; l < AT_ONCE; l++)
        any |= found[l];
    for (; i < count; i++)
        any |= data[i] != data[i];
    return any != 0;
}

uint64_t LSI_ISA_NAME(lsi_xxh3)(const float *data, int64_t count, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, (size_t)count * sizeof *data, seed);
}

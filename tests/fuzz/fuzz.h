/* SPDX-License-Identifier: Apache-2.0 */
/* The entry of every fuzz target: takes any bytes, must come back without a crash, a leak or a failed check. */
#ifndef LOCKSTEP_TESTS_FUZZ_FUZZ_H
#define LOCKSTEP_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A check that also holds in release builds. */
#define LST_FUZZ_CHECK(condition) \
    do {                          \
        if (!(condition))         \
            abort();              \
    } while (0)

#endif

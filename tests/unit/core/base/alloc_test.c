/* SPDX-License-Identifier: Apache-2.0 */
/* Memory: sizes around every rounding, aligned, zeroed and usable to the last byte. */
#include "core/base/alloc.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

/* Large blocks lie on huge pages whether or not their size is a multiple of one: a sanitizer ends this test else. */
Test(alloc, aligned_blocks_of_any_size)
{
    const size_t huge = (size_t)2 << 20;
    const size_t sizes[] = {0, 1, 63, 64, 65, huge - 1, huge, huge + 1, huge + 65, 3 * huge / 2, 2 * huge};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *block = ls_alloc_aligned(sizes[i]);
        size_t wrong = 0;

        cr_assert_not_null(block);
        cr_expect_eq((uintptr_t)block % (sizes[i] >= huge ? huge : LS_ALIGNMENT), 0);
        for (size_t k = 0; k < sizes[i]; k++)
            wrong += block[k] != 0;
        cr_expect_eq(wrong, 0, "%zu of %zu bytes are not zero", wrong, sizes[i]);
        memset(block, 0xff, sizes[i]);
        ls_free(block);
    }
    cr_expect_null(ls_alloc_aligned(SIZE_MAX));
}

Test(alloc, a_failure_to_order)
{
    void *first, *second;

    ls_alloc_fail_after(2);
    first = ls_alloc(1);
    second = ls_alloc_aligned(1);
    cr_expect_not_null(first);
    cr_expect_null(second);
    ls_free(first);
    ls_alloc_fail_after(0);
}

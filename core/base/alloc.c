/* SPDX-License-Identifier: Apache-2.0 */
/* The heap behind alloc.h: the C library's, with overflow checks and one injected failure for tests. */
#include "core/base/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE ((size_t)2 << 20)

static _Atomic uint64_t fail_countdown;
static _Atomic uint64_t allocations;

/* Counts every allocation on the way. */
static int must_fail(void)
{
    uint64_t left = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

    (void)atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    if (left == 0)
        return 0;
    return atomic_fetch_sub(&fail_countdown, 1) == 1;
}

void ls_alloc_fail_after(uint64_t nth)
{
    atomic_store(&fail_countdown, nth);
}

uint64_t ls_alloc_count(void)
{
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}

void *ls_alloc(size_t size)
{
    if (must_fail())
        return NULL;
    return malloc(size > 0 ? size : 1);
}

void *ls_alloc_zeroed(size_t count, size_t size)
{
    if (must_fail())
        return NULL;
    return calloc(count > 0 ? count : 1, size > 0 ? size : 1);
}

void *ls_realloc(void *memory, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || must_fail())
        return NULL;
    return realloc(memory, bytes > 0 ? bytes : 1);
}

void *ls_alloc_aligned(size_t size)
{
    size_t rounded;
    void *memory = NULL;

    if (__builtin_add_overflow(size, (size_t)LS_ALIGNMENT - 1, &rounded) || must_fail())
        return NULL;
    rounded &= ~((size_t)LS_ALIGNMENT - 1);
    if (rounded == 0)
        rounded = LS_ALIGNMENT;
    /* Not aligned_alloc, which may refuse a size that is no multiple of the alignment. */
    if (posix_memalign(&memory, rounded >= HUGE_PAGE ? HUGE_PAGE : LS_ALIGNMENT, rounded) != 0)
        return NULL;
    if (rounded >= HUGE_PAGE)
        (void)madvise(memory, rounded, MADV_HUGEPAGE); /* a wish: fewer faults, fewer entries of the TLB */
    memset(memory, 0, rounded);
    return memory;
}

void ls_free(void *memory)
{
    free(memory);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory. Every heap allocation of the project goes through here, so that tests can make any of them
 * fail and nobody multiplies sizes without a check. All functions return NULL when memory is short.
 */
#ifndef LOCKSTEP_CORE_BASE_ALLOC_H
#define LOCKSTEP_CORE_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* Alignment of ls_alloc_aligned in bytes: one cache line, one AVX-512 register. */
#define LS_ALIGNMENT 64

/* size bytes, uninitialised. Returned memory is the caller's; end it with ls_free. */
void *ls_alloc(size_t size);

/* count * size bytes of zeros; NULL also where the product overflows. */
void *ls_alloc_zeroed(size_t count, size_t size);

/* Grows or shrinks to count * size bytes; NULL (and memory kept) where that fails or overflows. */
void *ls_realloc(void *memory, size_t count, size_t size);

/* size bytes of zeros aligned to LS_ALIGNMENT. End it with ls_free. */
void *ls_alloc_aligned(size_t size);

/* Ends memory from any function here; accepts NULL. */
void ls_free(void *memory);

/* Tests: the allocation number `nth` from now (1 = the next) fails, once; 0 turns it off. */
void ls_alloc_fail_after(uint64_t nth);
/* Tests: allocations of the process so far, those that failed included. */
uint64_t ls_alloc_count(void);

#endif

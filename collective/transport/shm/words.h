/* SPDX-License-Identifier: Apache-2.0 */
/* The words that members of a shared-memory group leave for all others: why it ended, whom one waits for. */
#ifndef LOCKSTEP_COLLECTIVE_TRANSPORT_SHM_WORDS_H
#define LOCKSTEP_COLLECTIVE_TRANSPORT_SHM_WORDS_H

#include "core/base/status.h"

#include <stdatomic.h>
#include <stdint.h>

/* Whoever takes state from 0 to 1 writes the rest, then 2. */
struct shm_end {
    _Atomic uint32_t state; /* as ls_group.end_state */
    int32_t status;
    int32_t culprit;
    char reason[400];
};

/* The end of a group of so many, by any member's bytes: a failure with a sentence, *culprit a rank or -1. */
enum ls_status lsi_shm_end_read(const struct shm_end *end, int world, int *culprit, struct ls_error *err);

/* 1 + the rank that a member has waited long for, 0: nobody. What is no rank of a group of so many is nobody: -1. */
static inline int lsi_shm_waits_read(uint32_t word, int world)
{
    return word <= (uint32_t)world ? (int)word - 1 : -1;
}

#endif

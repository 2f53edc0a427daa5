/* SPDX-License-Identifier: Apache-2.0 */
/* A debugging aid, see slow.h. */
#include "worker/slow.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void ls_slow_down(int rank, uint64_t step)
{
    static _Atomic bool rested;
    const char *text = getenv("LOCKSTEP_DEBUG_SLOW");
    unsigned long long wanted_step;
    int wanted_rank, ms;
    struct timespec rest;

    if (text == NULL || sscanf(text, "%d:%llu:%d", &wanted_rank, &wanted_step, &ms) != 3 || ms <= 0)
        return;
    if (wanted_rank != rank || wanted_step != step || atomic_exchange(&rested, true))
        return;
    rest = (struct timespec){ms / 1000, (long)(ms % 1000) * 1000000};
    (void)nanosleep(&rest, NULL);
}

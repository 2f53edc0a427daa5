/* SPDX-License-Identifier: Apache-2.0 */
/* A debugging aid, see slow.h. */
#include "worker/slow.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define VARIABLE "LOCKSTEP_DEBUG_SLOW"

struct slow {
    int rank, ms;
    unsigned long long step;
};

static bool is_asked(struct slow *slow)
{
    const char *text = getenv(VARIABLE);

    return text != NULL && sscanf(text, "%d:%llu:%d", &slow->rank, &slow->step, &slow->ms) == 3;
}

enum ls_status ls_slow_check(int world, struct ls_error *err)
{
    struct slow slow;

    if (!is_asked(&slow) || (slow.rank >= 0 && slow.rank < world))
        return LS_OK;
    return ls_error_set(err, LS_EUSAGE, VARIABLE " in the environment names rank %d, and this job has ranks 0 to %d",
                        slow.rank, world - 1);
}

void ls_slow_down(int rank, uint64_t step)
{
    static _Atomic bool rested;
    struct timespec rest;
    struct slow slow;

    if (!is_asked(&slow) || slow.ms <= 0 || slow.rank != rank || slow.step != step || atomic_exchange(&rested, true))
        return;
    rest = (struct timespec){slow.ms / 1000, (long)(slow.ms % 1000) * 1000000};
    (void)nanosleep(&rest, NULL);
}

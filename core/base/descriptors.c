/* SPDX-License-Identifier: Apache-2.0 */
/* See descriptors.h. */
#include "core/base/descriptors.h"

#include "core/base/alloc.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

void ls_descriptors_allow(uint64_t number)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= number || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Numbers below the limit may be taken already, in any order: only taking some tells. */
static bool can_take(int count, int *taken)
{
    int have = 0, fd = 0;

    while (have < count && fd >= 0) {
        fd = open("/", O_PATH | O_CLOEXEC);
        if (fd >= 0)
            taken[have++] = fd;
    }
    for (int i = 0; i < have; i++)
        (void)close(taken[i]);
    return have == count;
}

bool ls_descriptors_spare(int count)
{
    int *taken = ls_alloc_zeroed((size_t)count, sizeof *taken);
    bool spare;

    if (taken == NULL)
        return true; /* what fails then names itself */
    spare = can_take(count, taken);
    if (!spare) {
        ls_descriptors_allow(UINT64_MAX);
        spare = can_take(count, taken);
    }
    ls_free(taken);
    return spare;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* See carried.h. Which transports carry bf16 is the providers' to say. */
#include "cli/carried.h"

#include "collective/group.h"

#include <stdio.h>
#include <string.h>

enum ls_carried ls_carried_planned(const struct ls_job *job)
{
    bool chosen = strcmp(job->transport, "auto") == 0; /* shm on one host; hybrid and tcp are alike between hosts */

    if (!job->bf16_wire || job->workers * job->replicas == 1)
        return LS_CARRIED_F32;
    if (ls_provider_carries_bf16(chosen ? "shm" : job->transport, false))
        return LS_CARRIED_BF16;
    return ls_provider_carries_bf16(chosen ? "tcp" : job->transport, true) ? LS_CARRIED_BF16_BETWEEN_HOSTS
                                                                           : LS_CARRIED_F32;
}

const char *ls_carried_name(enum ls_carried carried)
{
    static const char *const names[] = {
        [LS_CARRIED_F32] = "f32", [LS_CARRIED_BF16] = "bf16", [LS_CARRIED_BF16_BETWEEN_HOSTS] = "bf16 between hosts"};

    return names[carried];
}

const char *ls_carried_in_vain(const char *transport, int replicas, char text[160])
{
    if (replicas == 1)
        (void)snprintf(text, 160, "wire: bf16 has no effect with one replica, which sends nothing");
    else
        (void)snprintf(
            text, 160,
            "wire: bf16 has no effect over %s%s; tcp and mpi take it, hybrid, hybrid-mpi and hybrid-nccl between hosts",
            transport, ls_provider_carries_bf16(transport, true) ? " on one host" : "");
    return text;
}

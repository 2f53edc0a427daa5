/* SPDX-License-Identifier: Apache-2.0 */
/* What workers report and the coordinator shows: phases and committed steps. */
#ifndef LOCKSTEP_CORE_WIRE_REPORT_H
#define LOCKSTEP_CORE_WIRE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

/* phase: what a replica is doing, for "rank 5 has been waiting for data since step 812". */
enum ls_phase { LS_PHASE_IDLE, LS_PHASE_LOADING, LS_PHASE_COMPUTING, LS_PHASE_REDUCING, LS_PHASE_CHECKPOINT };

/* What a replica of a worker waits for in a collective, as a heartbeat tells it. */
enum ls_wait_kind { LS_WAIT_NONE, LS_WAIT_BUCKET, LS_WAIT_VOTE, LS_WAIT_MOMENTS, LS_WAIT_OTHER };

struct ls_wait_report {
    enum ls_wait_kind kind; /* NONE: it does not wait, and the rest is 0 */
    int rank;               /* that waits */
    int for_rank;           /* that is waited for, -1: not known */
    uint32_t number;        /* of the bucket */
    uint32_t waited_ms;     /* so long nothing has moved */
};

struct ls_step_report {
    uint64_t generation;
    uint64_t step; /* committed: steps done so far */
    uint64_t epoch;
    uint64_t fingerprint; /* of the parameters after the step */
    double loss;          /* running mean of the epoch */
    int metric_count;
    double metrics[16];
    double samples_per_s;
    bool validation; /* the numbers are the validation set's, at the end of the epoch */
};

#endif

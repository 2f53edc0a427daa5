/* SPDX-License-Identifier: Apache-2.0 */
/* What workers report and the coordinator shows: phases and committed steps. */
#ifndef LOCKSTEP_CORE_WIRE_REPORT_H
#define LOCKSTEP_CORE_WIRE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

/* phase: what a replica is doing, for "rank 5 has been waiting for data since step 812". */
enum ls_phase { LS_PHASE_IDLE, LS_PHASE_LOADING, LS_PHASE_COMPUTING, LS_PHASE_REDUCING, LS_PHASE_CHECKPOINT };

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

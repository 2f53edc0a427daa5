/* SPDX-License-Identifier: Apache-2.0 */
/* How far a job is: a bar on a terminal, plain lines elsewhere, on standard error. */
#ifndef LOCKSTEP_CLI_PROGRESS_H
#define LOCKSTEP_CLI_PROGRESS_H

#include "core/wire/report.h"

struct ls_progress_view {
    const char *const *metric_names;
    int metric_count;
    int64_t steps_per_epoch, total_steps, epochs;
    bool quiet;
    int columns; /* of the terminal; 0: ask it */
    /* the view's own */
    bool terminal, line_open;
    uint64_t shown_ns, began_ns, first_step;
};

void ls_progress_begin(struct ls_progress_view *view);
void ls_progress_report(struct ls_progress_view *view, const struct ls_step_report *report);
/* A sentence of its own line, above the bar. */
void ls_progress_say(struct ls_progress_view *view, const char *sentence);
/* The same, also where the view is quiet: the result is in doubt. */
void ls_progress_warn(struct ls_progress_view *view, const char *sentence);
void ls_progress_end(struct ls_progress_view *view);

#endif

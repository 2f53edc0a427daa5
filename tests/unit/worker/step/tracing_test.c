/* SPDX-License-Identifier: Apache-2.0 */
/* What ranks tell one another of their traces. */
#include "worker/step/tracing.h"

#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <string.h>

static char directory[64];

static void make(void)
{
    lst_step_directory_init(directory);
}

static void discard(void)
{
    lst_step_directory_deinit(directory);
}

TestSuite(tracing, .init = make, .fini = discard);

/* Rank 1 answers as ls_tracing_write does, but with a count that no ring can hold. */
static enum ls_status boast(void *state, struct ls_replica *r, struct ls_error *err)
{
    struct {
        int64_t ahead_ns;
        uint64_t kept;
        char name[48];
    } own = {.kept = UINT64_C(1) << 40}, all[2];
    int64_t counts[] = {sizeof own, sizeof own};
    struct ls_collective op = {.kind = LS_ALL_GATHER, .dtype = LS_U8, .src = &own, .dst = all, .counts = counts};
    struct ls_tracing tracing = {.any = true};

    (void)state;
    return r->rank == 1 ? ls_group_run(r->group, &op, err) : ls_tracing_write(r->group, &tracing, NULL, err);
}

/* A count of events from another rank is checked before memory is sized by it; the rank is named. */
Test(tracing, refuses_more_events_than_a_ring_holds)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", "{workers: 2}");
    struct lst_step_ranks ranks;

    lst_step_run(job, 2, boast, NULL, &ranks);
    cr_expect_eq(ranks.status[1], LS_OK, "%s", ranks.err[1].message);
    cr_expect_eq(ranks.status[0], LS_EPEER);
    cr_expect_not_null(strstr(ranks.err[0].message, "rank 1 says that its trace has 1099511627776 events"), "%s",
                       ranks.err[0].message);
    ls_job_destroy(job);
}

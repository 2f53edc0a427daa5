/* SPDX-License-Identifier: Apache-2.0 */
/* Votes that differ: every rank stops with the same sentence, which names the rank that is alone. */
#include "tests/support/step_job.h"

#include "collective/group_impl.h"

#include <criterion/criterion.h>
#include <stdio.h>
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

static enum ls_status diverge(void *state, struct ls_replica *r, struct ls_error *err)
{
    if (r->rank == *(const int *)state)
        r->fingerprint ^= 1;
    return ls_replica_step(r, err);
}

static void check_named(int world, int odd)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", "{workers: 3}");
    struct lst_step_ranks ranks;
    char name[32];

    lst_step_run(job, world, diverge, &odd, &ranks);
    (void)snprintf(name, sizeof name, "rank %d began step 0", odd);
    for (int r = 0; r < world; r++) {
        cr_expect_eq(ranks.status[r], LS_EDIVERGED, "rank %d", r);
        cr_expect_eq(strncmp(ranks.err[r].message, name, strlen(name)), 0, "rank %d says: %s", r, ranks.err[r].message);
    }
    ls_job_destroy(job);
}

/* One rank of three that has other parameters is the one that all name, whichever it is. */
Test(vote, the_odd_rank_is_named, .init = make, .fini = discard)
{
    check_named(3, 1);
    check_named(3, 0);
}

static enum ls_status end_diverged(void *state, struct ls_replica *r, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    (void)state;
    while (status == LS_OK && r->progress.step < (uint64_t)r->trainer->total_steps)
        status = ls_replica_step(r, err);
    if (r->rank == 1)
        r->fingerprint ^= 1; /* what the last step made differs; no later vote would see it */
    return status == LS_OK ? ls_replica_run(r, err) : status;
}

/* What the last step made is compared too, before the job counts as done. */
Test(vote, the_end_is_agreed_on, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", "{workers: 3}");
    struct lst_step_ranks ranks;

    job->max_steps = 3;
    lst_step_run(job, 3, end_diverged, NULL, &ranks);
    for (int r = 0; r < 3; r++)
        cr_expect_eq(ranks.status[r], LS_EDIVERGED, "rank %d", r);
    ls_job_destroy(job);
}

static enum ls_status note_pace(void *state, struct ls_replica *r, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    for (int s = 0; s < 3 && status == LS_OK; s++)
        status = ls_replica_step(r, err);
    ((uint64_t *)state)[r->rank] = r->group->pace_ns;
    return status;
}

/* All ranks derive how long they wait for each other from one number, the time of the slowest. */
Test(vote, the_pace_is_one, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", "{workers: 3}");
    struct lst_step_ranks ranks;
    uint64_t pace[3] = {0};

    lst_step_run(job, 3, note_pace, pace, &ranks);
    cr_expect_gt(pace[0], 0);
    for (int r = 0; r < 3; r++) {
        cr_expect_eq(ranks.status[r], LS_OK, "rank %d says: %s", r, ranks.err[r].message);
        cr_expect_eq(pace[r], pace[0], "rank %d", r);
    }
    ls_job_destroy(job);
}

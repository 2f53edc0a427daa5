/* SPDX-License-Identifier: Apache-2.0 */
/* Where the loop ends: stops at awkward steps, what is left to do then, and a group that breaks. */
#include "core/base/alloc.h"
#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>

#define STEPS 10 /* of the job: 5 an epoch */

static char directory[64];

static void make(void)
{
    lst_step_directory_init(directory);
}

static void discard(void)
{
    lst_step_directory_deinit(directory);
}

struct stop {
    uint64_t step;
    enum ls_phase phase;
    int times; /* the phase is met that often before the stop is asked for */
    bool abort;
    struct ls_replica *replica;
};

static void on_phase(void *state, uint64_t step, enum ls_phase phase)
{
    struct stop *s = state;

    if (step != s->step || phase != s->phase || s->times-- > 0)
        return;
    if (s->abort)
        ls_group_abort(s->replica->group, "a test wants it");
    else
        atomic_store(&s->replica->stop, true);
}

/* Runs until the stop, then on to the end, and leaves the replica at its end. */
static void stop_and_go_on(struct ls_replica *r, struct stop *s, struct ls_error *err)
{
    s->replica = r;
    r->hooks.state = s;
    r->hooks.phase = on_phase;
    cr_expect_eq(ls_replica_run(r, err), LS_EINTERRUPTED);
    cr_expect_not(ls_replica_finished(r));
    r->hooks.phase = NULL;
    atomic_store(&r->stop, false);
    r->stopping = false;
    cr_expect_eq(ls_replica_run(r, err), LS_OK, "%s", err->message);
}

static enum ls_status stop_at_the_last_step(void *state, struct ls_replica *r, struct ls_error *err)
{
    struct stop s = {.step = STEPS - 1, .phase = LS_PHASE_COMPUTING};

    (void)state;
    stop_and_go_on(r, &s, err);
    cr_expect_eq(r->progress.step, STEPS);
    cr_expect_eq(r->progress.validated_epochs, 2);
    cr_expect_eq(r->progress.validation.samples, LST_STEP_SAMPLES);
    cr_expect(ls_replica_finished(r));
    return LS_OK;
}

/* A stop at the job's last step leaves its validation to do: the job is not finished, and going on does only that. */
Test(loop, stop_at_the_last_step, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", "{workers: 1}");
    struct lst_step_ranks ranks;

    lst_step_run(job, 1, stop_at_the_last_step, NULL, &ranks);
    cr_expect_eq(ranks.status[0], LS_OK);
    ls_job_destroy(job);
}

static enum ls_status stop_in_validation(void *state, struct ls_replica *r, struct ls_error *err)
{
    struct stop s = {.step = 5, .phase = LS_PHASE_COMPUTING, .times = 2};

    s.replica = r;
    r->hooks.state = &s;
    r->hooks.phase = on_phase;
    cr_expect_eq(ls_replica_run(r, err), LS_EINTERRUPTED);
    cr_expect_eq(r->progress.step, 5);
    cr_expect_eq(r->progress.validated_epochs, 0);
    cr_expect_eq(r->progress.validation.samples, 0);
    cr_expect_eq(r->progress.epoch.samples, LST_STEP_SAMPLES);
    r->hooks.phase = NULL;
    atomic_store(&r->stop, false);
    r->stopping = false;
    cr_expect_eq(ls_replica_run(r, err), LS_OK, "%s", err->message);
    cr_expect_eq(r->progress.validated_epochs, 2);
    return ls_state_sha256(r->state, (char *)state, (char *)state + 65, err);
}

static enum ls_status run_through(void *state, struct ls_replica *r, struct ls_error *err)
{
    enum ls_status status = ls_replica_run(r, err);

    return status == LS_OK ? ls_state_sha256(r->state, (char *)state, (char *)state + 65, err) : status;
}

/* A stop during validation ends it at once, without a trace; going on begins it again and ends in the same bits. */
Test(loop, stop_in_validation, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", "{workers: 1}");
    struct lst_step_ranks ranks;
    char stopped[130], whole[130];

    lst_step_run(job, 1, stop_in_validation, stopped, &ranks);
    cr_assert_eq(ranks.status[0], LS_OK, "%s", ranks.err[0].message);
    lst_step_run(job, 1, run_through, whole, &ranks);
    cr_assert_eq(ranks.status[0], LS_OK, "%s", ranks.err[0].message);
    cr_expect_str_eq(stopped, whole);
    cr_expect_str_eq(stopped + 65, whole + 65);
    ls_job_destroy(job);
}

static enum ls_status abort_on_one(void *state, struct ls_replica *r, struct ls_error *err)
{
    struct stop s = {.step = 3, .phase = LS_PHASE_COMPUTING, .abort = true, .replica = r};

    (void)state;
    if (r->rank == 1) {
        r->hooks.state = &s;
        r->hooks.phase = on_phase;
    }
    return ls_replica_run(r, err);
}

/* A group that somebody ends is a lost peer, never an orderly stop: nothing was saved. */
Test(loop, abort_is_no_orderly_stop, .init = make, .fini = discard)
{
    struct ls_job *job = lst_step_job(directory, "mlp.json", "{workers: 2}");
    struct lst_step_ranks ranks;

    lst_step_run(job, 2, abort_on_one, NULL, &ranks);
    for (int r = 0; r < 2; r++) {
        cr_expect_eq(ranks.status[r], LS_EPEER, "rank %d: %s", r, ls_status_name(ranks.status[r]));
        cr_expect_neq(strstr(ranks.err[r].message, "a test wants it"), NULL, "%s", ranks.err[r].message);
    }
    ls_job_destroy(job);
}

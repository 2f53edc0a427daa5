/* SPDX-License-Identifier: Apache-2.0 */
/* A worker of two replicas whose job goes wrong: both give up, and the first cause is what is told. */
#include "worker/worker.h"

#include "core/base/alloc.h"
#include "core/base/str.h"
#include "tests/support/control.h"
#include "tests/support/step_job.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static char directory[64];
static struct ls_job *job;
static struct lst_host host;

static void open_host(const char *run, int workers)
{
    struct ls_error err = LS_ERROR_INIT;

    lst_step_directory_init(directory);
    job = lst_step_job(directory, "mlp.json", run);
    ls_free(job->checkpoint_directory);
    job->checkpoint_directory = NULL;
    cr_assert_eq(ls_job_fingerprint(job, host.options.fingerprint, &err), LS_OK, "%s", err.message);
    host.options.transport = job->transport;
    lst_host_open(&host, workers);
    lst_host_run(&host);
}

static void close_host(void)
{
    lst_host_close(&host);
    ls_job_destroy(job);
    lst_step_directory_deinit(directory);
}

struct run {
    struct ls_worker_options options;
    pthread_t thread;
    char *summary;
    bool told;
    enum ls_status status;
    struct ls_error err;
};

static void *run_main(void *state)
{
    struct run *run = state;

    run->status = ls_worker_run(&run->options, &run->summary, &run->told, &run->err);
    return NULL;
}

static void start(struct run *run)
{
    run->options = (struct ls_worker_options){.job = job, .coordinator = host.address, .index = 0};
    memset(run->options.secret, 7, sizeof run->options.secret);
}

/* A worker that waits for members which never come is told who is lost, gives up at once, in both its replicas, and
 * says what it was told: not that its own groups were ended. */
Test(worker, gives_up_when_another_is_lost)
{
    struct run run = {.summary = NULL};
    struct lst_peer peer = {.host = &host};

    open_host("{workers: 2, replicas: 2}", 2);
    start(&run);
    cr_assert_eq(pthread_create(&run.thread, NULL, run_main, &run), 0);
    peer.options = lst_session_options(&host, 1);
    (void)ls_str_into(peer.options.fingerprint, sizeof peer.options.fingerprint, host.options.fingerprint);
    peer.options.replicas = 2;
    peer.options.listen_port[1] = 40010;
    (void)lst_peer_open(&peer);
    cr_assert_eq(peer.status, LS_OK, "%s", peer.err.message);
    ls_session_close(peer.session); /* as a killed process's does; the members of the group never meet */
    (void)pthread_join(run.thread, NULL);
    lst_host_join(&host);
    cr_expect_eq(run.status, LS_EPEER, "%s", run.err.message);
    cr_expect_not_null(strstr(run.err.message, "worker 1 (pid"), "%s", run.err.message);
    cr_expect_not_null(strstr(run.err.message, "was lost ("), "%s", run.err.message);
    cr_expect_not_null(strstr(run.err.message, "before its first report"), "%s", run.err.message);
    cr_expect(run.told);
    cr_expect_null(run.summary);
    cr_expect_eq(host.status, LS_EPEER);
    close_host();
}

/* What goes wrong in one replica is the worker's error and the job's, with its sentence. */
Test(worker, gives_up_with_its_first_cause)
{
    struct run run = {.summary = NULL};

    open_host("{workers: 1, replicas: 2}", 1);
    start(&run);
    run.options.save_weights = "/nowhere/weights.npz";
    (void)run_main(&run);
    lst_host_join(&host);
    cr_expect_eq(run.status, LS_ENOENT, "%s", run.err.message);
    cr_expect_not_null(strstr(run.err.message, "/nowhere/weights.npz"), "%s", run.err.message);
    cr_expect(run.told);
    cr_expect_eq(host.status, run.status);
    cr_expect_str_eq(host.err.message, run.err.message);
    ls_free(run.summary);
    close_host();
}

/* Where nothing goes wrong there is a summary, and the coordinator has the same. */
Test(worker, runs_to_the_end)
{
    struct run run = {.summary = NULL};

    open_host("{workers: 1, replicas: 2}", 1);
    job->max_steps = 3;
    start(&run);
    (void)run_main(&run);
    lst_host_join(&host);
    cr_expect_eq(run.status, LS_OK, "%s", run.err.message);
    cr_assert_not_null(run.summary);
    cr_expect_not_null(strstr(run.summary, "\"steps\":3"), "%s", run.summary);
    cr_expect_str_eq(host.summary, run.summary);
    ls_free(run.summary);
    close_host();
}

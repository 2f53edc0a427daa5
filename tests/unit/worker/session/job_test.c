/* SPDX-License-Identifier: Apache-2.0 */
/* A server in a thread that tells a worker its job over 127.0.0.1. */
#include "coordinator/server/server.h"
#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "worker/session/job.h"
#include "worker/session/session.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FINGERPRINT "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct host {
    struct ls_server *server;
    struct ls_server_options options;
    pthread_t thread;
    enum ls_status status;
    struct ls_error err;
    char address[64];
};

static void *serve(void *state)
{
    struct host *host = state;

    host->status = ls_server_run(host->server, NULL, &host->err);
    return NULL;
}

static void host_open(struct host *host)
{
    struct ls_error err = LS_ERROR_INIT;

    host->options.listen = "127.0.0.1:0";
    memset(host->options.secret, 7, 32);
    (void)ls_str_into(host->options.fingerprint, 65, FINGERPRINT);
    host->options.workers = 1;
    cr_assert_eq(ls_server_open(&host->options, &host->server, &err), LS_OK, "%s", err.message);
    (void)snprintf(host->address, sizeof host->address, "127.0.0.1:%u", ls_server_port(host->server));
}

static void host_run(struct host *host)
{
    cr_assert_eq(pthread_create(&host->thread, NULL, serve, host), 0);
}

static void host_join(struct host *host)
{
    (void)pthread_join(host->thread, NULL);
}

static void host_close(struct host *host)
{
    ls_server_close(host->server);
}

static struct ls_session_options session_options(const struct host *host)
{
    struct ls_session_options options = {
        .coordinator = host->address, .replicas = 1, .wanted_index = -1, .connect_deadline_ms = 5000};

    memset(options.secret, 7, 32);
    (void)ls_str_into(options.fingerprint, 65, FINGERPRINT);
    return options;
}

/* A job file in a directory of its own. */
static void job_file(char path[128], const char *text)
{
    char directory[64] = "/tmp/lockstep-session-XXXXXX";

    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, 128, "%s/job.yaml", directory);
    cr_assert_eq(ls_fs_write(path, text, strlen(text), NULL), LS_OK);
}

static void job_file_remove(char path[128])
{
    *strrchr(path, '/') = '\0';
    (void)ls_fs_remove(path, NULL);
}

/* A worker without a job is told the coordinator's, word for word, and then joins as any other. */
Test(job, tells_the_job)
{
    static const char *const words[] = {"seed=3", "run.threads=2"};
    static const char text[] = "version: 1\nmodel: m.json\n";
    struct ls_fetched_job *fetched = NULL;
    struct ls_error err = LS_ERROR_INIT;
    struct host host = {0};
    struct ls_session_options options;
    struct ls_assignment assignment;
    struct ls_session *session = NULL;
    char path[128];
    size_t length = 900000;
    char *model = ls_alloc(length); /* nearly as much as a message holds */

    cr_assert_not_null(model);
    memset(model, 'm', length);
    job_file(path, text);
    host.options.job_path = path;
    host.options.job_overrides = words;
    host.options.job_override_count = 2;
    host.options.job_max_steps = 24;
    host.options.job_model_text = model;
    host.options.job_model_length = length;
    host_open(&host);
    job_file_remove(path); /* what is told is what the coordinator read */
    host_run(&host);
    cr_assert_eq(ls_session_fetch_job(host.address, host.options.secret, 5000, &fetched, &err), LS_OK, "%s",
                 err.message);
    cr_expect(strncmp(fetched->job.path, path, strlen(path)) == 0, "%s", fetched->job.path);
    cr_assert_eq(fetched->job.text_length, strlen(text));
    cr_expect_arr_eq(fetched->job.text, text, strlen(text));
    cr_assert_eq(fetched->job.override_count, 2);
    cr_expect_str_eq(fetched->job.overrides[0], words[0]);
    cr_expect_str_eq(fetched->job.overrides[1], words[1]);
    cr_expect_eq(fetched->job.max_steps, 24);
    cr_assert_eq(fetched->job.model_length, length);
    cr_expect_eq(memcmp(fetched->job.model_text, model, length), 0);
    ls_fetched_job_destroy(fetched);
    options = session_options(&host);
    cr_assert_eq(ls_session_open(&options, &assignment, &session, &err), LS_OK, "%s", err.message);
    cr_expect_eq(ls_session_finish(session, LS_OK, NULL, NULL), LS_OK);
    host_join(&host);
    cr_expect_eq(host.status, LS_OK, "%s", host.err.message);
    ls_session_close(session);
    host_close(&host);
    ls_free(model);
}

/* A model that does not fit into a message is left to be read at its path; the job is told all the same. */
Test(job, leaves_a_large_model_out)
{
    struct ls_fetched_job *fetched = NULL;
    struct ls_error err = LS_ERROR_INIT;
    struct host host = {0};
    char path[128];
    char *model = ls_alloc_zeroed(2, 1 << 20);

    cr_assert_not_null(model);
    job_file(path, "version: 1\n");
    host.options.job_path = path;
    host.options.job_model_text = model;
    host.options.job_model_length = 2 << 20;
    host_open(&host);
    job_file_remove(path);
    host_run(&host);
    cr_assert_eq(ls_session_fetch_job(host.address, host.options.secret, 5000, &fetched, &err), LS_OK, "%s",
                 err.message);
    cr_expect_not_null(fetched->job.text);
    cr_expect_null(fetched->job.model_text);
    ls_fetched_job_destroy(fetched);
    ls_server_stop(host.server);
    host_join(&host);
    host_close(&host);
    ls_free(model);
}

/* The job is told to nobody with another secret; a coordinator without a job file says that it has none, and one whose
 * words cannot be sent says why. */
Test(job, tells_the_job_to_its_own_workers_only)
{
    static const char *const words[] = {"seed=\x1b[31m3"};
    struct ls_fetched_job *fetched = NULL;
    struct ls_error err = LS_ERROR_INIT;
    uint8_t other[32] = {9};

    for (int k = 0; k < 2; k++) {
        struct host host = {0};
        char path[128];

        job_file(path, "version: 1\n");
        host.options.job_path = k == 0 ? NULL : path;
        host.options.job_overrides = words;
        host.options.job_override_count = 1;
        host_open(&host);
        job_file_remove(path);
        host_run(&host);
        cr_expect_eq(ls_session_fetch_job(host.address, other, 5000, &fetched, &err), LS_EAUTH);
        cr_expect_not_null(strstr(err.message, "another secret"), "%s", err.message);
        cr_expect_eq(ls_session_fetch_job(host.address, host.options.secret, 5000, &fetched, &err), LS_EINVAL);
        cr_expect_not_null(strstr(err.message, k == 0 ? "give the worker a job file" : "overrides"), "%s", err.message);
        cr_expect_null(fetched);
        ls_server_stop(host.server);
        host_join(&host);
        host_close(&host);
    }
}

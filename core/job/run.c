/* SPDX-License-Identifier: Apache-2.0 */
/* The section `run`: where and how a job runs, which never changes a bit of its result. */
#include "core/job/job_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"
#include "core/job/transport.h"

#include <string.h>

#define EVERY_MINUTES 10.0

/* "out/<name of the job file without its ending>" beside the job file. */
static void default_checkpoint_directory(struct lsi_walk *walk, struct ls_job *job)
{
    const char *slash = strrchr(job->path, '/');
    const char *name = slash != NULL ? slash + 1 : job->path;
    const char *dot = strrchr(name, '.');
    int length = dot != NULL && dot != name ? (int)(dot - name) : (int)strlen(name);
    char *relative = ls_str_format("out/%.*s", length, name);

    job->checkpoint_directory = relative != NULL ? ls_path_join(job->directory, relative) : NULL;
    ls_free(relative);
    if (job->checkpoint_directory == NULL)
        lsi_job_no_memory(walk);
}

static void read_checkpoint(const struct lsi_section *run, struct ls_job *job)
{
    static const char *const keys[] = {"directory", "every_steps", "every_minutes", "keep"};
    struct lsi_section section = lsi_job_section(run, "checkpoint");

    lsi_job_check_keys(&section, keys, LSI_COUNT(keys));
    lsi_job_path(&section, "directory", job->directory, &job->checkpoint_directory);
    if (job->checkpoint_directory == NULL && run->walk->status == LS_OK)
        default_checkpoint_directory(run->walk, job);
    lsi_job_integer(&section, "every_steps", 0, INT64_C(1) << 48, &job->checkpoint_every_steps);
    if (!lsi_job_has(&section, "every_steps"))
        job->checkpoint_every_minutes = EVERY_MINUTES;
    lsi_job_number(&section, "every_minutes", 0, false, 1e6, &job->checkpoint_every_minutes);
    job->checkpoint_keep = 2;
    lsi_job_integer(&section, "keep", 2, 1000000, &job->checkpoint_keep);
}

static void check_strategy(const struct lsi_section *run, struct ls_job *job)
{
    if (run->walk->status != LS_OK)
        return;
    if (job->workers * job->replicas > LS_JOB_MAX_REPLICAS) {
        lsi_job_fail(run, "workers", "is %d with %d replicas each; a job has at most %d replicas in all", job->workers,
                     job->replicas, LS_JOB_MAX_REPLICAS);
        return;
    }
    if (job->strategy == NULL) {
        lsi_job_set(run->walk, &job->strategy,
                    job->workers > 1    ? "multi_worker"
                    : job->replicas > 1 ? "mirrored"
                                        : "one_device");
        return;
    }
    if (strcmp(job->strategy, "one_device") == 0 && (job->workers > 1 || job->replicas > 1))
        lsi_job_fail(run, "strategy",
                     "is one_device, which is 1 worker with 1 replica, not %d with %d; choose multi_worker",
                     job->workers, job->replicas);
    else if (strcmp(job->strategy, "mirrored") == 0 && job->workers > 1)
        lsi_job_fail(run, "strategy",
                     "is mirrored, which is 1 worker with several replicas, not %d workers; choose multi_worker",
                     job->workers);
}

void lsi_job_read_run(const struct lsi_section *top, struct ls_job *job)
{
    static const char *const keys[] = {"strategy", "workers",   "replicas",     "threads",    "transport", "device",
                                       "isa",      "execution", "micro_shards", "checkpoint", "max_steps"};
    static const char *const strategies[] = {"one_device", "mirrored", "multi_worker"};
    static const char *const devices[] = {"cpu", "ref"};
    static const char *const isas[] = {"ref", "avx2", "avx512", "neon"};
    static const char *const executions[] = {"graph", "eager"};
    struct lsi_section run = lsi_job_section(top, "run");
    const char *const *transports;
    size_t transport_count = ls_transport_names(&transports);
    char *execution = NULL;

    lsi_job_check_keys(&run, keys, LSI_COUNT(keys));
    job->workers = job->replicas = job->threads = 1;
    lsi_job_int(&run, "workers", 1, LS_JOB_MAX_REPLICAS, &job->workers);
    job->workers_overridden = lsi_job_overridden(&run, "workers");
    lsi_job_int(&run, "replicas", 1, 16, &job->replicas);
    lsi_job_int(&run, "threads", 1, 1024, &job->threads);
    lsi_job_choice(&run, "strategy", strategies, LSI_COUNT(strategies), &job->strategy);
    lsi_job_set(top->walk, &job->transport, "auto");
    lsi_job_choice(&run, "transport", transports, transport_count, &job->transport);
    lsi_job_set(top->walk, &job->device, "cpu");
    lsi_job_choice(&run, "device", devices, LSI_COUNT(devices), &job->device);
    lsi_job_choice(&run, "isa", isas, LSI_COUNT(isas), &job->isa);
    lsi_job_choice(&run, "execution", executions, LSI_COUNT(executions), &execution);
    job->eager = execution != NULL && strcmp(execution, "eager") == 0;
    ls_free(execution);
    lsi_job_integer(&run, "micro_shards", 0, LSI_JOB_MAX_SHARDS, &job->micro_shards);
    lsi_job_integer(&run, "max_steps", 0, INT64_C(1) << 48, &job->max_steps);
    read_checkpoint(&run, job);
    check_strategy(&run, job);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep evaluate: loss and metrics of a checkpoint on one of the job's data sets. */
#include "cli/job_options.h"
#include "cli/one_replica.h"
#include "core/base/alloc.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The set to evaluate on takes the place of the validation set. */
static enum ls_status choose_set(struct ls_trainer *trainer, const char *name, struct ls_error *err)
{
    const struct ls_job *job = trainer->job;

    if (strcmp(name, "train") == 0)
        return ls_trainer_evaluate_on(trainer, &job->train, "data.train", err);
    if (strcmp(name, "test") == 0)
        return ls_trainer_evaluate_on(trainer, &job->test, "data.test", err);
    if (trainer->validation == NULL)
        return ls_error_set(err, LS_EINVAL, "%s has no data.validation", job->path);
    return LS_OK;
}

/* NaN and infinity, which JSON lacks, are null. */
static json_t *mean(double sum, int64_t samples)
{
    double value = sum / (double)samples;

    return isfinite(value) ? json_real(value) : json_null();
}

static void print(const struct ls_trainer *trainer, const struct ls_ckpt *ckpt, const struct ls_sums *sums,
                  const char *set, bool json)
{
    json_t *o = json_pack("{s:I, s:I, s:o}", "step", (json_int_t)ls_ckpt_step(ckpt), "samples",
                          (json_int_t)sums->samples, "loss", mean(sums->loss, sums->samples));
    const char *key;
    json_t *value;

    for (int m = 0; m < trainer->spec.metric_count; m++)
        (void)json_object_set_new(o, trainer->metric_names[m], mean(sums->metrics[m], sums->samples));
    if (json) {
        (void)json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(12));
        putchar('\n');
    } else {
        printf("%s, step %llu, %lld samples of data.%s\n", ls_ckpt_path(ckpt), (unsigned long long)ls_ckpt_step(ckpt),
               (long long)sums->samples, set);
        json_object_foreach(o, key, value) if (!json_is_integer(value))
            printf("  %-16s %.6g\n", key, json_is_null(value) ? NAN : json_real_value(value));
    }
    json_decref(o);
}

static enum ls_status evaluate(const struct ls_job *job, const char *directory, const char *set, bool json,
                               struct ls_error *err)
{
    struct ls_trainer *trainer = NULL;
    struct ls_ckpt *ckpt = NULL;
    struct ls_group *group = NULL;
    struct ls_replica *replica = NULL;
    struct ls_replica_hooks hooks = {.only_evaluates = true};
    struct ls_sums sums;
    enum ls_status status = ls_checkpoint_of_job(job, directory, &ckpt, err);

    if (status == LS_OK)
        status = ls_trainer_open(job, LS_TRAINER_TRAINING, &trainer, err);
    if (status == LS_OK)
        status = choose_set(trainer, set, err);
    if (status == LS_OK)
        status = ls_group_of_one(&group, err);
    if (status == LS_OK) {
        status = ls_replica_open(trainer, group, ckpt, &hooks, &replica, err);
        if (status != LS_OK)
            ls_group_destroy(group);
    }
    if (status == LS_OK)
        status = ls_replica_validate(replica, &sums, err);
    if (status == LS_OK)
        print(trainer, ckpt, &sums, set, json);
    ls_replica_close(replica);
    ls_trainer_close(trainer);
    ls_ckpt_close(ckpt);
    return status;
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    struct ls_job_options o = {.max_steps = 0};
    const char *directory = NULL, *set = "validation", *path;
    bool json = false;
    const struct ls_option options[] = {
        {"checkpoint", "DIR", "a checkpoint, or a directory of them (the job's)", LS_OPTION_TEXT, &directory},
        {"data", "SET", "train, validation (default) or test", LS_OPTION_TEXT, &set},
        {"json", NULL, "print one line of JSON", LS_OPTION_FLAG, &json},
        {"set", "KEY=VALUE", "override a key of the job", LS_OPTION_LIST, &o.set},
        {"threads", "N", "threads (run.threads)", LS_OPTION_TEXT, &o.threads},
        {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    struct ls_job *job = NULL;
    enum ls_status status = ls_options_parse(command, options, argc, argv, 1, 1, &path, err);

    if (status == LS_OK && strcmp(set, "train") != 0 && strcmp(set, "validation") != 0 && strcmp(set, "test") != 0)
        status = ls_error_set(err, LS_EUSAGE, "--data is train, validation or test, not \"%s\"", set);
    if (status == LS_OK)
        status = ls_job_options_load(&o, path, &job, err);
    if (status == LS_OK)
        status = evaluate(job, directory, set, json, err);
    ls_job_destroy(job);
    return status;
}

const struct ls_command ls_cmd_evaluate = {.name = "evaluate",
                                           .arguments = "JOB [options]",
                                           .summary = "Loss and metrics of a checkpoint on a data set",
                                           .run = run};

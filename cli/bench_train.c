/* SPDX-License-Identifier: Apache-2.0 */
/* lockstep bench train: whole commands, raced in turns. Reports medians with the spread, and ratios from one run. */
#include "cli/bench.h"
#include "cli/bench_job.h"
#include "cli/capture.h"
#include "cli/command.h"
#include "cli/peak.h"
#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"
#include "core/job/job.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ROUNDS 64

struct bench {
    const struct ls_bench_model *model;
    int64_t workers, rounds, steps;
    bool torch;
    struct ls_workdir *workdir;
    char job[128];
    double ours[MAX_ROUNDS], theirs[MAX_ROUNDS], ratio[MAX_ROUNDS];
    double first_step_s, rss_mib, torch_first_step_s, torch_rss_mib;
    const char *torch_flags; /* the fastest of its variants */
};

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Sorts values; gives their median. */
static double median(double *values, int64_t count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static enum ls_status run_json(char *const *argv, json_t **json, struct ls_error *err)
{
    struct ls_buf out = {0};
    enum ls_status status = ls_capture(argv, LS_CAPTURE_MS, &out, err);

    if (status == LS_OK) {
        *json = ls_last_json_line((const char *)out.data);
        if (*json == NULL)
            status = ls_error_set(err, LS_EINVAL, "%s printed no line of JSON", argv[0]);
    }
    ls_buf_deinit(&out);
    return status;
}

static enum ls_status run_ours(struct bench *b, double *samples_per_s, struct ls_error *err)
{
    char workers[32], steps[32];
    char *argv[] = {"/proc/self/exe", "train",       b->job,   workers,   steps,
                    "--fresh",        "--overwrite", "--json", "--quiet", NULL};
    json_t *json = NULL;
    enum ls_status status;

    (void)snprintf(workers, sizeof workers, "--workers=%lld", (long long)b->workers);
    (void)snprintf(steps, sizeof steps, "--max-steps=%lld", (long long)b->steps);
    status = run_json(argv, &json, err);
    if (status == LS_OK) {
        *samples_per_s = number(json, "samples_per_s");
        b->first_step_s = number(json, "first_step_s");
        b->rss_mib = number(json, "rss_mib");
    }
    json_decref(json);
    return status;
}

static enum ls_status run_torch(struct bench *b, const char *flags, double *samples_per_s, struct ls_error *err)
{
    const char *python = getenv("LOCKSTEP_PYTHON");
    char command[512];
    char *argv[] = {"/bin/sh", "-c", command, NULL};
    json_t *json = NULL;
    enum ls_status status;

    (void)snprintf(command, sizeof command, "exec %s tests/bench/torch_ddp.py --model %s --workers %lld --seconds 4 %s",
                   python != NULL ? python : "python3", b->model->name, (long long)b->workers, flags);
    if (!ls_fs_exists("tests/bench/torch_ddp.py"))
        return ls_error_set(err, LS_ENOENT,
                            "tests/bench/torch_ddp.py is not here; run the race from the project's root");
    status = run_json(argv, &json, err);
    if (status == LS_OK) {
        *samples_per_s = number(json, "samples_per_s");
        b->torch_first_step_s = number(json, "first_step_s");
        b->torch_rss_mib = number(json, "rss_mib");
    } else {
        status = ls_error_wrap(err, "the race needs a python3 with torch (LOCKSTEP_PYTHON names one)");
    }
    json_decref(json);
    return status;
}

/* The other side runs as it is fastest: every flag is tried once. */
static enum ls_status choose_flags(struct bench *b, struct ls_error *err)
{
    static const char *const flags[] = {"", "--compile", "--channels-last", "--compile --channels-last"};
    int count = strcmp(b->model->name, "cnn") == 0 ? 4 : 2;
    double best = 0;

    for (int i = 0; i < count; i++) {
        double rate = 0;
        enum ls_status status = run_torch(b, flags[i], &rate, err);

        if (status != LS_OK && i == 0)
            return status;
        if (status == LS_OK && rate > best) {
            best = rate;
            b->torch_flags = flags[i];
        }
    }
    return LS_OK;
}

static enum ls_status race(struct bench *b, struct ls_error *err)
{
    enum ls_status status = b->torch ? choose_flags(b, err) : LS_OK;

    for (int64_t i = 0; i < b->rounds && status == LS_OK; i++) {
        status = run_ours(b, &b->ours[i], err);
        if (status == LS_OK && b->torch)
            status = run_torch(b, b->torch_flags, &b->theirs[i], err);
        b->ratio[i] = b->torch && b->theirs[i] > 0 ? b->ours[i] / b->theirs[i] : 0;
    }
    return status;
}

static json_t *result(struct bench *b)
{
    double rate = median(b->ours, b->rounds), step_s = (double)b->model->batch / rate, peak = ls_measure_fma_peak();
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "model", b->model->name, "workers",
                          (json_int_t)b->workers, "batch", (json_int_t)b->model->batch, "rounds", (json_int_t)b->rounds,
                          "samples_per_s", rate, "samples_per_s_min", b->ours[0], "samples_per_s_max",
                          b->ours[b->rounds - 1], "ms_per_step", step_s * 1e3);

    (void)json_object_set_new(o, "first_step_s", json_real(b->first_step_s));
    (void)json_object_set_new(o, "rss_mib", json_real(b->rss_mib));
    (void)json_object_set_new(o, "gflops", json_real(b->model->flops / step_s * 1e-9));
    (void)json_object_set_new(o, "peak_gflops_per_core", json_real(peak * 1e-9));
    (void)json_object_set_new(o, "share_of_peak", json_real(b->model->flops / step_s / peak / (double)b->workers));
    if (b->torch) {
        (void)json_object_set_new(o, "torch_flags", json_string(b->torch_flags));
        (void)json_object_set_new(o, "torch_samples_per_s", json_real(median(b->theirs, b->rounds)));
        (void)json_object_set_new(o, "torch_first_step_s", json_real(b->torch_first_step_s));
        (void)json_object_set_new(o, "torch_rss_mib", json_real(b->torch_rss_mib));
        (void)json_object_set_new(o, "ratio", json_real(median(b->ratio, b->rounds)));
        (void)json_object_set_new(o, "ratio_min", json_real(b->ratio[0]));
        (void)json_object_set_new(o, "ratio_max", json_real(b->ratio[b->rounds - 1]));
    }
    return o;
}

static void print(struct bench *b, bool json)
{
    json_t *o = result(b);

    if (json) {
        (void)json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        putchar('\n');
    } else {
        const char *key;
        json_t *value;

        json_object_foreach(o, key, value)
        {
            if (json_is_string(value))
                printf("  %-22s %s\n", key, json_string_value(value));
            else
                printf("  %-22s %.4g\n", key, json_number_value(value));
        }
    }
    json_decref(o);
}

static enum ls_status bench_train(struct bench *b, const char *model, const char *against, struct ls_error *err)
{
    enum ls_status status;

    if (model == NULL)
        return ls_error_set(err, LS_EUSAGE, "--model mlp or --model cnn is needed");
    b->model = ls_bench_model_find(model);
    if (b->model == NULL)
        return ls_error_set(err, LS_EUSAGE, "there is no bench model \"%s\"; mlp and cnn are there", model);
    if (against != NULL && strcmp(against, "torch") != 0)
        return ls_error_set(err, LS_EUSAGE, "--against knows torch, not \"%s\"", against);
    if (b->rounds < 1 || b->rounds > MAX_ROUNDS)
        return ls_error_set(err, LS_EUSAGE, "--rounds is from 1 to %d, not %lld", MAX_ROUNDS, (long long)b->rounds);
    if (b->workers < 1 || b->workers > LS_JOB_MAX_REPLICAS)
        return ls_error_set(err, LS_EUSAGE, "--workers is from 1 to %d, not %lld", LS_JOB_MAX_REPLICAS,
                            (long long)b->workers);
    b->torch = against != NULL;
    if (b->steps == 0)
        b->steps = b->model->steps;
    status = ls_bench_job_make(b->model, &b->workdir, b->job, err);
    if (status == LS_OK)
        status = race(b, err);
    ls_workdir_remove(b->workdir);
    return status;
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    struct bench *b = ls_alloc_zeroed(1, sizeof *b);
    const char *model = NULL, *against = NULL;
    bool json = false;
    enum ls_status status;

    if (b == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the bench");
    b->workers = 1;
    b->rounds = 3;
    {
        const struct ls_option options[] = {
            {"model", "NAME", "mlp (784-512-512-10, batch 256) or cnn (two convolutions, batch 128)", LS_OPTION_TEXT,
             &model},
            {"workers", "N", "worker processes (1)", LS_OPTION_COUNT, &b->workers},
            {"rounds", "N", "rounds (3); the median is reported, with the spread", LS_OPTION_COUNT, &b->rounds},
            {"steps", "N", "steps of a round (by model)", LS_OPTION_COUNT, &b->steps},
            {"against", "NAME", "torch: race tests/bench/torch_ddp.py in turns", LS_OPTION_TEXT, &against},
            {"json", NULL, "print one line of JSON", LS_OPTION_FLAG, &json},
            {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};

        status = ls_options_parse(command, options, argc, argv, 0, 0, NULL, err);
    }
    if (status == LS_OK)
        status = bench_train(b, model, against, err);
    if (status == LS_OK)
        print(b, json);
    ls_free(b);
    return status;
}

const struct ls_command ls_bench_train = {
    .name = "bench train",
    .arguments = "--model mlp|cnn [options]",
    .summary = "Measure training on random data, alone or against PyTorch",
    .about = "Runs whole commands in turns on data that stands in memory, and reports medians with the spread.",
    .run = run};

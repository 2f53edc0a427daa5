/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lockstep bench overlap: trains over TCP, slows the network until communication takes as long as compute, trains
 * again, and reads both traces: how near a step comes to the least that its buckets allow.
 */
#include "cli/bench.h"
#include "cli/bench_job.h"
#include "cli/capture.h"
#include "cli/command.h"
#include "cli/overlap.h"
#include "core/base/fs.h"
#include "core/job/job.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE_VARIABLE "LOCKSTEP_DEBUG_TCP_RATE"
#define TRIALS 40 /* steps at the beginning, in which arrangements are tried */
#define MOST_TRACE_BYTES ((size_t)256 << 20)

struct bench {
    const struct ls_bench_model *model;
    int64_t workers, steps;
    struct ls_workdir *workdir;
    char job[128], trace[160];
    struct ls_overlap fast, slow;
    double rate; /* bytes a second of a connection */
};

static enum ls_status read_trace(const char *path, json_t **trace, struct ls_error *err)
{
    struct ls_buf text = {0};
    enum ls_status status = ls_fs_read(path, MOST_TRACE_BYTES, &text, err);

    if (status == LS_OK) {
        *trace = json_loadb((const char *)text.data, text.length, 0, NULL);
        if (*trace == NULL)
            status = ls_error_set(err, LS_EINVAL, "%s is no trace", path);
    }
    ls_buf_deinit(&text);
    return status;
}

static enum ls_status measure(struct bench *b, struct ls_overlap *overlap, struct ls_error *err)
{
    char workers[32], steps[32], option[200];
    char *argv[] = {"/proc/self/exe", "train",  b->job, workers, "--transport=tcp", steps, "--fresh", "--quiet",
                    "--overwrite",    "--json", option, NULL};
    struct ls_buf out = {0};
    json_t *trace = NULL;
    enum ls_status status;

    (void)snprintf(workers, sizeof workers, "--workers=%lld", (long long)b->workers);
    (void)snprintf(steps, sizeof steps, "--max-steps=%lld", (long long)(b->steps + TRIALS));
    (void)snprintf(option, sizeof option, "--trace=%s", b->trace);
    status = ls_capture(argv, LS_CAPTURE_MS, &out, err);
    if (status == LS_OK)
        status = read_trace(b->trace, &trace, err);
    if (status == LS_OK)
        status = ls_overlap_measure(trace, (int)b->workers, TRIALS, overlap, err);
    json_decref(trace);
    ls_buf_deinit(&out);
    return status;
}

/* A rank sends 2 (N - 1) / N of the gradients over N - 1 connections at once. */
static enum ls_status slow_down(struct bench *b, struct ls_error *err)
{
    char text[32];

    b->rate = 2 * b->fast.bytes / (double)b->workers / (b->fast.compute * 1e-3);
    (void)snprintf(text, sizeof text, "%.0f", b->rate);
    if (b->rate < 1 || setenv(RATE_VARIABLE, text, 1) != 0)
        return ls_error_set(err, LS_EINVAL, "the model has no gradients to slow down");
    return LS_OK;
}

static json_t *figures_of(const struct ls_overlap *o)
{
    return json_pack("{s:I, s:i, s:f, s:f, s:f, s:f, s:f, s:f}", "steps", (json_int_t)o->steps, "buckets", o->buckets,
                     "step_ms", o->step, "compute_ms", o->compute, "communication_ms", o->communication, "commit_ms",
                     o->after, "bound_ms", o->bound, "ratio", o->ratio);
}

static void print_row(const char *name, const struct ls_overlap *o)
{
    printf("  %-16s %9.3f %9.3f %9.3f %9.3f %9.3f %8.3f\n", name, o->compute, o->communication, o->after, o->bound,
           o->step, o->ratio);
}

static void print(const struct bench *b, bool json)
{
    json_t *o;

    if (!json) {
        printf("%s, %lld workers, %.0f bytes of gradients, medians of %lld steps in ms:\n", b->model->name,
               (long long)b->workers, b->slow.bytes, (long long)b->slow.steps);
        printf("  %-16s %9s %9s %9s %9s %9s %8s\n", "network", "compute", "communic.", "commit", "bound", "step",
               "ratio");
        print_row("as it is", &b->fast);
        print_row("slowed", &b->slow);
        printf(
            "slowed to %.4g MB/s a connection; one after the other, compute, communication and commit take %.3f ms\n",
            b->rate * 1e-6, b->slow.compute + b->slow.communication + b->slow.after);
        return;
    }
    o = json_pack("{s:s, s:I, s:f, s:f, s:o, s:o}", "model", b->model->name, "workers", (json_int_t)b->workers,
                  "gradient_bytes", b->slow.bytes, "bytes_per_s", b->rate, "fast", figures_of(&b->fast), "slowed",
                  figures_of(&b->slow));
    (void)json_dumpf(o, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
    putchar('\n');
    json_decref(o);
}

static enum ls_status bench_overlap(struct bench *b, const char *model, struct ls_error *err)
{
    enum ls_status status;

    b->model = ls_bench_model_find(model != NULL ? model : "cnn");
    if (b->model == NULL)
        return ls_error_set(err, LS_EUSAGE, "there is no bench model \"%s\"; mlp and cnn are there", model);
    if (b->workers < 2 || b->workers > LS_JOB_MAX_REPLICAS)
        return ls_error_set(err, LS_EUSAGE, "--workers is from 2 to %d, not %lld: one alone has nobody to talk to",
                            LS_JOB_MAX_REPLICAS, (long long)b->workers);
    if (b->steps == 0)
        b->steps = b->model->steps;
    (void)unsetenv(RATE_VARIABLE);
    status = ls_bench_job_make(b->model, &b->workdir, b->job, err);
    if (status == LS_OK)
        (void)snprintf(b->trace, sizeof b->trace, "%s/trace.json", ls_workdir_path(b->workdir));
    if (status == LS_OK)
        status = measure(b, &b->fast, err);
    if (status == LS_OK)
        status = slow_down(b, err);
    if (status == LS_OK)
        status = measure(b, &b->slow, err);
    ls_workdir_remove(b->workdir);
    return status;
}

static enum ls_status run(const struct ls_command *command, int argc, char **argv, struct ls_error *err)
{
    struct bench b = {.workers = 2};
    const char *model = NULL;
    bool json = false;
    const struct ls_option options[] = {
        {"model", "NAME", "mlp or cnn (cnn), as bench train has them", LS_OPTION_TEXT, &model},
        {"workers", "N", "worker processes (2)", LS_OPTION_COUNT, &b.workers},
        {"steps", "N", "steps that are measured (by model), behind 40 others", LS_OPTION_COUNT, &b.steps},
        {"json", NULL, "print one line of JSON", LS_OPTION_FLAG, &json},
        {NULL, NULL, NULL, LS_OPTION_FLAG, NULL}};
    enum ls_status status = ls_options_parse(command, options, argc, argv, 0, 0, NULL, err);

    if (status == LS_OK)
        status = bench_overlap(&b, model, err);
    if (status == LS_OK)
        print(&b, json);
    return status;
}

const struct ls_command ls_bench_overlap = {
    .name = "bench overlap",
    .arguments = "[options]",
    .summary = "Measure how much of the communication is hidden behind compute on a slow network",
    .about =
        "Trains over TCP as the network is, slows it until communication takes as long as compute, and trains again.",
    .run = run};

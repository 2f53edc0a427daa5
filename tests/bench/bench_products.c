/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of the exact dense kernels, in turns with oneDNN's sgemm where it was found at build time.
 * bench_products [--isa NAME] [--threads N] [--rounds N] [--only TEXT]
 * Prints, a line a shape: GF/s of each (median over rounds), the ratio's median and its 10 % and 90 % points.
 */
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/base/str.h"
#include "core/device/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef LS_BENCH_DNNL
#include <dnnl.h>
#endif

#define MAX_ROUNDS 400
#define ROUND_FLOP 2e8 /* about a millisecond of a core */

enum kind { FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT };
static const char *const kind_names[] = {"forward", "input gradient", "weight gradient"};

/* A dense layer of `inputs` and `outputs` over `rows` samples. */
struct shape {
    enum kind kind;
    int64_t rows, inputs, outputs;
    int64_t batch; /* of the job, of which `rows` are one worker's: a range of its shards */
};

static const struct shape shapes[] = {
    {FORWARD, 256, 784, 512, 256},
    {FORWARD, 128, 784, 512, 256},
    {FORWARD, 256, 512, 512, 256},
    {FORWARD, 128, 512, 512, 256},
    {FORWARD, 128, 9216, 128, 128},
    {FORWARD, 256, 512, 10, 256},
    {FORWARD, 128, 128, 10, 128},
    {FORWARD, 32, 784, 512, 32},
    {FORWARD, 1, 784, 512, 1},
    {INPUT_GRADIENT, 256, 512, 512, 256},
    {INPUT_GRADIENT, 128, 512, 512, 256},
    {INPUT_GRADIENT, 128, 9216, 128, 128},
    {INPUT_GRADIENT, 256, 512, 10, 256},
    {INPUT_GRADIENT, 128, 128, 10, 128},
    {WEIGHT_GRADIENT, 256, 784, 512, 256},
    {WEIGHT_GRADIENT, 128, 784, 512, 256},
    {WEIGHT_GRADIENT, 256, 512, 512, 256},
    {WEIGHT_GRADIENT, 128, 512, 512, 256},
    {WEIGHT_GRADIENT, 128, 512, 512, 128},
    {WEIGHT_GRADIENT, 128, 9216, 128, 128},
    {WEIGHT_GRADIENT, 64, 9216, 128, 128},
    {WEIGHT_GRADIENT, 256, 512, 10, 256},
    {WEIGHT_GRADIENT, 128, 128, 10, 128},
};

struct options {
    const char *isa, *only;
    int threads, rounds;
};

/* One shape's call and the same product as oneDNN takes it. */
struct bench {
    struct shape shape;
    struct ls_device *device;
    struct ls_op_attrs attrs;
    struct ls_view in[2], out;
    struct ls_shards shards;
    struct ls_op_call call;
    float *other; /* oneDNN's result */
};

static double seconds(void)
{
    return (double)ls_clock_now_ns() * 1e-9;
}

static struct ls_view filled(int64_t rows, int64_t columns)
{
    struct ls_view view = {LS_F32, LS_SHAPE(rows, columns), NULL};
    int64_t i, count = rows * columns;
    uint32_t state = 1;

    view.data = ls_alloc_aligned((size_t)count * sizeof(float));
    if (view.data == NULL)
        exit(1);
    for (i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        ((float *)view.data)[i] = (float)(int32_t)state * 0x1p-31f;
    }
    return view;
}

static void bench_init(struct bench *b)
{
    const struct shape *s = &b->shape;
    bool forward = s->kind == FORWARD, weights = s->kind == WEIGHT_GRADIENT;
    int shards;

    b->in[0] = filled(s->rows, s->kind == INPUT_GRADIENT ? s->outputs : s->inputs);
    b->in[1] = weights ? filled(s->rows, s->outputs) : filled(s->inputs, s->outputs);
    b->out = forward   ? filled(s->rows, s->outputs)
             : weights ? filled(s->inputs, s->outputs)
                       : filled(s->rows, s->inputs);
    b->other = filled(b->out.shape.dim[0], b->out.shape.dim[1]).data;
    b->attrs = (struct ls_op_attrs){0};
    b->attrs.dense.transposed_w = s->kind == INPUT_GRADIENT;
    if (weights)
        b->attrs = (struct ls_op_attrs){0};
    shards = ls_shards_default(s->batch);
    b->shards = ls_shards_of(s->batch, shards, 0, (int)(shards * s->rows / s->batch));
    b->call = (struct ls_op_call){.op = weights ? LS_OP_DENSE_WGRAD : LS_OP_DENSE,
                                  .attrs = &b->attrs,
                                  .in = b->in,
                                  .in_count = 2,
                                  .out = &b->out,
                                  .out_count = 1,
                                  .shards = &b->shards};
    b->call.workspace = ls_alloc_aligned(ls_device_workspace(b->device, &b->call));
    if (b->call.workspace == NULL)
        exit(1);
}

static void bench_deinit(struct bench *b)
{
    ls_free(b->in[0].data);
    ls_free(b->in[1].data);
    ls_free(b->out.data);
    ls_free(b->other);
    ls_free(b->call.workspace);
}

static void run_ours(struct bench *b)
{
    struct ls_error err = LS_ERROR_INIT;

    if (ls_device_run(b->device, &b->call, &err) != LS_OK) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
}

static void run_theirs(struct bench *b)
{
#ifdef LS_BENCH_DNNL
    const struct shape *s = &b->shape;
    const float *x = b->in[0].data, *w = b->in[1].data;

    if (s->kind == FORWARD)
        dnnl_sgemm('N', 'N', s->rows, s->outputs, s->inputs, 1.0f, x, s->inputs, w, s->outputs, 0.0f, b->other,
                   s->outputs);
    else if (s->kind == INPUT_GRADIENT)
        dnnl_sgemm('N', 'T', s->rows, s->inputs, s->outputs, 1.0f, x, s->outputs, w, s->outputs, 0.0f, b->other,
                   s->inputs);
    else
        dnnl_sgemm('T', 'N', s->inputs, s->outputs, s->rows, 1.0f, x, s->inputs, w, s->outputs, 0.0f, b->other,
                   s->outputs);
#else
    (void)b;
#endif
}

static double timed(struct bench *b, void (*run)(struct bench *), int repeats)
{
    double begin = seconds();
    int i;

    for (i = 0; i < repeats; i++)
        run(b);
    return (seconds() - begin) / repeats;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Value below which `share` of the sorted values lie. */
static double point(const double *sorted, int count, double share)
{
    return sorted[(int)(share * (count - 1) + 0.5)];
}

/* What a line begins with, and what --only looks in. */
static const char *label_of(const struct shape *s, char label[64])
{
    (void)snprintf(label, 64, "%-16s %4d x %4d -> %4d", kind_names[s->kind], (int)s->rows, (int)s->inputs,
                   (int)s->outputs);
    return label;
}

static void measure(struct bench *b, int rounds)
{
    static double ours[MAX_ROUNDS], theirs[MAX_ROUNDS], ratio[MAX_ROUNDS];
    const struct shape *s = &b->shape;
    double flop = 2.0 * (double)s->rows * (double)s->inputs * (double)s->outputs;
    int repeats = (int)(ROUND_FLOP / flop) + 1, i;
    char label[64];

    run_ours(b);
    run_theirs(b);
    for (i = 0; i < rounds; i++) {
        double one = timed(b, run_ours, repeats), other = timed(b, run_theirs, repeats);

        ours[i] = flop / one * 1e-9;
        theirs[i] = flop / other * 1e-9;
        ratio[i] = other / one;
    }
    qsort(ours, (size_t)rounds, sizeof ours[0], by_value);
    qsort(theirs, (size_t)rounds, sizeof theirs[0], by_value);
    qsort(ratio, (size_t)rounds, sizeof ratio[0], by_value);
    printf("%s, %2d shards  %7.1f GF/s (best %.1f)", label_of(s, label), b->shards.count, point(ours, rounds, 0.5),
           ours[rounds - 1]);
#ifdef LS_BENCH_DNNL
    printf("  oneDNN %7.1f (best %.1f)  ratio %.2f (%.2f .. %.2f)", point(theirs, rounds, 0.5), theirs[rounds - 1],
           point(ratio, rounds, 0.5), point(ratio, rounds, 0.1), point(ratio, rounds, 0.9));
#endif
    printf("\n");
    fflush(stdout);
}

/* The OpenMP runtime under oneDNN reads its number of threads when the program starts. */
static void fix_threads(const struct options *options, char **argv)
{
    char text[16];

    if (getenv("OMP_NUM_THREADS") != NULL)
        return;
    (void)snprintf(text, sizeof text, "%d", options->threads);
    setenv("OMP_NUM_THREADS", text, 1);
    if (options->isa != NULL && strcmp(options->isa, "avx2") == 0)
        setenv("DNNL_MAX_CPU_ISA", "AVX2", 1);
    execv("/proc/self/exe", argv);
}

static bool parse(int argc, char **argv, struct options *options)
{
    int64_t number;
    int i;

    for (i = 1; i < argc; i += 2) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;

        if (value == NULL)
            return false;
        if (strcmp(argv[i], "--isa") == 0)
            options->isa = value;
        else if (strcmp(argv[i], "--only") == 0)
            options->only = value;
        else if (!ls_str_to_i64(value, &number) || number < 1 || number > MAX_ROUNDS)
            return false;
        else if (strcmp(argv[i], "--threads") == 0)
            options->threads = (int)number;
        else if (strcmp(argv[i], "--rounds") == 0)
            options->rounds = (int)number;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    struct options options = {.threads = 1, .rounds = 30};
    struct ls_device *device;
    struct ls_error err = LS_ERROR_INIT;
    size_t i;

    if (!parse(argc, argv, &options)) {
        fprintf(stderr, "usage: bench_products [--isa NAME] [--threads N] [--rounds N] [--only TEXT]\n");
        return 2;
    }
    fix_threads(&options, argv);
    if (ls_device_open("cpu", &(struct ls_device_options){.threads = options.threads, .isa = options.isa}, &device,
                       &err) != LS_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%s, threads: %d\n", ls_device_name(device), options.threads);
    for (i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct bench b = {.shape = shapes[i], .device = device};
        char label[64];

        if (options.only != NULL && strstr(label_of(&shapes[i], label), options.only) == NULL)
            continue;
        bench_init(&b);
        measure(&b, options.rounds);
        bench_deinit(&b);
    }
    ls_device_close(device);
    return 0;
}

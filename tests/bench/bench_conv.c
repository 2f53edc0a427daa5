/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_conv [ISA [THREADS [REPEATS]]]: speed of convolution and pooling on the shapes of the MNIST CNN (batch 128 in
 * 8 shards) and of a few other layers, beside this machine's fma peak. Each repetition measures the peak, the kernel
 * and, where the build has it, oneDNN's convolution (any order of sums) in turns; medians and ranges are printed.
 * Multiplications with padding are not counted as work.
 */
#include "core/base/alloc.h"
#include "core/base/clock.h"
#include "core/device/device.h"
#include "tests/bench/bench_conv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_REPEATS 101

/* Nanoseconds: of the processor for one thread, so that other programs disturb little; of the wall for several. */
double bench_now_ns(int threads)
{
    struct timespec at;
    if (threads > 1 || clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at) != 0) {
        return (double)ls_clock_now_ns();
    }
    return 1e9 * (double)at.tv_sec + (double)at.tv_nsec;
}

/* ---- peak ---- */

typedef float wide __attribute__((vector_size(64)));
typedef float narrow __attribute__((vector_size(32)));

/* Twelve independent chains of fma, in registers; the asm keeps them apart. */
#define STEP(n, fma_of)        \
    s##n = fma_of(s##n, x, x); \
    __asm__ volatile("" : "+v"(s##n))
#define DEFINE_PEAK(name, features, type, fma_of)                                                       \
    __attribute__((target(features), noinline)) static double name(void)                                \
    {                                                                                                   \
        const int64_t rounds = 400000;                                                                  \
        type s0 = {0}, s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0, s8 = s0, s9 = s0; \
        type s10 = s0, s11 = s0, x = s0 + 0.5f;                                                         \
        double begin = bench_now_ns(1);                                                                 \
        for (int64_t i = 0; i < rounds; i++) {                                                          \
            STEP(0, fma_of);                                                                            \
            STEP(1, fma_of);                                                                            \
            STEP(2, fma_of);                                                                            \
            STEP(3, fma_of);                                                                            \
            STEP(4, fma_of);                                                                            \
            STEP(5, fma_of);                                                                            \
            STEP(6, fma_of);                                                                            \
            STEP(7, fma_of);                                                                            \
            STEP(8, fma_of);                                                                            \
            STEP(9, fma_of);                                                                            \
            STEP(10, fma_of);                                                                           \
            STEP(11, fma_of);                                                                           \
        }                                                                                               \
        return 24.0 * (double)rounds * sizeof(type) / 4.0 / (bench_now_ns(1) - begin);                  \
    }

#if defined(__x86_64__)
#include <immintrin.h>
DEFINE_PEAK(peak_avx512, "avx512f", wide, _mm512_fmadd_ps)
DEFINE_PEAK(peak_avx2, "avx2,fma", narrow, _mm256_fmadd_ps)
#endif

static double peak(const char *device)
{
#if defined(__x86_64__)
    if (strcmp(device, "cpu/avx512") == 0) {
        return peak_avx512();
    }
    if (strcmp(device, "cpu/avx2") == 0) {
        return peak_avx2();
    }
#endif
    (void)device;
    return 1.0;
}

/* ---- cases ---- */

static const struct bench_conv layers[] = {
    {"cnn conv1", 128, 28, 28, 1, 32, 3, 1, 0, 8},      {"cnn conv2", 128, 26, 26, 32, 64, 3, 1, 0, 8},
    {"3x3 same 64", 16, 28, 28, 64, 64, 3, 1, 1, 4},    {"3x3 stride 2", 16, 56, 56, 64, 128, 3, 2, 1, 4},
    {"1x1 256->64", 16, 28, 28, 256, 64, 1, 1, 0, 4},   {"3x3 same 256", 16, 14, 14, 256, 256, 3, 1, 1, 4},
    {"5x5 odd 17->33", 16, 30, 30, 17, 33, 5, 1, 2, 4},
};

static int64_t out_size(const struct bench_conv *b, int64_t size)
{
    return (size + 2 * b->pad - b->kernel) / b->stride + 1;
}

/* Taps that are not padding, over all output positions of one sample and one axis. */
static int64_t taps(const struct bench_conv *b, int64_t size)
{
    int64_t count = 0;
    for (int64_t o = 0; o < out_size(b, size); o++) {
        for (int64_t k = 0; k < b->kernel; k++) {
            int64_t i = o * b->stride - b->pad + k;
            count += i >= 0 && i < size;
        }
    }
    return count;
}

static struct ls_view view_of(int64_t a, int64_t b, int64_t c, int64_t d)
{
    struct ls_view view = {.dtype = LS_F32, .shape = LS_SHAPE(a, b, c, d)};
    view.data = ls_alloc_aligned(ls_view_bytes(&view) + 64);
    for (int64_t i = 0; view.data != NULL && i < ls_shape_count(&view.shape); i++) {
        ((float *)view.data)[i] = (float)((i * 2654435761u >> 8) % 2001) / 1000.0f - 1.0f;
    }
    if (view.data == NULL) {
        fprintf(stderr, "bench_conv: there is not enough memory\n");
        exit(4);
    }
    return view;
}

struct operands {
    struct ls_view x, w, bias, y, dy, dx, dw;
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return values[count / 2];
}

static const char *op_name(enum ls_op op)
{
    switch (op) {
    case LS_OP_CONV2D:
        return "forward";
    case LS_OP_CONV2D_XGRAD:
        return "xgrad";
    case LS_OP_CONV2D_WGRAD:
        return "wgrad";
    case LS_OP_MAX_POOL2D:
        return "max";
    default:
        return "max grad";
    }
}

struct bench {
    struct ls_device *device;
    int repeats;
};

/* Runs the call in turns with the peak and a rival; work in floating-point operations (pooling: bytes). */
static void measure(const struct bench *bench, const char *name, struct ls_op_call *call, double work,
                    struct bench_rival *rival)
{
    double speed[MAX_REPEATS], share[MAX_REPEATS], other[MAX_REPEATS];
    size_t bytes = ls_device_workspace(bench->device, call);
    call->workspace = bytes > 0 ? ls_alloc_aligned(bytes) : NULL;
    for (int i = -1; i < bench->repeats; i++) {
        struct ls_error err = LS_ERROR_INIT;
        double top = peak(ls_device_name(bench->device));
        double begin = bench_now_ns(ls_device_threads(bench->device));
        if (ls_device_run(bench->device, call, &err) != LS_OK) {
            fprintf(stderr, "bench_conv: %s\n", err.message);
            exit(1);
        }
        double ns = bench_now_ns(ls_device_threads(bench->device)) - begin;
        double rival_ns = rival != NULL ? bench_rival_run(rival, ls_device_threads(bench->device)) : 0.0;
        if (i >= 0) {
            speed[i] = work / ns;
            share[i] = 100.0 * work / ns / top / ls_device_threads(bench->device);
            other[i] = rival_ns > 0.0 ? work / rival_ns : 0.0;
        }
    }
    double middle = median(speed, bench->repeats);
    printf("%-16s %-8s %8.1f %7.1f..%-7.1f", name, op_name(call->op), middle, speed[0], speed[bench->repeats - 1]);
    if (call->op < LS_OP_MAX_POOL2D) {
        printf(" %6.1f", median(share, bench->repeats));
    }
    if (rival != NULL) {
        printf(" %8.1f", median(other, bench->repeats));
    }
    printf("\n");
    fflush(stdout);
    ls_free(call->workspace);
}

static void run_layer(const struct bench *bench, const struct bench_conv *b)
{
    int64_t oh = out_size(b, b->h);
    int64_t ow = out_size(b, b->w);
    struct operands o = {view_of(b->n, b->h, b->w, b->ci),
                         view_of(b->kernel, b->kernel, b->ci, b->co),
                         view_of(1, 1, 1, b->co),
                         view_of(b->n, oh, ow, b->co),
                         view_of(b->n, oh, ow, b->co),
                         view_of(b->n, b->h, b->w, b->ci),
                         view_of(b->kernel, b->kernel, b->ci, b->co)};
    int k = b->kernel;
    struct ls_op_attrs attrs = {.conv2d = {.stride = {b->stride, b->stride},
                                           .dilation = {1, 1},
                                           .pad_begin = {b->pad, b->pad},
                                           .pad_end = {b->pad, b->pad},
                                           .kernel = {k, k},
                                           .x_size = {b->h, b->w},
                                           .activation = LS_ACTIVATION_RELU}};
    struct ls_shards shards = ls_shards_of(b->n, b->shards, 0, b->shards);
    double work = 2.0 * (double)(taps(b, b->h) * taps(b, b->w) * b->n * b->ci * b->co);
    struct ls_view in[3][3] = {{o.x, o.w, o.bias}, {o.dy, o.w}, {o.x, o.dy}};
    struct ls_view out[3] = {o.y, o.dx, o.dw};
    static const enum ls_op ops[3] = {LS_OP_CONV2D, LS_OP_CONV2D_XGRAD, LS_OP_CONV2D_WGRAD};
    for (int i = 0; i < 3; i++) {
        struct ls_op_call call = {.op = ops[i],
                                  .attrs = &attrs,
                                  .in = in[i],
                                  .in_count = i == 0 ? 3 : 2,
                                  .out = &out[i],
                                  .out_count = 1,
                                  .shards = &shards};
        struct bench_rival *rival = bench_rival_create(b, i);
        measure(bench, b->name, &call, work, rival);
        bench_rival_destroy(rival);
    }
    struct ls_view *views[] = {&o.x, &o.w, &o.bias, &o.y, &o.dy, &o.dx, &o.dw};
    for (size_t i = 0; i < sizeof views / sizeof views[0]; i++) {
        ls_free(views[i]->data);
    }
}

/* The CNN's maximum pooling: GB/s of operands read and written. */
static void run_pool(const struct bench *bench)
{
    struct ls_view in[2] = {view_of(128, 24, 24, 64), view_of(128, 12, 12, 64)};
    struct ls_view y = view_of(128, 12, 12, 64);
    struct ls_view dx = view_of(128, 24, 24, 64);
    struct ls_op_attrs attrs = {.pool2d = {.size = {2, 2}, .stride = {2, 2}}};
    struct ls_op_call call = {
        .op = LS_OP_MAX_POOL2D, .attrs = &attrs, .in = in, .in_count = 1, .out = &y, .out_count = 1};
    double bytes = (double)ls_view_bytes(&dx);
    measure(bench, "cnn pool GB/s", &call, 1.25 * bytes, NULL);
    call.op = LS_OP_MAX_POOL2D_GRAD;
    call.in_count = 2;
    call.out = &dx;
    measure(bench, "cnn pool GB/s", &call, 2.25 * bytes, NULL);
    ls_free(in[0].data);
    ls_free(in[1].data);
    ls_free(y.data);
    ls_free(dx.data);
}

int main(int argc, char **argv)
{
    struct ls_device_options options = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_error err = LS_ERROR_INIT;
    struct bench bench = {.repeats = argc > 3 ? (int)strtol(argv[3], NULL, 10) : 15};
    options.isa = argc > 1 ? argv[1] : NULL;
    options.threads = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 1;
    if (bench.repeats < 1 || bench.repeats > MAX_REPEATS) {
        fprintf(stderr, "bench_conv: repeats must be 1 to %d\n", MAX_REPEATS);
        return 2;
    }
    if (ls_device_open("cpu", &options, &bench.device, &err) != LS_OK) {
        fprintf(stderr, "bench_conv: %s\n", err.message);
        return 1;
    }
    bench_rival_threads(options.threads);
    printf("%s, %d threads, %d repeats; peak of one core %.0f GF/s\n", ls_device_name(bench.device), options.threads,
           bench.repeats, peak(ls_device_name(bench.device)));
    printf("%-16s %-8s %8s %16s %6s %s\n", "layer", "op", "GF/s", "range", "% peak", bench_rival_name());
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        run_layer(&bench, &layers[i]);
    }
    run_pool(&bench);
    ls_device_close(bench.device);
    return 0;
}

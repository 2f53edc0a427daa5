/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves exp, log and tanh correctly rounded in f32: tries all 2^32 inputs (or every n-th) on the plain C functions
 * and on every instruction set this processor has. The truth is libm in f64; where a result within 2 ulps of it
 * could round either way, MPFR with 120 bits decides.
 *
 * check_transcendental [--stride N] [--threads N] [--list]    exit status 0: all right
 */
#include "core/device/device.h"
#include "core/device/device_impl.h"

#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <mpfr.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK 4096
#define MAX_THREADS 64

static const struct function {
    const char *name;
    enum ls_op op;
    float (*plain)(float);
    double (*libm)(double);
    int (*exact)(mpfr_t, const mpfr_t, mpfr_rnd_t);
} functions[] = {
    {"exp", LS_OP_EXP, lsi_exp_f32, exp, mpfr_exp},
    {"log", LS_OP_LOG, lsi_log_f32, log, mpfr_log},
    {"tanh", LS_OP_TANH, lsi_tanh_f32, tanh, mpfr_tanh},
};
#define FUNCTIONS 3
static const char *const isas[] = {"avx2", "avx512"};
#define ISAS 2

static uint64_t stride = 1;
static bool list;
static atomic_uint_least64_t next_chunk;
static atomic_uint_least64_t wrong[FUNCTIONS][1 + ISAS], decided[FUNCTIONS];

struct worker {
    pthread_t id;
    struct ls_device *device[ISAS]; /* NULL: this processor lacks it */
    mpfr_t x, y;
};

static float truth(const struct function *f, float x, struct worker *worker)
{
    double y = f->libm((double)x), step = fabs(y) * 0x1p-51;
    float low = (float)(y - step), high = (float)(y + step);

    if (y != y || isinf(y) || low == high)
        return (float)y;
    atomic_fetch_add(&decided[f - functions], 1);
    mpfr_set_flt(worker->x, x, MPFR_RNDN);
    f->exact(worker->y, worker->x, MPFR_RNDN);
    return mpfr_get_flt(worker->y, MPFR_RNDN);
}

static bool same(float a, float b)
{
    return (a != a && b != b) || memcmp(&a, &b, sizeof a) == 0;
}

static void report(const struct function *f, int row, float x, float got, float want)
{
    uint32_t bits[3];

    if (atomic_fetch_add(&wrong[f - functions][row], 1) >= 100 && !list)
        return;
    memcpy(&bits[0], &x, 4);
    memcpy(&bits[1], &want, 4);
    memcpy(&bits[2], &got, 4);
    printf("%s %s: {0x%08" PRIx32 ", 0x%08" PRIx32 "} x = %a: %a, should be %a (0x%08" PRIx32 ")\n",
           row ? isas[row - 1] : "plain", f->name, bits[0], bits[1], (double)x, (double)got, (double)want, bits[2]);
}

static void check_chunk(struct worker *worker, const float *x, int count)
{
    float want[CHUNK], got[CHUNK];
    struct ls_view in = {LS_F32, LS_SHAPE(count), (void *)x}, out = {LS_F32, LS_SHAPE(count), got};

    for (const struct function *f = functions; f < functions + FUNCTIONS; f++) {
        for (int i = 0; i < count; i++) {
            float plain = f->plain(x[i]);

            want[i] = truth(f, x[i], worker);
            if (!same(plain, want[i]))
                report(f, 0, x[i], plain, want[i]);
        }
        for (int k = 0; k < ISAS; k++) {
            struct ls_op_call call = {.op = f->op, .in = &in, .in_count = 1, .out = &out, .out_count = 1};

            if (worker->device[k] == NULL || ls_device_run(worker->device[k], &call, NULL) != LS_OK)
                continue;
            for (int i = 0; i < count; i++) {
                if (!same(got[i], want[i]))
                    report(f, 1 + k, x[i], got[i], want[i]);
            }
        }
    }
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    uint64_t inputs = ((UINT64_C(1) << 32) + stride - 1) / stride;
    float x[CHUNK];

    mpfr_init2(worker->x, 24);
    mpfr_init2(worker->y, 120);
    for (;;) {
        uint64_t first = atomic_fetch_add(&next_chunk, 1) * CHUNK;
        int count = 0;

        for (; count < CHUNK && first + (uint64_t)count < inputs; count++) {
            uint32_t bits = (uint32_t)((first + (uint64_t)count) * stride);

            memcpy(&x[count], &bits, sizeof bits);
        }
        if (count == 0)
            break;
        check_chunk(worker, x, count);
    }
    mpfr_clear(worker->x);
    mpfr_clear(worker->y);
    return NULL;
}

static void open_devices(struct worker *worker)
{
    for (int k = 0; k < ISAS; k++) {
        struct ls_device_options options = {.threads = 1, .isa = isas[k]};

        if (ls_device_open("cpu", &options, &worker->device[k], NULL) != LS_OK)
            worker->device[k] = NULL;
    }
}

static int summary(const struct worker *worker)
{
    uint64_t bad = 0;

    for (int f = 0; f < FUNCTIONS; f++) {
        printf("%s: %" PRIu64 " decided by MPFR; wrong: plain %" PRIu64, functions[f].name, decided[f], wrong[f][0]);
        bad += wrong[f][0];
        for (int k = 0; k < ISAS; k++) {
            bad += wrong[f][1 + k];
            if (worker->device[k])
                printf(", %s %" PRIu64, isas[k], wrong[f][1 + k]);
            else
                printf(", %s not on this processor", isas[k]);
        }
        printf("\n");
    }
    return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"stride", required_argument, NULL, 's'},
                                            {"threads", required_argument, NULL, 't'},
                                            {"list", no_argument, NULL, 'l'},
                                            {0}};
    static struct worker workers[MAX_THREADS];
    int threads = 2, option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's')
            stride = strtoull(optarg, NULL, 10);
        else if (option == 't')
            threads = (int)strtol(optarg, NULL, 10);
        else if (option == 'l')
            list = true;
        else
            return 2;
    }
    if (stride < 1 || threads < 1 || threads > MAX_THREADS) {
        fprintf(stderr, "check_transcendental: --stride is at least 1, --threads 1 to %d\n", MAX_THREADS);
        return 2;
    }
    for (int i = 0; i < threads; i++) {
        open_devices(&workers[i]);
        if (pthread_create(&workers[i].id, NULL, work, &workers[i]) != 0) {
            fprintf(stderr, "check_transcendental: cannot start thread %d\n", i);
            return 1;
        }
    }
    for (int i = 0; i < threads; i++)
        pthread_join(workers[i].id, NULL);
    option = summary(&workers[0]);
    for (int i = 0; i < threads * ISAS; i++)
        ls_device_close(workers[i / ISAS].device[i % ISAS]);
    return option;
}

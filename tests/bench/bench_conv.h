/* SPDX-License-Identifier: Apache-2.0 */
/* A layer to measure, and the library that bench_conv measures beside it (bench_conv_dnnl.c, or none). */
#ifndef LOCKSTEP_TESTS_BENCH_BENCH_CONV_H
#define LOCKSTEP_TESTS_BENCH_BENCH_CONV_H

struct bench_conv {
    const char *name;
    int n, h, w, ci, co, kernel, stride, pad, shards;
};

/* bench_conv.c: nanoseconds, of the processor for one thread. */
double bench_now_ns(int threads);

struct bench_rival;

/* Heading of the rival's column; "" where there is none. */
const char *bench_rival_name(void);
void bench_rival_threads(int threads);
/* op 0: forward, 1: input gradient, 2: weight gradient. NULL where there is no rival. */
struct bench_rival *bench_rival_create(const struct bench_conv *layer, int op);
/* One run on `threads` threads; nanoseconds. */
double bench_rival_run(struct bench_rival *rival, int threads);
void bench_rival_destroy(struct bench_rival *rival);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* bench_conv without a library beside it. */
#include "tests/bench/bench_conv.h"

#include <stddef.h>

const char *bench_rival_name(void)
{
    return "";
}

void bench_rival_threads(int threads)
{
    (void)threads;
}

struct bench_rival *bench_rival_create(const struct bench_conv *layer, int op)
{
    (void)layer;
    (void)op;
    return NULL;
}

double bench_rival_run(struct bench_rival *rival, int threads)
{
    (void)rival;
    (void)threads;
    return 0.0;
}

void bench_rival_destroy(struct bench_rival *rival)
{
    (void)rival;
}

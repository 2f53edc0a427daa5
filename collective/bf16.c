/* SPDX-License-Identifier: Apache-2.0 */
/* See bf16.h: the kernels of the table that fits this processor. */
#include "collective/bf16.h"

#include "collective/kernels.h"

void lsi_bf16_narrow(uint16_t *out, const float *in, int64_t count)
{
    lsi_kernels_best()->bf16.narrow(out, in, count);
}

void lsi_bf16_widen(float *out, const uint16_t *in, int64_t count)
{
    lsi_kernels_best()->bf16.widen(out, in, count);
}

void lsi_bf16_widen_past(float *out, const uint16_t *in, int64_t count)
{
    lsi_kernels_best()->bf16.widen_past(out, in, count);
}

void lsi_bf16_add(float *sum, const uint16_t *in, int64_t count)
{
    lsi_kernels_best()->bf16.add(sum, in, count);
}

void lsi_bf16_settle(uint16_t *out, float *values, int64_t count)
{
    lsi_kernels_best()->bf16.settle(out, values, count);
}

void lsi_bf16_close(const struct lsi_bf16_close *close, int64_t count)
{
    lsi_kernels_best()->bf16.close(close, count);
}

void lsi_bf16_divide(float *values, int divisor, int64_t count)
{
    float by = (float)divisor;

    if (divisor > 1)
        lsi_kernels_best()->bf16.divide(values, &by, count);
}

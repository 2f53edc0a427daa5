/* SPDX-License-Identifier: Apache-2.0 */
/* Initialisers: ranges and moments, fans as Keras counts them, independence of streams, fixed bits. */
#include "core/nn/initializer.h"

#include "core/base/philox.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define COUNT 65536
static float data[COUNT], other[COUNT];

static void fill(struct ls_initializer initializer, struct ls_shape shape, uint64_t stream)
{
    struct ls_error err = LS_ERROR_INIT;
    cr_assert_leq(ls_shape_count(&shape), COUNT);
    cr_assert_eq(lsi_initializer_check(&initializer, &err), LS_OK, "%s", err.message);
    cr_assert_eq(lsi_initialize(&initializer, &shape, 7, stream, data, &err), LS_OK, "%s", err.message);
}

static void moments(double *mean, double *deviation, double *most)
{
    double sum = 0.0, squares = 0.0;
    *most = 0.0;
    for (int i = 0; i < COUNT; i++) {
        sum += (double)data[i];
        squares += (double)data[i] * (double)data[i];
        *most = fmax(*most, fabs((double)data[i]));
    }
    *mean = sum / COUNT;
    *deviation = sqrt(squares / COUNT - *mean * *mean);
}

/* A uniform law fills its range evenly and stays in it. */
Test(initializer, uniform)
{
    double mean, deviation, most;
    fill(LS_INIT_OF(.kind = LS_INIT_UNIFORM, .a = -0.5, .b = 1.5), LS_SHAPE(COUNT), 0);
    moments(&mean, &deviation, &most);
    cr_assert_float_eq(mean, 0.5, 0.01);
    cr_assert_float_eq(deviation, 2.0 / sqrt(12.0), 0.01);
    for (int i = 0; i < COUNT; i++)
        cr_assert(data[i] >= -0.5f && data[i] <= 1.5f);
}

/* A normal law has its mean and deviation; its tails go beyond 3.5 deviations but not absurdly far. */
Test(initializer, normal)
{
    double mean, deviation, most;
    fill(LS_INIT_OF(.kind = LS_INIT_NORMAL, .a = 0.0, .b = 2.0), LS_SHAPE(COUNT), 0);
    moments(&mean, &deviation, &most);
    cr_assert_float_eq(mean, 0.0, 0.03);
    cr_assert_float_eq(deviation, 2.0, 0.03);
    cr_assert(most > 7.0 && most < 12.0, "the largest is %g", most);
}

/* A truncated normal stays within 2 deviations and has the deviation that scaling divides by. */
Test(initializer, truncated)
{
    double mean, deviation, most;
    fill(LS_INIT_OF(.kind = LS_INIT_TRUNCATED_NORMAL, .a = 0.0, .b = 1.0), LS_SHAPE(COUNT), 3);
    moments(&mean, &deviation, &most);
    cr_assert_float_eq(mean, 0.0, 0.02);
    cr_assert_float_eq(deviation, 0.87962566, 0.01);
    cr_assert(most < 2.0 && most > 1.95, "the largest is %g", most);
}

/* Scaled laws have the variance that Keras' fans give: Dense (in, out), Conv2D (h, w, in, out). */
Test(initializer, fans)
{
    double mean, deviation, most;
    fill(LS_GLOROT_UNIFORM, LS_SHAPE(128, 512), 0);
    moments(&mean, &deviation, &most);
    cr_assert_float_eq(deviation, sqrt(2.0 / (128 + 512)), 0.001);
    cr_assert(most <= sqrt(6.0 / (128 + 512)) * 1.000001);
    fill(LS_HE_NORMAL, LS_SHAPE(4, 4, 64, 64), 0);
    moments(&mean, &deviation, &most);
    cr_assert_float_eq(deviation, sqrt(2.0 / (16 * 64)), 0.001);
    fill(LS_SCALED_INIT(3.0, LS_FAN_OUT, LS_SCALED_UNTRUNCATED_NORMAL), LS_SHAPE(4, 4, 32, 128), 0);
    moments(&mean, &deviation, &most);
    cr_assert_float_eq(deviation, sqrt(3.0 / (16 * 128)), 0.001);
    fill(LS_LECUN_UNIFORM, LS_SHAPE(COUNT), 0);
    moments(&mean, &deviation, &most);
    cr_assert_float_eq(deviation, sqrt(1.0 / COUNT), 0.001);
}

/* Variables draw from different streams; a shorter variable of a stream is the beginning of a longer one. */
Test(initializer, streams)
{
    struct ls_initializer law = LS_INIT_OF(.kind = LS_INIT_TRUNCATED_NORMAL, .a = 0.0, .b = 1.0);
    int same = 0;
    fill(law, LS_SHAPE(COUNT), 0);
    memcpy(other, data, sizeof(data));
    fill(law, LS_SHAPE(COUNT), 1);
    for (int i = 0; i < COUNT; i++)
        same += data[i] == other[i];
    cr_assert_lt(same, 10);
    memset(data, 0, sizeof(data));
    fill(law, LS_SHAPE(1001), 0);
    cr_assert_arr_eq(data, other, 1001 * sizeof(float));
}

/* Elements are what docs/numerics.md says they are. */
Test(initializer, formula)
{
    uint32_t word[4];
    fill(LS_INIT_OF(.kind = LS_INIT_UNIFORM, .a = -1.0, .b = 1.0), LS_SHAPE(10), 5);
    ls_philox_block(ls_philox_key_of(7, 5, 0), 0, LS_PHILOX_NO_SAMPLE, 2, word);
    cr_assert(data[9] == (float)(-1.0 + 2.0 * ((double)word[1] * 0x1p-32)));
    fill(LS_INIT_OF(.kind = LS_INIT_CONSTANT, .a = 0.1), LS_SHAPE(10), 5);
    cr_assert(data[9] == 0.1f);
}

/* Wrong numbers are refused. */
Test(initializer, refuses)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_initializer wrong[] = {
        LS_INIT_OF(.kind = LS_INIT_UNIFORM, .a = 1.0, .b = 0.0),
        LS_INIT_OF(.kind = LS_INIT_NORMAL, .b = -1.0),
        LS_INIT_OF(.kind = LS_INIT_VARIANCE_SCALING, .a = 0.0),
        LS_INIT_OF(.kind = LS_INIT_CONSTANT, .a = INFINITY),
        LS_INIT_OF(.kind = LS_INIT_DEFAULT),
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        cr_assert_eq(lsi_initializer_check(&wrong[i], &err), LS_EINVAL);
}

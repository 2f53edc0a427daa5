/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Initial values. Element e of a variable draws from Philox with the key of (seed, stream of the variable, attempt)
 * and the counter (step 0, sample 2^48 - 1, block); all arithmetic is f64 without libm but for sqrt, rounded once to
 * f32 at the end. Formulas: docs/numerics.md. Distributions and fans are those of Keras 3.
 */
#include "core/nn/initializer.h"

#include "core/base/philox.h"
#include "core/device/transcendental.h"

#include <math.h>

/* Standard deviation of a unit normal that is cut at 2 (what Keras divides by). */
#define TRUNCATED_DEVIATION 0.87962566103423978
#define TWO_PI 6.283185307179586476925
#define TRUNCATED_ATTEMPTS 64
/* Two words an element and a 32-bit block number bound the elements of a variable. */
#define MOST_ELEMENTS (INT64_C(1) << 33)

struct ls_initializer lsi_initializer_or(struct ls_initializer initializer, struct ls_initializer fallback)
{
    return initializer.kind == LS_INIT_DEFAULT ? fallback : initializer;
}

enum ls_status lsi_initializer_check(const struct ls_initializer *initializer, struct ls_error *err)
{
    if (!isfinite(initializer->a) || !isfinite(initializer->b))
        return ls_error_set(err, LS_EINVAL, "an initialiser's number is not finite");
    switch (initializer->kind) {
    case LS_INIT_UNIFORM:
        if (initializer->a > initializer->b)
            return ls_error_set(err, LS_EINVAL, "a uniform initialiser has minval %g above maxval %g", initializer->a,
                                initializer->b);
        return LS_OK;
    case LS_INIT_NORMAL:
    case LS_INIT_TRUNCATED_NORMAL:
        if (initializer->b < 0.0)
            return ls_error_set(err, LS_EINVAL, "a normal initialiser has the standard deviation %g", initializer->b);
        return LS_OK;
    case LS_INIT_VARIANCE_SCALING:
        if (initializer->a <= 0.0)
            return ls_error_set(err, LS_EINVAL, "a variance scaling initialiser has scale %g, it must be above 0",
                                initializer->a);
        return LS_OK;
    case LS_INIT_CONSTANT:
        return LS_OK;
    case LS_INIT_DEFAULT:
        break;
    }
    return ls_error_set(err, LS_EINVAL, "there is no initialiser number %d", (int)initializer->kind);
}

/* fan_in, fan_out as Keras counts them. */
static void fans_of(const struct ls_shape *shape, double *fan_in, double *fan_out)
{
    *fan_in = *fan_out = 1.0;
    if (shape->rank == 1)
        *fan_in = *fan_out = (double)shape->dim[0];
    if (shape->rank < 2)
        return;
    double field = 1.0;
    for (int i = 0; i < shape->rank - 2; i++)
        field *= (double)shape->dim[i];
    *fan_in = (double)shape->dim[shape->rank - 2] * field;
    *fan_out = (double)shape->dim[shape->rank - 1] * field;
}

/* Variance scaling as one of the plain distributions. */
static struct ls_initializer scaled(const struct ls_initializer *initializer, const struct ls_shape *shape)
{
    double fan_in, fan_out;
    fans_of(shape, &fan_in, &fan_out);
    double fan = initializer->fan == LS_FAN_IN    ? fan_in
                 : initializer->fan == LS_FAN_OUT ? fan_out
                                                  : (fan_in + fan_out) / 2.0;
    double scale = initializer->a / (fan > 1.0 ? fan : 1.0);
    if (initializer->distribution == LS_SCALED_UNIFORM) {
        double limit = sqrt(3.0 * scale);
        return LS_INIT_OF(.kind = LS_INIT_UNIFORM, .a = -limit, .b = limit);
    }
    if (initializer->distribution == LS_SCALED_UNTRUNCATED_NORMAL)
        return LS_INIT_OF(.kind = LS_INIT_NORMAL, .a = 0.0, .b = sqrt(scale));
    return LS_INIT_OF(.kind = LS_INIT_TRUNCATED_NORMAL, .a = 0.0, .b = sqrt(scale) / TRUNCATED_DEVIATION);
}

static void fill_uniform(const struct ls_initializer *law, struct ls_philox_key key, int64_t count, float *data)
{
    double width = law->b - law->a;
    uint32_t word[4];
    for (int64_t e = 0; e < count; e++) {
        if (e % 4 == 0)
            ls_philox_block(key, 0, LS_PHILOX_NO_SAMPLE, (uint32_t)(e / 4), word);
        data[e] = (float)(law->a + width * ((double)word[e % 4] * 0x1p-32));
    }
}

/* A unit normal from two words (Box, Muller 1958). */
static double normal_of(const uint32_t word[2])
{
    double u = ((double)word[0] + 1.0) * 0x1p-32; /* (0, 1] */
    double v = (double)word[1] * 0x1p-32;         /* [0, 1) */
    return sqrt(-2.0 * lsi_log_f64(u)) * lsi_cos_f64(TWO_PI * v);
}

static void fill_normal(const struct ls_initializer *law, struct ls_philox_key key, int64_t count, float *data)
{
    uint32_t word[4];
    for (int64_t e = 0; e < count; e++) {
        if (e % 2 == 0)
            ls_philox_block(key, 0, LS_PHILOX_NO_SAMPLE, (uint32_t)(e / 2), word);
        data[e] = (float)(law->a + law->b * normal_of(word + 2 * (e % 2)));
    }
}

/* The first of the attempts that lies within 2 deviations; attempt a is call a of the stream. After the last one
 * (probability 10^-86) the mean. */
static void fill_truncated(const struct ls_initializer *law, uint64_t seed, uint64_t stream, int64_t count, float *data)
{
    struct ls_philox_key key[TRUNCATED_ATTEMPTS];
    int keys = 0;
    for (int64_t e = 0; e < count; e++) {
        double value = 0.0;
        for (int a = 0; a < TRUNCATED_ATTEMPTS; a++) {
            uint32_t word[4];
            if (a == keys)
                key[keys++] = ls_philox_key_of(seed, stream, (uint64_t)a);
            ls_philox_block(key[a], 0, LS_PHILOX_NO_SAMPLE, (uint32_t)(e / 2), word);
            double drawn = normal_of(word + 2 * (e % 2));
            if (drawn > -2.0 && drawn < 2.0) {
                value = drawn;
                break;
            }
        }
        data[e] = (float)(law->a + law->b * value);
    }
}

enum ls_status lsi_initialize(const struct ls_initializer *initializer, const struct ls_shape *shape, uint64_t seed,
                              uint64_t stream, float *data, struct ls_error *err)
{
    int64_t count = ls_shape_count(shape);
    if (count > MOST_ELEMENTS)
        return ls_error_set(err, LS_EUNSUPPORTED, "a variable of more than 2^33 elements cannot be initialised");
    struct ls_initializer law = *initializer;
    if (law.kind == LS_INIT_VARIANCE_SCALING)
        law = scaled(&law, shape);
    switch (law.kind) {
    case LS_INIT_CONSTANT:
        for (int64_t e = 0; e < count; e++)
            data[e] = (float)law.a;
        return LS_OK;
    case LS_INIT_UNIFORM:
        fill_uniform(&law, ls_philox_key_of(seed, stream, 0), count, data);
        return LS_OK;
    case LS_INIT_NORMAL:
        fill_normal(&law, ls_philox_key_of(seed, stream, 0), count, data);
        return LS_OK;
    case LS_INIT_TRUNCATED_NORMAL:
        fill_truncated(&law, seed, stream, count, data);
        return LS_OK;
    case LS_INIT_VARIANCE_SCALING:
    case LS_INIT_DEFAULT:
        break;
    }
    return ls_error_set(err, LS_EINTERNAL, "there is no initialiser number %d", (int)law.kind);
}

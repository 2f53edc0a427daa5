/* SPDX-License-Identifier: Apache-2.0 */
/* See collective_reference.h. */
#include "tests/conformance/collective_reference.h"
#include "tests/conformance/collective_suite.h"

#include <math.h>
#include <string.h>

static double of_f16(uint16_t h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double magnitude = e == 31  ? (m == 0 ? (double)INFINITY : (double)NAN)
                       : e == 0 ? ldexp(m, -24)
                                : ldexp(1024 + m, e - 25);

    return (h & 0x8000) != 0 ? -magnitude : magnitude;
}

/* Rounded to nearest even, once. */
static uint16_t to_f16(double x)
{
    uint16_t sign = signbit(x) ? 0x8000 : 0;
    int e;

    if (isnan(x))
        return 0x7e00;
    x = fabs(x);
    if (x >= 65520)
        return sign | 0x7c00;
    (void)frexp(x, &e);
    e = e - 11 > -24 ? e - 11 : -24;
    double n = nearbyint(ldexp(x, -e)); /* units of 2^e, at most 2048 */
    return (uint16_t)(sign | (n < 1024 ? (uint16_t)n : (uint16_t)(((e + 24) << 10) + (int)n)));
}

void reference_values(enum ls_dtype dtype, uint64_t seed, int64_t count, void *values)
{
    uint64_t state = seed;

    for (int64_t i = 0; i < count; i++) {
        uint64_t bits = suite_random(&state);
        double real = (double)(int64_t)bits * 0x1p-63 * (double)(1 << (bits & 15));
        if (dtype == LS_F32) {
            float value = (float)real;
            if ((bits & 0xffff) == 0x10)
                value = __builtin_inff();
            if ((bits & 0xffff) == 0x20)
                value = 1e-41f;
            memcpy((uint8_t *)values + 4 * i, &value, 4);
        } else if (dtype == LS_F64) {
            memcpy((uint8_t *)values + 8 * i, &real, 8);
        } else if (dtype == LS_BF16) {
            float value = (float)real;
            memcpy((uint8_t *)values + 2 * i, (uint8_t *)&value + 2, 2);
        } else if (dtype == LS_F16) {
            uint16_t value = to_f16((bits & 0x700000) == 0 ? real * 0x1p-30 : real);
            memcpy((uint8_t *)values + 2 * i, &value, 2);
        } else if (dtype == LS_I32) {
            memcpy((uint8_t *)values + 4 * i, &bits, 4);
        } else if (dtype == LS_I64) {
            memcpy((uint8_t *)values + 8 * i, &bits, 8);
        } else {
            ((uint8_t *)values)[i] = (uint8_t)bits;
        }
    }
}

static double real_pick(enum ls_reduction reduction, double a, double b)
{
    if (reduction == LS_MIN)
        return a < b || a != a ? a : b;
    return a > b || a != a ? a : b;
}

static float reference_f32(enum ls_reduction reduction, float a, float b)
{
    volatile float sum = a + b;
    volatile float product = a * b;

    if (reduction == LS_SUM || reduction == LS_MEAN)
        return sum;
    return reduction == LS_PRODUCT ? product : (float)real_pick(reduction, a, b);
}

static double reference_f64(enum ls_reduction reduction, double a, double b)
{
    if (reduction == LS_SUM || reduction == LS_MEAN)
        return a + b;
    return reduction == LS_PRODUCT ? a * b : real_pick(reduction, a, b);
}

static int64_t reference_int(enum ls_reduction reduction, int64_t a, int64_t b)
{
    if (reduction == LS_SUM)
        return (int64_t)((uint64_t)a + (uint64_t)b);
    if (reduction == LS_PRODUCT)
        return (int64_t)((uint64_t)a * (uint64_t)b);
    return (reduction == LS_MIN) == (a < b) ? a : b;
}

static float of_bf16(uint16_t h)
{
    uint32_t wide = (uint32_t)h << 16;
    float x;

    memcpy(&x, &wide, sizeof x);
    return x;
}

static uint16_t to_bf16(float r)
{
    uint32_t bits;

    memcpy(&bits, &r, 4);
    if (r != r)
        return (uint16_t)((bits >> 16) | 0x40);
    return (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

static void reference_one(const struct ls_collective *op, const uint8_t *a, const uint8_t *b, uint8_t *out)
{
    union {
        float f32;
        double f64;
        int32_t i32;
        int64_t i64;
        uint16_t half;
    } x, y;
    size_t bytes = ls_dtype_size(op->dtype);

    memcpy(&x, a, bytes);
    memcpy(&y, b, bytes);
    if (op->dtype == LS_F32)
        x.f32 = reference_f32(op->reduction, x.f32, y.f32);
    else if (op->dtype == LS_F64)
        x.f64 = reference_f64(op->reduction, x.f64, y.f64);
    else if (op->dtype == LS_BF16)
        x.half = to_bf16(reference_f32(op->reduction, of_bf16(x.half), of_bf16(y.half)));
    else if (op->dtype == LS_F16)
        x.half = to_f16(reference_f64(op->reduction, of_f16(x.half), of_f16(y.half)));
    else if (op->dtype == LS_I32)
        x.i32 = (int32_t)reference_int(op->reduction, x.i32, y.i32);
    else
        x.i64 = reference_int(op->reduction, x.i64, y.i64);
    memcpy(out, &x, bytes);
}

bool reference_node(const struct ls_collective *op, uint8_t *const *leaf_at, const int *size_at, struct ls_range range,
                    int64_t i, uint8_t out[REFERENCE_BYTES])
{
    size_t bytes = ls_dtype_size(op->dtype);
    uint8_t left[REFERENCE_BYTES];
    uint8_t right[REFERENCE_BYTES];

    if (leaf_at[range.first] != NULL && size_at[range.first] == range.count) {
        memcpy(out, leaf_at[range.first] + (size_t)i * bytes, bytes);
        return true;
    }
    if (range.count == 1)
        return false;
    int half = range.count / 2;
    bool a = reference_node(op, leaf_at, size_at, (struct ls_range){range.first, half}, i, left);
    bool b = reference_node(op, leaf_at, size_at, (struct ls_range){range.first + half, half}, i, right);
    if (a && b)
        reference_one(op, left, right, out);
    else
        memcpy(out, a ? left : right, bytes);
    return a || b;
}

void reference_mean(const struct ls_collective *op, int n, uint8_t value[REFERENCE_BYTES])
{
    float f32;
    double f64;
    uint16_t half;

    if (op->reduction != LS_MEAN)
        return;
    memcpy(&f32, value, 4);
    memcpy(&f64, value, 8);
    memcpy(&half, value, 2);
    f32 /= (float)n;
    f64 /= n;
    half = op->dtype == LS_F16 ? to_f16(of_f16(half) / n) : to_bf16(of_bf16(half) / (float)n);
    memcpy(value,
           op->dtype == LS_F32   ? (void *)&f32
           : op->dtype == LS_F64 ? (void *)&f64
                                 : (void *)&half,
           ls_dtype_size(op->dtype));
}

static bool is_nan(enum ls_dtype dtype, const uint8_t *value)
{
    float f32;
    double f64;

    if (dtype == LS_F32) {
        memcpy(&f32, value, 4);
        return f32 != f32;
    }
    if (dtype == LS_BF16) {
        uint32_t wide = (uint32_t)(value[0] | value[1] << 8) << 16;
        memcpy(&f32, &wide, 4);
        return f32 != f32;
    }
    if (dtype == LS_F16)
        return isnan(of_f16((uint16_t)(value[0] | value[1] << 8)));
    if (dtype != LS_F64)
        return false;
    memcpy(&f64, value, 8);
    return f64 != f64;
}

bool reference_same(enum ls_dtype dtype, const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, ls_dtype_size(dtype)) == 0 || (is_nan(dtype, a) && is_nan(dtype, b));
}

double reference_real(enum ls_dtype dtype, const uint8_t *value)
{
    float f32;
    double f64;

    memcpy(&f64, value, ls_dtype_size(dtype) == 8 ? 8 : 0);
    memcpy(&f32, value, ls_dtype_size(dtype) >= 4 ? 4 : 0);
    if (dtype == LS_F32)
        return f32;
    if (dtype == LS_F64)
        return f64;
    return dtype == LS_F16 ? of_f16((uint16_t)(value[0] | value[1] << 8))
                           : of_bf16((uint16_t)(value[0] | value[1] << 8));
}

double reference_tolerance(enum ls_dtype dtype, bool bf16_wire)
{
    if (dtype == LS_F32)
        return bf16_wire ? 0x1p-7 : 0x1p-18;
    return dtype == LS_F64 ? 0x1p-46 : 0x1p-3;
}

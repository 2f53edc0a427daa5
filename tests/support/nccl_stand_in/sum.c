/* SPDX-License-Identifier: Apache-2.0 */
/* See sum.h. */
#include "tests/support/nccl_stand_in/sum.h"

#include "tests/support/nccl_stand_in/stand_in.h"

#include <math.h>
#include <string.h>

size_t stand_in_size(int dtype)
{
    switch (dtype) {
    case NCCL_UINT8:
        return 1;
    case NCCL_FLOAT16:
    case NCCL_BFLOAT16:
        return 2;
    case NCCL_INT32:
    case NCCL_FLOAT32:
        return 4;
    case NCCL_INT64:
    case NCCL_FLOAT64:
        return 8;
    default:
        stand_in_die("an unknown dtype");
    }
}

static double of_f16(uint16_t bits)
{
    int e = bits >> 10 & 31, m = bits & 1023;
    double magnitude = e == 31  ? (m == 0 ? (double)INFINITY : (double)NAN)
                       : e == 0 ? ldexp(m, -24)
                                : ldexp(1024 + m, e - 25);

    return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

/* To the nearest, ties to even. */
static uint16_t to_f16(double value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    int e;

    if (isnan(value))
        return 0x7e00;
    value = fabs(value);
    if (value >= 65520)
        return sign | 0x7c00;
    (void)frexp(value, &e);
    e = e - 11 > -24 ? e - 11 : -24;
    value = nearbyint(ldexp(value, -e)); /* units of 2^e, at most 2048 */
    return (uint16_t)(sign | (value < 1024 ? (int)value : ((e + 24) << 10) + (int)value));
}

static double read_real(const uint8_t *at, int dtype)
{
    uint16_t half;
    uint32_t wide;
    float f32;
    double f64;

    memcpy(&half, at, sizeof half);
    if (dtype == NCCL_FLOAT16)
        return of_f16(half);
    if (dtype == NCCL_FLOAT64) {
        memcpy(&f64, at, sizeof f64);
        return f64;
    }
    wide = (uint32_t)half << 16;
    memcpy(&f32, dtype == NCCL_BFLOAT16 ? (const void *)&wide : at, sizeof f32);
    return (double)f32;
}

static void write_real(uint8_t *at, int dtype, double value)
{
    uint16_t f16 = to_f16(value), bf16;
    float f32 = (float)value;
    uint32_t bits;
    const void *from = &value;

    memcpy(&bits, &f32, sizeof bits);
    bf16 = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    if (dtype != NCCL_FLOAT64)
        from = dtype == NCCL_FLOAT16 ? (const void *)&f16 : dtype == NCCL_BFLOAT16 ? (const void *)&bf16 : &f32;
    memcpy(at, from, stand_in_size(dtype));
}

static int64_t read_whole(const uint8_t *at, int dtype)
{
    int32_t narrow;
    int64_t wide;

    memcpy(&narrow, at, sizeof narrow);
    if (dtype == NCCL_INT32)
        return narrow;
    memcpy(&wide, at, sizeof wide);
    return wide;
}

static void reduce_whole(uint8_t *dst, const uint8_t *value, struct stand_in_operation operation)
{
    int64_t a = read_whole(dst, operation.dtype), b = read_whole(value, operation.dtype), c = a;

    if (operation.op == NCCL_SUM)
        c = (int64_t)((uint64_t)a + (uint64_t)b);
    else if (operation.op == NCCL_PRODUCT)
        c = (int64_t)((uint64_t)a * (uint64_t)b);
    else if ((operation.op == NCCL_MAX) == (b > a))
        c = b;
    memcpy(dst, &c, stand_in_size(operation.dtype));
}

static void reduce_real(uint8_t *dst, const uint8_t *value, struct stand_in_operation operation)
{
    double a = read_real(dst, operation.dtype), b = read_real(value, operation.dtype);

    /* A NaN is passed over, as NCCL does. */
    if (operation.op == NCCL_SUM || operation.op == NCCL_PRODUCT)
        write_real(dst, operation.dtype, operation.op == NCCL_SUM ? a + b : a * b);
    else if (a != a || (operation.op == NCCL_MAX ? b > a : b < a))
        write_real(dst, operation.dtype, b);
}

void stand_in_sum(uint8_t *dst, const uint8_t *values, int world, size_t count, struct stand_in_operation operation)
{
    size_t size = stand_in_size(operation.dtype);

    memcpy(dst, values + (size_t)(world - 1) * count * size, count * size);
    for (int r = world - 2; r >= 0; r--)
        for (size_t i = 0; i < count; i++) {
            const uint8_t *value = values + ((size_t)r * count + i) * size;
            if (operation.dtype == NCCL_INT32 || operation.dtype == NCCL_INT64)
                reduce_whole(dst + i * size, value, operation);
            else
                reduce_real(dst + i * size, value, operation);
        }
}

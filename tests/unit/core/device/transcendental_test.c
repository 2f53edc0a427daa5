/* SPDX-License-Identifier: Apache-2.0 */
/* exp, log, tanh: a cut through all inputs, the hard cases, and the f64 forms. The whole proof is
 * tests/bench/check_transcendental.c. */
#include "core/device/transcendental.h"

#include "core/device/device_impl.h"
#include "tests/support/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static float of_bits(uint32_t bits)
{
    float x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

/* An f64 result of libm (wrong by less than 2 ulps) rounds to this f32 number, or is too near the middle to say. */
static bool rounds_to(double y, float result)
{
    double step = fabs(y) * 0x1p-51;

    return isnan(y) ? isnan(result) : result == (float)y || result == (float)(y - step) || result == (float)(y + step);
}

/* Plain exp, log and tanh are correctly rounded on a cut through all inputs. */
Test(transcendental, a_cut_is_correctly_rounded)
{
    for (uint64_t bits = 0; bits < UINT64_C(1) << 32; bits += 1009) {
        float x = of_bits((uint32_t)bits);

        cr_assert(rounds_to(exp((double)x), lsi_exp_f32(x)), "exp(%a)", (double)x);
        cr_assert(rounds_to(log((double)x), lsi_log_f32(x)), "log(%a)", (double)x);
        cr_assert(rounds_to(tanh((double)x), lsi_tanh_f32(x)), "tanh(%a)", (double)x);
    }
}

/* The five inputs of log that f64 arithmetic rounds to the wrong side give the right side, on every device. */
Test(transcendental, hard_cases_of_log)
{
    uint32_t hard[] = {0x3c413d3a, 0x41178feb, 0x4c5d65a5, 0x65d890d3, 0x6f31a8ec, 0x3f800000};
    static const uint32_t right[] = {0xc08e158f, 0x400fe5e7, 0x418f034b, 0x4254d1f9, 0x42845a89, 0};
    uint32_t got[6];
    struct ls_view in = {LS_F32, LS_SHAPE(6), hard}, out = {LS_F32, LS_SHAPE(6), got};
    struct ls_op_call call = {.op = LS_OP_LOG, .in = &in, .in_count = 1, .out = &out, .out_count = 1};

    cr_assert_eq(lst_compare(&call, "log"), LS_OK);
    cr_assert_arr_eq(got, right, sizeof right);
}

/* Every device gives the bits of the plain functions on a cut through all inputs. */
Test(transcendental, devices_equal_the_reference)
{
    static const enum ls_op ops[] = {LS_OP_EXP, LS_OP_LOG, LS_OP_TANH};
    int64_t count = 500000;
    struct ls_view in = lst_view_empty(LS_F32, LS_SHAPE(count)), out = lst_view_empty(LS_F32, LS_SHAPE(count));

    for (int64_t i = 0; i < count; i++)
        ((float *)in.data)[i] = of_bits((uint32_t)((uint64_t)i * 8590));
    for (int k = 0; k < 3; k++) {
        struct ls_op_call call = {.op = ops[k], .in = &in, .in_count = 1, .out = &out, .out_count = 1};

        cr_assert_eq(lst_compare(&call, "transcendental"), LS_OK);
    }
    lst_view_free(&in);
    lst_view_free(&out);
}

/* Ends of the range: zeros keep their sign, infinities their limits, denormal results their bits. */
Test(transcendental, limits)
{
    cr_assert_eq(lsi_exp_f32(-INFINITY), 0.0f);
    cr_assert_eq(lsi_exp_f32(INFINITY), INFINITY);
    cr_assert_eq(lsi_exp_f32(-103.0f), 0x1p-149f);
    cr_assert_eq(lsi_exp_f32(88.8f), INFINITY);
    cr_assert_eq(lsi_exp_f32(-0.0f), 1.0f);
    cr_assert_eq(lsi_log_f32(-0.0f), -INFINITY);
    cr_assert(isnan(lsi_log_f32(-1.0f)));
    cr_assert_eq(lsi_log_f32(INFINITY), INFINITY);
    cr_assert(signbit(lsi_tanh_f32(-0.0f)));
    cr_assert_eq(lsi_tanh_f32(-INFINITY), -1.0f);
    cr_assert_eq(lsi_tanh_f32(0x1p-149f), 0x1p-149f);
    cr_assert(isnan(lsi_exp_f32(NAN)) && isnan(lsi_log_f32(NAN)) && isnan(lsi_tanh_f32(NAN)));
}

/* The f64 forms are within 1e-15 of libm over their whole range. */
Test(transcendental, f64_forms_are_near_libm)
{
    for (int i = 0; i < 200000; i++) {
        double u = (double)lst_random(UINT64_C(1) << 53) * 0x1p-53, x = (u - 0.5) * 1400;
        double y = ldexp(u, (int)lst_between(-1000, 1000)), small = (u - 0.5) * 0.5;

        cr_assert_float_eq(lsi_exp_f64(x) / exp(x), 1.0, 1e-15);
        cr_assert_float_eq(lsi_log_f64(y), log(y), 1e-15 * fabs(log(y)));
        cr_assert_float_eq(lsi_log_f64(1.0 + small), log(1.0 + small), 1e-15 * fabs(log(1.0 + small)));
        cr_assert_float_eq(lsi_cos_f64(x), cos(x), 1e-15);
        cr_assert_float_eq(lsi_tanh_f64(small), tanh(small), 1e-15 * fabs(small));
    }
    cr_assert(isnan(lsi_cos_f64(0x1p21)));
    cr_assert_eq(lsi_exp_f64(-745.0), exp(-745.0));
}

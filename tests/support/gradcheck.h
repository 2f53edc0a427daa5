/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients against central differences of the f64 interpreter, and small things that engine tests share. */
#ifndef LOCKSTEP_TESTS_SUPPORT_GRADCHECK_H
#define LOCKSTEP_TESTS_SUPPORT_GRADCHECK_H

#include "core/autodiff/gradient.h"
#include "core/ops/ops.h"

#define LST_MAX_SOURCES 8

/* A value that a case begins with: f32 within [low, high), or labels below `labels`. */
struct lst_source {
    struct ls_shape shape; /* per-sample: dim[0] is rows per sample */
    bool per_sample;
    double low, high;
    int labels; /* > 0: i32, and no gradient is checked */
};

typedef struct ls_value *(*lst_build_fn)(struct ls_context *context, struct ls_value **sources, const void *arg);

struct lst_gradcheck {
    const char *what;
    lst_build_fn build; /* the target */
    const void *arg;
    int count;
    struct lst_source sources[LST_MAX_SOURCES];
    double tolerance; /* of 1 + |derivative|; 0: 1e-4 */
};

/* Runs the case on 7 samples in 4 shards; fails the test naming the case, source and element that is off. */
void lst_gradcheck(const struct lst_gradcheck *check);

/* The result of an op; fails the test with the error. */
struct ls_value *lst_apply(struct ls_context *context, enum ls_op op, const struct ls_op_attrs *attrs,
                           struct ls_value *const *in, int in_count);
struct ls_value *lst_op1(struct ls_context *context, enum ls_op op, struct ls_value *x);
struct ls_value *lst_op2(struct ls_context *context, enum ls_op op, struct ls_value *x, struct ls_value *y);
struct ls_value *lst_reshape(struct ls_context *context, struct ls_value *x, struct ls_shape shape);
/* Fails the test with the message of err where status is not LS_OK. */
void lst_ok(enum ls_status status, const struct ls_error *err, const char *what);
/* f32 numbers within [low, high) that repeat from run to run. End it with ls_free. */
float *lst_floats(int64_t count, uint64_t seed, double low, double high);

#endif

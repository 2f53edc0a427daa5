/* SPDX-License-Identifier: Apache-2.0 */
/* One case: eager on the reference, gradients by the tape, derivatives by differences in f64. */
#include "tests/support/gradcheck.h"

#include "core/base/alloc.h"
#include "core/base/philox.h"
#include "tests/support/f64_eval.h"

#include <criterion/criterion.h>
#include <math.h>

enum { SAMPLES = 7, SHARDS = 4 };

void lst_ok(enum ls_status status, const struct ls_error *err, const char *what)
{
    cr_assert(status == LS_OK, "%s: %s", what, err->message);
}

struct ls_value *lst_apply(struct ls_context *context, enum ls_op op, const struct ls_op_attrs *attrs,
                           struct ls_value *const *in, int in_count)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_value *out = NULL;

    lst_ok(ls_apply(context, op, attrs, in, in_count, &out, &err), &err, ls_op_name(op));
    return out;
}

struct ls_value *lst_op1(struct ls_context *context, enum ls_op op, struct ls_value *x)
{
    return lst_apply(context, op, NULL, &x, 1);
}

struct ls_value *lst_op2(struct ls_context *context, enum ls_op op, struct ls_value *x, struct ls_value *y)
{
    struct ls_value *in[] = {x, y};

    return lst_apply(context, op, NULL, in, 2);
}

struct ls_value *lst_reshape(struct ls_context *context, struct ls_value *x, struct ls_shape shape)
{
    struct ls_op_attrs attrs = {.reshape = {.shape = shape}};

    return lst_apply(context, LS_OP_RESHAPE, &attrs, &x, 1);
}

float *lst_floats(int64_t count, uint64_t seed, double low, double high)
{
    float *data = ls_alloc_aligned((size_t)count * sizeof(float));
    struct ls_philox_key key = ls_philox_key_of(seed, 0, 0);

    for (int64_t i = 0; i < count; i++) {
        uint32_t words[4];

        ls_philox_block(key, 0, (uint64_t)i, 0, words);
        data[i] = (float)(low + (high - low) * (double)ls_philox_unit(words[0]));
    }
    return data;
}

struct state {
    const struct lst_gradcheck *check;
    struct ls_context *context;
    struct ls_value *sources[LST_MAX_SOURCES], *wanted[LST_MAX_SOURCES], *grads[LST_MAX_SOURCES];
    struct ls_value *target, *seed;
    void *memory[LST_MAX_SOURCES + 1];
    int wanted_count;
};

static void enter(struct state *s, int i)
{
    const struct lst_source *source = &s->check->sources[i];
    struct ls_error err = LS_ERROR_INIT;
    struct ls_shape shape = source->shape;
    int64_t rows = source->per_sample ? shape.dim[0] : 0;
    float *data;

    if (source->per_sample)
        shape.dim[0] *= SAMPLES;
    data = lst_floats(ls_shape_count(&shape), 100 + (uint64_t)i, source->labels ? 0 : source->low,
                      source->labels ? source->labels : source->high);
    for (int64_t k = 0; source->labels && k < ls_shape_count(&shape); k++)
        ((int32_t *)data)[k] = (int32_t)data[k];
    s->memory[i] = data;
    if (source->per_sample)
        lst_ok(ls_value_input(s->context, i, source->labels ? LS_I32 : LS_F32, &shape, LS_PER_SAMPLE, rows, data,
                              &s->sources[i], &err),
               &err, s->check->what);
    else
        lst_ok(ls_value_variable(s->context, i, LS_F32, &shape, data, &s->sources[i], &err), &err, s->check->what);
    if (!source->labels)
        s->wanted[s->wanted_count++] = s->sources[i];
}

static void make_seed(struct state *s)
{
    const struct ls_value_info *info = ls_value_info(s->target);
    struct ls_error err = LS_ERROR_INIT;
    float *data = lst_floats(ls_shape_count(&info->shape), 7, -1, 1);

    s->memory[LST_MAX_SOURCES] = data;
    lst_ok(ls_value_input(s->context, 99, LS_F32, &info->shape, info->distribution, info->rows_per_sample, data,
                          &s->seed, &err),
           &err, s->check->what);
}

/* sum of seed * target. */
static double evaluate(struct state *s, struct lst_f64 *eval)
{
    int64_t count = ls_shape_count(&ls_value_info(s->target)->shape);
    const float *seed = ls_value_view(s->seed).data;
    double sum = 0;

    lst_f64_run(eval);
    for (int64_t i = 0; i < count; i++)
        sum += (double)seed[i] * lst_f64_of(eval, s->target)[i];
    return sum;
}

static void compare(struct state *s, struct lst_f64 *eval, int j)
{
    const struct ls_value *source = s->wanted[j];
    const float *grad = s->grads[j] != NULL ? ls_value_view(s->grads[j]).data : NULL; /* NULL: none, so 0 */
    double *x = lst_f64_of(eval, source), step = 1e-5;
    double tolerance = s->check->tolerance > 0 ? s->check->tolerance : 1e-4;

    for (int64_t i = 0; i < ls_shape_count(&ls_value_info(source)->shape); i++) {
        double kept = x[i], above, below, difference;

        x[i] = kept + step;
        above = evaluate(s, eval);
        x[i] = kept - step;
        below = evaluate(s, eval);
        x[i] = kept;
        difference = (above - below) / (2 * step);
        cr_assert(fabs((grad != NULL ? (double)grad[i] : 0) - difference) <= tolerance * (1 + fabs(difference)),
                  "%s: source %d, element %lld: gradient %.9g, difference %.9g", s->check->what, j, (long long)i,
                  grad != NULL ? (double)grad[i] : 0, difference);
    }
}

void lst_gradcheck(const struct lst_gradcheck *check)
{
    struct state s = {.check = check};
    struct ls_context_options options = {.shards = ls_shards_of(SAMPLES, SHARDS, 0, SHARDS),
                                         .step = {.seed = 3, .step = 5, .training = true}};
    struct ls_device_options device_options = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_error err = LS_ERROR_INIT;
    struct lst_f64 *eval;

    lst_ok(ls_device_open("ref", &device_options, &options.device, &err), &err, check->what);
    lst_ok(ls_context_create(&options, &s.context, &err), &err, check->what);
    for (int i = 0; i < check->count; i++)
        enter(&s, i);
    s.target = check->build(s.context, s.sources, check->arg);
    make_seed(&s);
    eval = lst_f64_create(s.context);
    lst_ok(ls_gradient(s.context, &s.target, &s.seed, 1, s.wanted, s.wanted_count, s.grads, &err), &err, check->what);
    for (int j = 0; j < s.wanted_count; j++) {
        if (s.grads[j] != NULL) {
            cr_assert(ls_shape_equal(&ls_value_info(s.grads[j])->shape, &ls_value_info(s.wanted[j])->shape));
            cr_assert(ls_value_info(s.grads[j])->distribution == ls_value_info(s.wanted[j])->distribution);
        }
        compare(&s, eval, j);
    }
    lst_f64_destroy(eval);
    ls_context_destroy(s.context);
    for (int i = 0; i <= LST_MAX_SOURCES; i++)
        ls_free(s.memory[i]);
    ls_device_close(options.device);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BatchNormalization over the last axis with the statistics of the global batch. The moving statistics are state:
 * m * momentum + batch * (1 - momentum), two rounded products and one rounded sum, with the biased batch variance as
 * Keras 3 has it. A frozen layer uses and keeps its moving statistics in training too.
 */
#include "core/nn/layers/layers.h"

#include "core/ops/batch_norm.h"
#include "core/ops/ops.h"

#include <math.h>

enum { GAMMA, BETA, MEAN, VARIANCE };

static void read_config(struct lsi_config *config, struct lsi_layer *layer)
{
    struct ls_batch_norm_options *o = &layer->options.batch_norm;
    layer->axis = (int)lsi_config_int(config, "axis", -1, -1, LS_MAX_RANK);
    if (layer->axis == 0)
        lsi_config_fail(config, LS_EUNSUPPORTED, "axis 0 holds the samples; axis must be the last one");
    o->momentum = lsi_config_number(config, "momentum", 0.99);
    o->epsilon = lsi_config_number(config, "epsilon", 1e-3);
    o->no_center = !lsi_config_bool(config, "center", true);
    o->no_scale = !lsi_config_bool(config, "scale", true);
    lsi_config_initializer(config, "gamma_initializer", &o->gamma_initializer);
    lsi_config_initializer(config, "beta_initializer", &o->beta_initializer);
    lsi_config_initializer(config, "moving_mean_initializer", &o->mean_initializer);
    lsi_config_initializer(config, "moving_variance_initializer", &o->variance_initializer);
    lsi_config_neutral(config, "gamma_regularizer");
    lsi_config_neutral(config, "beta_regularizer");
    lsi_config_neutral(config, "gamma_constraint");
    lsi_config_neutral(config, "beta_constraint");
    lsi_config_ignore(config, "synchronized"); /* the statistics are those of the global batch either way */
    lsi_config_neutral(config, "renorm");
    lsi_config_neutral(config, "renorm_clipping");
    lsi_config_ignore(config, "renorm_momentum");
}

static enum ls_status check(const struct lsi_layer *layer, struct ls_error *err)
{
    const struct ls_batch_norm_options *o = &layer->options.batch_norm;
    if (!(o->momentum >= 0.0 && o->momentum <= 1.0))
        return ls_error_set(err, LS_EINVAL, "momentum is %g, it must be from 0 to 1", o->momentum);
    if (!(o->epsilon >= 0.0 && isfinite((float)o->epsilon)))
        return ls_error_set(err, LS_EINVAL, "epsilon is %g, it must be 0 or a finite positive number", o->epsilon);
    return LS_OK;
}

static enum ls_status shape(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                            struct ls_shape *out, struct ls_error *err)
{
    (void)in_count;
    if (in[0].rank < 1)
        return ls_error_set(err, LS_EINVAL, "it needs samples of at least one dimension");
    if (layer->axis > 0 && layer->axis != in[0].rank)
        return ls_error_set(err, LS_EUNSUPPORTED, "axis is %d, only the last one (%d) is supported", layer->axis,
                            in[0].rank);
    *out = in[0];
    return lsi_same_channels(layer, &in[0], err);
}

static enum ls_status variables(struct ls_model *model, struct lsi_layer *layer, struct ls_error *err)
{
    const struct ls_batch_norm_options *o = &layer->options.batch_norm;
    struct ls_shape channels = LS_SHAPE(layer->built.dim[layer->built.rank - 1]);
    const struct lsi_variable_plan plans[] = {
        {GAMMA, "gamma", LS_ROLE_TRAINABLE, channels, lsi_initializer_or(o->gamma_initializer, LS_ONES)},
        {BETA, "beta", LS_ROLE_TRAINABLE, channels, lsi_initializer_or(o->beta_initializer, LS_ZEROS)},
        {MEAN, "moving_mean", LS_ROLE_STATE, channels, lsi_initializer_or(o->mean_initializer, LS_ZEROS)},
        {VARIANCE, "moving_variance", LS_ROLE_STATE, channels, lsi_initializer_or(o->variance_initializer, LS_ONES)},
    };
    enum ls_status status = LS_OK;
    for (int i = 0; status == LS_OK && i <= VARIANCE; i++)
        if (!(i == GAMMA && o->no_scale) && !(i == BETA && o->no_center))
            status = lsi_add_variable(model, layer, &plans[i], err);
    return status;
}

/* A variable, as an earlier call of this step left it; where it is absent, a constant. */
static enum ls_status variable_of(struct lsi_apply *a, int slot, float fallback, struct ls_value **value)
{
    int index = a->layer->variable[slot];
    if (index < 0) {
        struct ls_shape channels = LS_SHAPE(a->layer->built.dim[a->layer->built.rank - 1]);
        return ls_fill(a->context, &channels, LS_REPLICATED, 0, fallback, value, a->err);
    }
    *value = a->updates[index] != NULL ? a->updates[index] : a->variables[index];
    return LS_OK;
}

/* The moving statistic of a slot takes in the batch's. */
static enum ls_status move(struct lsi_apply *a, int slot, struct ls_value *batch)
{
    double momentum = a->layer->options.batch_norm.momentum;
    struct ls_value *old, *kept, *added, *moved;
    enum ls_status status = variable_of(a, slot, 0.0f, &old);
    if (status == LS_OK)
        status = ls_affine(a->context, old, (float)momentum, 0.0f, &kept, a->err);
    if (status == LS_OK)
        status = ls_affine(a->context, batch, (float)(1.0 - momentum), 0.0f, &added, a->err);
    if (status == LS_OK)
        status = ls_binary(a->context, LS_OP_ADD, kept, added, &moved, a->err);
    if (status == LS_OK)
        a->updates[a->layer->variable[slot]] = moved;
    return status;
}

/* Frozen in training: plain operations, so that the adjoint of x passes through. */
static enum ls_status apply_frozen(struct lsi_apply *a, struct ls_value *const value[4])
{
    struct ls_value *shifted, *variance, *deviation, *normal, *scaled;
    enum ls_status status = ls_binary(a->context, LS_OP_SUB, a->in[0].value, value[MEAN], &shifted, a->err);
    if (status == LS_OK)
        status = ls_affine(a->context, value[VARIANCE], 1.0f, (float)a->layer->options.batch_norm.epsilon, &variance,
                           a->err);
    if (status == LS_OK)
        status = ls_unary(a->context, LS_OP_SQRT, variance, &deviation, a->err);
    if (status == LS_OK)
        status = ls_binary(a->context, LS_OP_DIV, shifted, deviation, &normal, a->err);
    if (status == LS_OK)
        status = ls_binary(a->context, LS_OP_MUL, normal, value[GAMMA], &scaled, a->err);
    if (status == LS_OK)
        status = ls_binary(a->context, LS_OP_ADD, scaled, value[BETA], &a->out.value, a->err);
    return status;
}

static enum ls_status apply(struct lsi_apply *a)
{
    const struct ls_batch_norm_options *o = &a->layer->options.batch_norm;
    struct ls_value *value[4], *mean, *variance;
    enum ls_status status = LS_OK;
    for (int i = 0; status == LS_OK && i <= VARIANCE; i++)
        status = variable_of(a, i, i == GAMMA ? 1.0f : 0.0f, &value[i]);
    if (status != LS_OK)
        return status;
    if (a->training && !a->layer->trainable)
        return apply_frozen(a, value);
    if (!a->training) {
        struct ls_op_attrs attrs = {.bn = {.epsilon = (float)o->epsilon}};
        struct ls_value *in[] = {a->in[0].value, value[MEAN], value[VARIANCE], value[GAMMA], value[BETA]};
        return ls_apply(a->context, LS_OP_BN_APPLY, &attrs, in, 5, &a->out.value, a->err);
    }
    status = ls_batch_norm_train(a->context, a->in[0].value, value[GAMMA], value[BETA], (float)o->epsilon,
                                 &a->out.value, &mean, &variance, a->err);
    if (status == LS_OK)
        status = move(a, MEAN, mean);
    if (status == LS_OK)
        status = move(a, VARIANCE, variance);
    return status;
}

const struct lsi_layer_class lsi_layer_batch_norm = {
    .name = "BatchNormalization",
    .snake = "batch_normalization",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_config,
    .check = check,
    .shape = shape,
    .variables = variables,
    .apply = apply,
};

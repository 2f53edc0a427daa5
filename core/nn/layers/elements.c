/* SPDX-License-Identifier: Apache-2.0 */
/* Rescaling and Dropout. */
#include "core/nn/layers/layers.h"

#include "core/ops/ops.h"

#include <math.h>

static enum ls_status shape_same(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                                 struct ls_shape *out, struct ls_error *err)
{
    (void)layer;
    (void)in_count;
    (void)err;
    *out = in[0];
    return LS_OK;
}

static void read_rescaling(struct lsi_config *config, struct lsi_layer *layer)
{
    layer->options.rescaling.scale = lsi_config_number(config, "scale", 1.0);
    layer->options.rescaling.offset = lsi_config_number(config, "offset", 0.0);
    lsi_config_channels_last(config);
}

static enum ls_status check_rescaling(const struct lsi_layer *layer, struct ls_error *err)
{
    const struct ls_rescaling_options *o = &layer->options.rescaling;
    if (!isfinite((float)o->scale) || !isfinite((float)o->offset))
        return ls_error_set(err, LS_EINVAL, "scale and offset must be finite float32 numbers");
    return LS_OK;
}

static enum ls_status apply_rescaling(struct lsi_apply *a)
{
    const struct ls_rescaling_options *o = &a->layer->options.rescaling;
    return ls_affine(a->context, a->in[0].value, (float)o->scale, (float)o->offset, &a->out.value, a->err);
}

static void read_dropout(struct lsi_config *config, struct lsi_layer *layer)
{
    layer->options.dropout.rate = lsi_config_number(config, "rate", 0.5);
    lsi_config_ignore(config, "seed"); /* the job's seed is the only one */
    lsi_config_neutral(config, "noise_shape");
}

static enum ls_status check_dropout(const struct lsi_layer *layer, struct ls_error *err)
{
    double rate = layer->options.dropout.rate;
    if (!(rate >= 0.0 && (float)rate < 1.0f))
        return ls_error_set(err, LS_EINVAL, "the rate is %g, it must be at least 0 and below 1", rate);
    return LS_OK;
}

static enum ls_status apply_dropout(struct lsi_apply *a)
{
    struct ls_op_attrs attrs = {.dropout = {.rate = (float)a->layer->options.dropout.rate,
                                            .stream = a->layer->stream,
                                            .call = (uint64_t)a->node->call}};
    if (!a->training || attrs.dropout.rate == 0.0f) {
        a->out = a->in[0];
        return LS_OK;
    }
    return ls_apply(a->context, LS_OP_DROPOUT, &attrs, &a->in[0].value, 1, &a->out.value, a->err);
}

const struct lsi_layer_class lsi_layer_rescaling = {
    .name = "Rescaling",
    .snake = "rescaling",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_rescaling,
    .check = check_rescaling,
    .shape = shape_same,
    .apply = apply_rescaling,
};

const struct lsi_layer_class lsi_layer_dropout = {
    .name = "Dropout",
    .snake = "dropout",
    .min_inputs = 1,
    .max_inputs = 1,
    .read = read_dropout,
    .check = check_dropout,
    .shape = shape_same,
    .apply = apply_dropout,
};

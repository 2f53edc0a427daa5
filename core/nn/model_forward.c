/* SPDX-License-Identifier: Apache-2.0 */
/* Applies a completed model's layers to values, in program order. */
#include "core/nn/model_internal.h"

#include "core/base/alloc.h"
#include "core/ops/ops.h"

#include <string.h>

/* An input as f32: images stay u8 until here. */
static enum ls_status enter(struct ls_context *context, struct ls_value *in, const struct lsi_layer *layer,
                            struct lsi_output *out, struct ls_error *err)
{
    const struct ls_value_info *info = ls_value_info(in);
    const struct ls_shape *want = &layer->options.input.shape;
    char got_text[128], want_text[128];
    bool fits = info->shape.rank == want->rank + 1 && info->distribution == LS_PER_SAMPLE;
    for (int i = 0; fits && i < want->rank; i++)
        fits = info->shape.dim[i + 1] == want->dim[i];
    if (!fits)
        return ls_error_set(err, LS_EINVAL, "input \"%s\" is %s, the model wants samples of %s", layer->name,
                            ls_shape_text(&info->shape, got_text), ls_shape_text(want, want_text));
    out->logits = NULL;
    out->activation = LS_OP_COUNT;
    out->value = in;
    if (info->dtype == LS_F32)
        return LS_OK;
    if (info->dtype != LS_U8)
        return ls_error_set(err, LS_EINVAL, "input \"%s\" is %s, the model takes float32 or uint8", layer->name,
                            ls_dtype_name(info->dtype));
    return ls_cast(context, in, LS_F32, &out->value, err);
}

static enum ls_status apply_node(const struct ls_model *model, int index, struct lsi_output *results,
                                 struct lsi_apply *apply)
{
    struct lsi_output in[LSI_MAX_INPUTS];
    const struct lsi_node *node = &model->nodes[index];
    for (int k = 0; k < node->in_count; k++)
        in[k] = results[node->in[k]];
    apply->node = node;
    apply->layer = &model->layers[node->layer];
    apply->in = in;
    apply->in_count = node->in_count;
    apply->out = (struct lsi_output){.value = NULL, .logits = NULL, .activation = LS_OP_COUNT};
    enum ls_status status = apply->layer->class->apply(apply);
    if (status != LS_OK)
        return ls_error_wrap(apply->err, "layer \"%s\"", apply->layer->name);
    results[index] = apply->out;
    return LS_OK;
}

enum ls_status ls_model_forward(const struct ls_model *model, struct ls_context *context,
                                struct ls_value *const *inputs, struct ls_value *const *variables, bool training,
                                struct ls_model_pass *pass, struct ls_error *err)
{
    if (!model->finished)
        return ls_error_set(err, LS_EINVAL, "model \"%s\" is not finished: call ls_model_finish", model->name);
    struct lsi_output *results = ls_alloc_zeroed((size_t)model->node_count, sizeof(*results));
    if (results == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory to apply the model");
    struct lsi_apply apply = {
        .context = context, .variables = variables, .updates = pass->updates, .training = training, .err = err};
    for (int i = 0; i < model->variable_count; i++)
        pass->updates[i] = NULL;
    enum ls_status status = LS_OK;
    for (int i = 0; status == LS_OK && i < model->input_count; i++)
        status = enter(context, inputs[i], &model->layers[model->nodes[model->inputs[i]].layer],
                       &results[model->inputs[i]], err);
    for (int i = 0; status == LS_OK && i < model->node_count; i++)
        if (model->nodes[model->order[i]].in_count > 0)
            status = apply_node(model, model->order[i], results, &apply);
    for (int i = 0; status == LS_OK && i < model->output_count; i++) {
        pass->outputs[i] = results[model->outputs[i]].value;
        pass->logits[i] = results[model->outputs[i]].logits;
        pass->final_activation[i] = results[model->outputs[i]].activation;
    }
    ls_free(results);
    return status;
}

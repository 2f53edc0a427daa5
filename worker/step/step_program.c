/* SPDX-License-Identifier: Apache-2.0 */
/* Traces a job's step into a program, see step_program.h. */
#include "worker/step/step_program.h"

#include "core/base/alloc.h"

/* Shape of n samples of one sample's shape. */
static struct ls_shape batch_shape(int64_t n, const struct ls_shape *sample)
{
    struct ls_shape shape = {.rank = sample->rank + 1};

    shape.dim[0] = n;
    for (int d = 0; d < sample->rank; d++)
        shape.dim[d + 1] = sample->dim[d];
    return shape;
}

static enum ls_dtype feature_dtype(const struct ls_trainer *trainer)
{
    return trainer->train != NULL ? ls_dataset_feature_dtype(trainer->train) : LS_F32;
}

static enum ls_status enter_inputs(const struct ls_trainer *trainer, struct ls_context *context, enum ls_step_mode mode,
                                   const struct ls_step_binding *binding, struct ls_value *in[3], struct ls_error *err)
{
    const struct ls_shards *shards = ls_context_shards(context);
    int64_t n = shards->offset[shards->count];
    struct ls_shape shape = batch_shape(n, ls_model_input_shape(trainer->model, 0));
    enum ls_status status =
        ls_value_input(context, 0, feature_dtype(trainer), &shape, LS_PER_SAMPLE, 1, binding->features, &in[0], err);

    in[1] = in[2] = NULL;
    if (mode == LS_STEP_PREDICT || status != LS_OK)
        return status;
    shape = batch_shape(n, ls_dataset_label_shape(trainer->train));
    status = ls_value_input(context, 1, ls_dataset_label_dtype(trainer->train), &shape, LS_PER_SAMPLE, 1,
                            binding->labels, &in[1], err);
    if (status != LS_OK)
        return status;
    return ls_value_input(context, 2, LS_F32, &LS_SHAPE_SCALAR, LS_REPLICATED, 0, binding->loss_seed, &in[2], err);
}

enum ls_status ls_step_build(const struct ls_trainer *trainer, struct ls_context *context, enum ls_step_mode mode,
                             const struct ls_step_binding *binding, struct ls_train_step *step, struct ls_error *err)
{
    int count = ls_model_variable_count(trainer->model);
    struct ls_value **variables = ls_alloc_zeroed((size_t)count, sizeof(struct ls_value *));
    struct ls_value *in[3];
    enum ls_status status;

    if (variables == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to build the training step");
    status = enter_inputs(trainer, context, mode, binding, in, err);
    for (int i = 0; i < count && status == LS_OK; i++) {
        const struct ls_variable_info *info = ls_model_variable(trainer->model, i);

        status = ls_value_variable(context, i, info->dtype, &info->shape,
                                   binding->variables != NULL ? binding->variables[i] : NULL, &variables[i], err);
    }
    if (status == LS_OK)
        status = ls_train_build(&trainer->spec, context, in, in[1], in[2], variables, mode == LS_STEP_TRAIN, step, err);
    ls_free(variables);
    return status;
}

static int add_output(struct ls_value **outputs, int *count, struct ls_value *value)
{
    if (value == NULL)
        return -1;
    outputs[*count] = value;
    return (*count)++;
}

static enum ls_status compile(const struct ls_trainer *trainer, struct ls_context *context,
                              struct ls_step_program *made, struct ls_device *device, struct ls_error *err)
{
    int variables = ls_model_variable_count(trainer->model), count = 0;
    struct ls_value **values = ls_alloc_zeroed(4 * (size_t)variables + LS_MAX_METRICS + 2, sizeof(struct ls_value *));
    struct ls_train_step step = {.gradients = values, .updates = values + variables};
    struct ls_value **outputs = values + 2 * variables;
    struct ls_value *prediction = NULL;
    enum ls_status status;

    if (values == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to trace the training step");
    step.outputs = &prediction;
    status = ls_step_build(trainer, context, made->mode, &(struct ls_step_binding){0}, &step, err);
    if (status == LS_OK) {
        bool predict = made->mode == LS_STEP_PREDICT;

        made->loss_output = add_output(outputs, &count, predict ? NULL : step.loss_sum);
        for (int m = 0; m < trainer->spec.metric_count; m++)
            made->metric_output[m] = add_output(outputs, &count, predict ? NULL : step.metric_sum[m]);
        made->prediction_output = add_output(outputs, &count, predict ? prediction : NULL);
        for (int i = 0; i < variables; i++) {
            bool train = made->mode == LS_STEP_TRAIN;

            made->gradient_output[i] = add_output(outputs, &count, train ? step.gradients[i] : NULL);
            made->update_output[i] = add_output(outputs, &count, train ? step.updates[i] : NULL);
        }
        made->output_count = count;
        status = ls_program_compile(context, outputs, count, device, &made->program, err);
    }
    ls_free(values);
    return status;
}

enum ls_status ls_step_program_create(const struct ls_trainer *trainer, struct ls_device *device,
                                      enum ls_step_mode mode, const struct ls_shards *shards,
                                      struct ls_step_program **program, struct ls_error *err)
{
    struct ls_context_options options = {.device = device, .traced = true};
    struct ls_step_program *made = ls_alloc_zeroed(1, sizeof *made);
    struct ls_context *context = NULL;
    size_t variables = (size_t)ls_model_variable_count(trainer->model);
    enum ls_status status;

    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to trace the training step");
    made->samples = shards->offset[shards->count];
    made->shards = shards->count;
    made->mode = mode;
    made->gradient_output = ls_alloc_zeroed(variables, sizeof(int));
    made->update_output = ls_alloc_zeroed(variables, sizeof(int));
    options.shards = *shards;
    options.step.training = mode == LS_STEP_TRAIN;
    if (made->gradient_output == NULL || made->update_output == NULL)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to trace the training step");
    else
        status = ls_context_create(&options, &context, err);
    if (status == LS_OK)
        status = compile(trainer, context, made, device, err);
    ls_context_destroy(context);
    if (status != LS_OK)
        ls_step_program_destroy(made);
    else
        *program = made;
    return status;
}

void ls_step_program_destroy(struct ls_step_program *program)
{
    if (program == NULL)
        return;
    ls_program_destroy(program->program);
    ls_free(program->gradient_output);
    ls_free(program->update_output);
    ls_free(program);
}

enum ls_status ls_step_programs_get(struct ls_step_programs *programs, enum ls_step_mode mode,
                                    const struct ls_shards *shards, struct ls_step_program **program,
                                    struct ls_error *err)
{
    enum ls_status status;

    for (int i = 0; i < programs->count; i++)
        if (programs->made[i]->mode == mode && programs->made[i]->samples == shards->offset[shards->count] &&
            programs->made[i]->shards == shards->count) {
            *program = programs->made[i];
            return LS_OK;
        }
    if (programs->count == (int)(sizeof programs->made / sizeof programs->made[0]))
        return ls_error_set(err, LS_EINTERNAL, "more than %d different numbers of samples a call", programs->count);
    status = ls_step_program_create(programs->trainer, programs->device, mode, shards, &programs->made[programs->count],
                                    err);
    if (status == LS_OK)
        *program = programs->made[programs->count++];
    return status;
}

void ls_step_programs_deinit(struct ls_step_programs *programs)
{
    for (int i = 0; i < programs->count; i++)
        ls_step_program_destroy(programs->made[i]);
    programs->count = 0;
}

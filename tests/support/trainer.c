/* SPDX-License-Identifier: Apache-2.0 */
/* An eager training step in one call over the whole batch. */
#include "trainer.h"

#include "core/ops/context.h"

#include <criterion/criterion.h>
#include <string.h>

#define CHECK(expression)                                       \
    do {                                                        \
        if ((expression) != LS_OK)                              \
            cr_assert_fail("%s: %s", #expression, err.message); \
    } while (0)

void lst_trainer_init(struct lst_trainer *trainer, struct ls_model *model, const char *device, const char *loss,
                      bool from_logits, uint64_t seed)
{
    struct ls_device_options options = LS_DEVICE_OPTIONS_DEFAULT;
    struct ls_error err = LS_ERROR_INIT;
    memset(trainer, 0, sizeof(*trainer));
    trainer->model = model;
    trainer->spec = (struct ls_train_spec){.model = model, .loss = loss, .from_logits = from_logits};
    trainer->seed = seed;
    CHECK(ls_device_open(device, &options, &trainer->device, &err));
    cr_assert_leq(ls_model_variable_count(model), LST_MAX_VARIABLES);
    for (int i = 0; i < ls_model_variable_count(model); i++) {
        const struct ls_variable_info *info = ls_model_variable(model, i);
        CHECK(ls_tensor_create(info->dtype, &info->shape, &trainer->weights[i], &err));
        CHECK(ls_model_initialize(model, seed, i, trainer->weights[i]->view.data, &err));
        for (int s = 0; s < LS_MAX_SLOTS; s++)
            CHECK(ls_tensor_create(info->dtype, &info->shape, &trainer->slots[i][s], &err));
    }
}

void lst_trainer_deinit(struct lst_trainer *trainer)
{
    for (int i = 0; i < LST_MAX_VARIABLES; i++) {
        ls_tensor_release(trainer->weights[i]);
        for (int s = 0; s < LS_MAX_SLOTS; s++)
            ls_tensor_release(trainer->slots[i][s]);
    }
    ls_device_close(trainer->device);
}

static struct ls_tensor *copy_of(const struct ls_value *value)
{
    struct ls_view view = ls_value_view(value);
    struct ls_tensor *tensor = NULL;
    struct ls_error err = LS_ERROR_INIT;
    CHECK(ls_tensor_create(view.dtype, &view.shape, &tensor, &err));
    memcpy(tensor->view.data, view.data, ls_view_bytes(&view));
    return tensor;
}

static double sum_of(const struct ls_value *value)
{
    struct ls_view view = ls_value_view(value);
    return view.dtype == LS_I64 ? (double)*(const int64_t *)view.data : *(const double *)view.data;
}

static struct ls_value *per_sample(struct ls_context *context, int index, const struct ls_view *view)
{
    struct ls_value *value = NULL;
    struct ls_error err = LS_ERROR_INIT;
    CHECK(ls_value_input(context, index, view->dtype, &view->shape, LS_PER_SAMPLE, 1, view->data, &value, &err));
    return value;
}

/* Copies what the pass gave; new state replaces the old one. */
static void take(struct lst_trainer *trainer, const struct ls_train_step *step, int64_t samples, bool training,
                 struct lst_pass *pass)
{
    memset(pass, 0, sizeof(*pass));
    pass->output = copy_of(step->outputs[0]);
    pass->loss = sum_of(step->loss_sum) / (double)samples;
    for (int i = 0; i < trainer->spec.metric_count; i++)
        pass->metric[i] = sum_of(step->metric_sum[i]) / (double)samples;
    for (int i = 0; training && i < ls_model_variable_count(trainer->model); i++) {
        if (step->gradients[i] != NULL)
            pass->gradients[i] = copy_of(step->gradients[i]);
        if (step->updates[i] != NULL) {
            ls_tensor_release(trainer->weights[i]);
            trainer->weights[i] = copy_of(step->updates[i]);
        }
    }
}

void lst_trainer_pass(struct lst_trainer *trainer, const struct ls_view *x, const struct ls_view *y, bool training,
                      struct lst_pass *pass)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_value *variables[LST_MAX_VARIABLES], *gradients[LST_MAX_VARIABLES], *updates[LST_MAX_VARIABLES];
    struct ls_value *inputs[8], *outputs[8], *seed_value, *labels;
    struct ls_train_step step = {.gradients = gradients, .updates = updates, .outputs = outputs};
    int64_t samples = x[0].shape.dim[0];
    float seed = 1.0f / (float)samples;
    int v_total = ls_shards_default(samples), input_count = ls_model_input_count(trainer->model);
    struct ls_context_options options = {
        .device = trainer->device,
        .shards = ls_shards_of(samples, v_total, 0, v_total),
        .step = {.seed = trainer->seed, .step = trainer->step, .training = training},
    };
    struct ls_context *context = NULL;
    CHECK(ls_context_create(&options, &context, &err));
    for (int i = 0; i < input_count; i++)
        inputs[i] = per_sample(context, i, &x[i]);
    labels = per_sample(context, input_count, y);
    CHECK(
        ls_value_input(context, input_count + 1, LS_F32, &LS_SHAPE_SCALAR, LS_REPLICATED, 0, &seed, &seed_value, &err));
    for (int i = 0; i < ls_model_variable_count(trainer->model); i++)
        CHECK(ls_value_variable(context, i, LS_F32, &trainer->weights[i]->view.shape, trainer->weights[i]->view.data,
                                &variables[i], &err));
    CHECK(ls_train_build(&trainer->spec, context, inputs, labels, seed_value, variables, training, &step, &err));
    take(trainer, &step, samples, training, pass);
    ls_context_destroy(context);
}

void lst_pass_deinit(struct lst_pass *pass)
{
    ls_tensor_release(pass->output);
    for (int i = 0; i < LST_MAX_VARIABLES; i++)
        ls_tensor_release(pass->gradients[i]);
}

void lst_trainer_update(struct lst_trainer *trainer, const struct ls_optimizer *optimizer, struct lst_pass *pass)
{
    if (trainer->step == 0)
        for (int c = 0; c < ls_optimizer_counter_count(optimizer); c++)
            trainer->counters[c] = ls_optimizer_counter_initial(optimizer, c);
    ls_optimizer_advance(optimizer, trainer->counters, trainer->counters);
    for (int i = 0; i < ls_model_variable_count(trainer->model); i++) {
        if (pass->gradients[i] == NULL)
            continue;
        struct ls_optimizer_slice slice = {.count = ls_shape_count(&trainer->weights[i]->view.shape),
                                           .w = trainer->weights[i]->view.data,
                                           .w_out = trainer->weights[i]->view.data,
                                           .g = pass->gradients[i]->view.data};
        for (int s = 0; s < ls_optimizer_slot_count(optimizer); s++)
            slice.slots[s] = slice.slots_out[s] = trainer->slots[i][s]->view.data;
        ls_optimizer_apply(optimizer, trainer->device, trainer->counters, &slice);
    }
    trainer->step++;
}

struct ls_view lst_samples(const struct ls_view *view, int64_t begin, int64_t end)
{
    struct ls_view part = *view;
    part.shape.dim[0] = 1;
    part.data = (char *)view->data + (size_t)begin * ls_view_bytes(&part);
    part.shape.dim[0] = end - begin;
    return part;
}

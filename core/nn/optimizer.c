/* SPDX-License-Identifier: Apache-2.0 */
/* The table of optimizers and what they have in common. */
#include "core/nn/optimizer_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <math.h>
#include <string.h>

static const struct lsi_optimizer_class *const classes[] = {&lsi_optimizer_sgd, &lsi_optimizer_adam};
#define CLASS_COUNT (sizeof(classes) / sizeof(classes[0]))

static const struct lsi_optimizer_class *find(const char *name, struct ls_error *err)
{
    const char *names[CLASS_COUNT];
    for (size_t i = 0; i < CLASS_COUNT; i++) {
        names[i] = classes[i]->name;
        if (name != NULL && strcmp(name, names[i]) == 0)
            return classes[i];
    }
    const char *near = name != NULL ? ls_str_nearest(name, names, CLASS_COUNT) : NULL;
    ls_error_set(err, LS_EINVAL, "there is no optimizer \"%s\"%s%s%s; there are sgd and adam", name != NULL ? name : "",
                 near != NULL ? ", did you mean \"" : "", near != NULL ? near : "", near != NULL ? "\"" : "");
    return NULL;
}

enum ls_status ls_optimizer_create(const struct ls_optimizer_options *options, struct ls_optimizer **optimizer,
                                   struct ls_error *err)
{
    const struct lsi_optimizer_class *class = find(options->name, err);
    if (class == NULL)
        return LS_EINVAL;
    if (!(isfinite(options->learning_rate) && options->learning_rate >= 0.0f))
        return ls_error_set(err, LS_EINVAL, "%s: learning_rate is %g, it must be 0 or a finite positive number",
                            class->name, (double)options->learning_rate);
    enum ls_status status = class->check(options, err);
    if (status != LS_OK)
        return status;
    struct ls_optimizer *made = ls_alloc_zeroed(1, sizeof(*made));
    if (made == NULL)
        return ls_error_set(err, LS_ENOMEM, "there is not enough memory for the optimizer");
    made->class = class;
    made->options = *options;
    made->options.name = class->name;
    *optimizer = made;
    return LS_OK;
}

void ls_optimizer_destroy(struct ls_optimizer *optimizer)
{
    ls_free(optimizer);
}

int ls_optimizer_slot_count(const struct ls_optimizer *optimizer)
{
    return optimizer->class->slot_count(&optimizer->options);
}

const char *ls_optimizer_slot_name(const struct ls_optimizer *optimizer, int slot)
{
    return optimizer->class->slot_names[slot];
}

int ls_optimizer_counter_count(const struct ls_optimizer *optimizer)
{
    return optimizer->class->counter_count;
}

const char *ls_optimizer_counter_name(const struct ls_optimizer *optimizer, int counter)
{
    return optimizer->class->counter_names[counter];
}

double ls_optimizer_counter_initial(const struct ls_optimizer *optimizer, int counter)
{
    return optimizer->class->counter_initial[counter];
}

void ls_optimizer_advance(const struct ls_optimizer *optimizer, const double *from, double *to)
{
    if (optimizer->class->advance != NULL)
        optimizer->class->advance(&optimizer->options, from, to);
}

void ls_optimizer_apply(const struct ls_optimizer *optimizer, struct ls_device *device, const double *counters,
                        const struct ls_optimizer_slice *slice)
{
    optimizer->class->apply(&optimizer->options, device, counters, slice);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* All layer classes. A new one is a row in a file of its family and a line here. */
#include "core/nn/layers/layers.h"

#include <string.h>

static const struct lsi_layer_class *const classes[] = {
    &lsi_layer_input,      &lsi_layer_rescaling,  &lsi_layer_dense,
    &lsi_layer_conv2d,     &lsi_layer_max_pool2d, &lsi_layer_global_average_pool2d,
    &lsi_layer_flatten,    &lsi_layer_reshape,    &lsi_layer_dropout,
    &lsi_layer_batch_norm, &lsi_layer_activation, &lsi_layer_relu,
    &lsi_layer_softmax,    &lsi_layer_add,        &lsi_layer_concatenate,
};

const struct lsi_layer_class *const *lsi_layer_classes(int *count)
{
    *count = (int)(sizeof(classes) / sizeof(classes[0]));
    return classes;
}

const struct lsi_layer_class *lsi_layer_class_find(const char *name)
{
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        if (strcmp(classes[i]->name, name) == 0)
            return classes[i];
    return NULL;
}

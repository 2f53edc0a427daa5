/* SPDX-License-Identifier: Apache-2.0 */
/* What layers with a kernel and a bias have in common: how Keras writes them, and their two variables. */
#include "core/nn/layers/layers.h"

void lsi_kernel_read(struct lsi_config *config, const struct lsi_kernel_options *options)
{
    static const char *const neutral[] = {"kernel_regularizer", "bias_regularizer", "activity_regularizer",
                                          "kernel_constraint",  "bias_constraint",  "quantization_config",
                                          "lora_rank"};

    *options->activation = lsi_config_activation(config, "activation");
    *options->no_bias = !lsi_config_bool(config, "use_bias", true);
    lsi_config_initializer(config, "kernel_initializer", options->kernel_initializer);
    lsi_config_initializer(config, "bias_initializer", options->bias_initializer);
    for (size_t i = 0; i < sizeof neutral / sizeof *neutral; i++)
        lsi_config_neutral(config, neutral[i]);
}

enum ls_status lsi_kernel_add(struct ls_model *model, struct lsi_layer *layer, struct ls_shape shape,
                              const struct lsi_kernel_options *options, struct ls_error *err)
{
    struct lsi_variable_plan kernel = {.slot = LSI_KERNEL,
                                       .name = "kernel",
                                       .role = LS_ROLE_TRAINABLE,
                                       .shape = shape,
                                       .initializer =
                                           lsi_initializer_or(*options->kernel_initializer, LS_GLOROT_UNIFORM)};
    struct lsi_variable_plan bias = {.slot = LSI_BIAS,
                                     .name = "bias",
                                     .role = LS_ROLE_TRAINABLE,
                                     .shape = LS_SHAPE(shape.dim[shape.rank - 1]),
                                     .initializer = lsi_initializer_or(*options->bias_initializer, LS_ZEROS)};
    enum ls_status status = lsi_add_variable(model, layer, &kernel, err);

    return status == LS_OK && !*options->no_bias ? lsi_add_variable(model, layer, &bias, err) : status;
}

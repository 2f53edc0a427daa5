/* SPDX-License-Identifier: Apache-2.0 */
/* The layer classes: one row each, collected in table.c; and what their files share. */
#ifndef LOCKSTEP_CORE_NN_LAYERS_LAYERS_H
#define LOCKSTEP_CORE_NN_LAYERS_LAYERS_H

#include "core/nn/model_internal.h"

extern const struct lsi_layer_class lsi_layer_input, lsi_layer_flatten, lsi_layer_reshape;   /* shape.c */
extern const struct lsi_layer_class lsi_layer_rescaling, lsi_layer_dropout;                  /* elements.c */
extern const struct lsi_layer_class lsi_layer_dense;                                         /* dense.c */
extern const struct lsi_layer_class lsi_layer_conv2d;                                        /* conv2d.c */
extern const struct lsi_layer_class lsi_layer_max_pool2d, lsi_layer_global_average_pool2d;   /* pooling.c */
extern const struct lsi_layer_class lsi_layer_batch_norm;                                    /* batch_norm.c */
extern const struct lsi_layer_class lsi_layer_activation, lsi_layer_relu, lsi_layer_softmax; /* activation.c */
extern const struct lsi_layer_class lsi_layer_add, lsi_layer_concatenate;                    /* merge.c */

/* ---- activation.c ---- */
enum ls_status lsi_activation_check(enum ls_layer_activation activation, struct ls_error *err);

/* ---- kernel.c: layers of a kernel and a bias ---- */
enum { LSI_KERNEL, LSI_BIAS }; /* slots of their variables */
/* Those of a layer's options that all of them have. */
struct lsi_kernel_options {
    enum ls_layer_activation *activation;
    bool *no_bias;
    struct ls_initializer *kernel_initializer, *bias_initializer;
};
#define LSI_KERNEL_OPTIONS(o)                                                                                     \
    {                                                                                                             \
        .activation = &(o)->activation, .no_bias = &(o)->no_bias, .kernel_initializer = &(o)->kernel_initializer, \
        .bias_initializer = &(o)->bias_initializer                                                                \
    }
void lsi_kernel_read(struct lsi_config *config, const struct lsi_kernel_options *options);
/* shape: of the kernel, outputs last. */
enum ls_status lsi_kernel_add(struct ls_model *model, struct lsi_layer *layer, struct ls_shape shape,
                              const struct lsi_kernel_options *options, struct ls_error *err);

/* ---- window.c: sizes of convolution and pooling, "same" as TensorFlow places it ---- */
struct lsi_window {
    int64_t out;
    int pad_begin, pad_end;
};
enum ls_status lsi_window_of(int64_t size, int kernel, int stride, int dilation, enum ls_padding padding,
                             struct lsi_window *window, struct ls_error *err);
/* A layer that was called before has variables for one number of channels (the last axis). */
enum ls_status lsi_same_channels(const struct lsi_layer *layer, const struct ls_shape *in, struct ls_error *err);
/* Samples must be (height, width, channels). */
enum ls_status lsi_image_shape(const struct ls_shape *in, struct ls_error *err);

/* The shape of the call's value whose samples are `sample`: (rows, sample...). */
struct ls_shape lsi_batched(const struct lsi_apply *apply, const struct ls_shape *sample);

#endif

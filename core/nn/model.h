/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models: layers over values, variables in model order. Built from Keras 3 JSON or from C (model_build.h);
 * the same forward function serves eager and traced contexts.
 */
#ifndef LOCKSTEP_CORE_NN_MODEL_H
#define LOCKSTEP_CORE_NN_MODEL_H

#include "core/ops/context.h"

struct ls_model;

/* Numbers are stored in checkpoints. */
enum ls_role {
    LS_ROLE_TRAINABLE = 1,
    LS_ROLE_STATE = 2,
    LS_ROLE_SLOT = 3,
    LS_ROLE_COUNTER = 4,
    LS_ROLE_COMPRESSION = 5 /* what the compression of gradients keeps */
};

struct ls_variable_info {
    const char *path;  /* "dense_1/kernel"; unique; borrowed from the model */
    enum ls_role role; /* TRAINABLE or STATE (moving statistics) */
    enum ls_dtype dtype;
    struct ls_shape shape;
};

/* Reads Keras 3 model JSON (Sequential or Functional). LS_EINVAL / LS_EUNSUPPORTED name the layer and the option.
 * text is copied. Returned; ends with ls_model_destroy. */
enum ls_status ls_model_from_keras(const char *text, size_t length, struct ls_model **model, struct ls_error *err);
void ls_model_destroy(struct ls_model *model);

int ls_model_variable_count(const struct ls_model *model);
const struct ls_variable_info *ls_model_variable(const struct ls_model *model, int index);
/* Initial value by the layer's initialiser: Philox by the variable's ordinal, no libm. data: shape's elements. */
enum ls_status ls_model_initialize(const struct ls_model *model, uint64_t seed, int index, void *data,
                                   struct ls_error *err);

int ls_model_input_count(const struct ls_model *model);
int ls_model_output_count(const struct ls_model *model);
/* Shape of one sample (without the batch axis). */
const struct ls_shape *ls_model_input_shape(const struct ls_model *model, int input);
enum ls_dtype ls_model_input_dtype(const struct ls_model *model, int input);
const struct ls_shape *ls_model_output_shape(const struct ls_model *model, int output);

/* What a forward pass gives. Arrays are the caller's, sized by the counts above (updates: variable_count). */
struct ls_model_pass {
    struct ls_value **outputs;    /* per model output */
    struct ls_value **logits;     /* per output: the value behind a final softmax or sigmoid (Keras' rule), else NULL */
    enum ls_op *final_activation; /* per output: LS_OP_SOFTMAX, LS_OP_SIGMOID or LS_OP_COUNT */
    struct ls_value **updates;    /* per variable: new value of a STATE variable (training), else NULL */
};

/* Applies the layers. inputs[i]: (n, ...) per-sample f32 (u8 is cast); variables[i]: value of variable i. */
enum ls_status ls_model_forward(const struct ls_model *model, struct ls_context *context,
                                struct ls_value *const *inputs, struct ls_value *const *variables, bool training,
                                struct ls_model_pass *pass, struct ls_error *err);

/* One canonical JSON text of all that results depend on (layers, options, calls, variables, initialisers): equal texts
 * are equal models, read from Keras JSON or built from C. LS_EINVAL: not finished. Returned text: ls_free. */
enum ls_status ls_model_describe(const struct ls_model *model, char **json, struct ls_error *err);

/* One line a layer (name, type, output shape, parameters), as model.summary() prints. Returned text: ls_free. */
char *ls_model_summary(const struct ls_model *model);

#endif

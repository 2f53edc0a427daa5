/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of Keras JSON share. */
#ifndef LOCKSTEP_CORE_NN_KERAS_INTERNAL_H
#define LOCKSTEP_CORE_NN_KERAS_INTERNAL_H

#include "core/nn/model_internal.h"

/* Bytes of a name: paths of variables are made of them, and messages quote them. */
#define LSI_MAX_NAME 200

/* Reads one entry of "layers" and adds the layer. err is not NULL. */
enum ls_status lsi_keras_layer(struct ls_model *model, const json_t *entry, int *index, struct ls_error *err);
/* Reads the config of a functional model: layers, calls, inputs, outputs. err is not NULL. */
enum ls_status lsi_keras_functional(struct ls_model *model, const json_t *config, struct ls_error *err);

#endif

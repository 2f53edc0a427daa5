/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside of models: layers, their calls (nodes), the table of layer classes, and the reader of one layer's JSON
 * config. A layer class is one row: read its config, check it, give the output's shape, add variables, apply ops.
 */
#ifndef LOCKSTEP_CORE_NN_MODEL_INTERNAL_H
#define LOCKSTEP_CORE_NN_MODEL_INTERNAL_H

#include "core/nn/initializer.h"
#include "core/nn/model_build.h"

#include <jansson.h>

#define LSI_LAYER_VARIABLES 4
#define LSI_MAX_LAYERS 4096
#define LSI_MAX_NODES 16384
#define LSI_MAX_INPUTS 64 /* of one call */

/* Random streams of a model (docs/numerics.md): variable i draws from stream i, dropout layer j from this + j. */
#define LSI_DROPOUT_STREAM (UINT64_C(1) << 32)

struct lsi_layer;
struct lsi_apply;

struct lsi_config; /* below */

struct lsi_layer_class {
    const char *name;  /* Keras' class_name */
    const char *snake; /* prefix of made names */
    int min_inputs, max_inputs;
    /* Fills layer->options from JSON; errors stay in config. */
    void (*read)(struct lsi_config *config, struct lsi_layer *layer);
    /* Checks the options whatever they came from; NULL: nothing to check. */
    enum ls_status (*check)(const struct lsi_layer *layer, struct ls_error *err);
    /* Shape of one sample of the output. The message need not name the layer. */
    enum ls_status (*shape)(const struct lsi_layer *layer, const struct ls_shape *in, int in_count,
                            struct ls_shape *out, struct ls_error *err);
    /* Adds the layer's variables for layer->built (lsi_add_variable); NULL: none. */
    enum ls_status (*variables)(struct ls_model *model, struct lsi_layer *layer, struct ls_error *err);
    /* Sets apply->out. NULL for the input layer. */
    enum ls_status (*apply)(struct lsi_apply *apply);
};

struct lsi_input_options {
    struct ls_shape shape;
    enum ls_dtype dtype;
};
struct lsi_dropout_options {
    double rate;
};

struct lsi_layer {
    const struct lsi_layer_class *class;
    char *name;
    bool trainable;
    int calls;
    int node_first;                    /* -1, or the first of its nodes in model->nodes */
    bool is_built;                     /* built holds the input shape of its first call in program order */
    struct ls_shape built;             /* what its variables were made for */
    int variable[LSI_LAYER_VARIABLES]; /* model's indices, in the class's order; -1: absent */
    uint64_t stream;                   /* Dropout: of its random numbers */
    int axis;                          /* BatchNormalization: as Keras counts it (the batch is 0); 0: the last */
    union {
        struct lsi_input_options input;
        struct ls_dense_options dense;
        struct ls_conv2d_options conv2d;
        struct ls_max_pool2d_options max_pool2d;
        struct ls_global_average_options global_average;
        struct ls_batch_norm_options batch_norm;
        struct ls_rescaling_options rescaling;
        struct lsi_dropout_options dropout;
        enum ls_layer_activation activation;
        struct ls_shape reshape; /* may hold one -1 */
        int axis;                /* Concatenate, of one sample; or negative */
    } options;
};

/* One call of a layer. */
struct lsi_node {
    int layer;
    int call; /* index among the layer's calls */
    int in_count;
    int *in; /* nodes */
    struct ls_shape shape;
};

struct lsi_variable {
    struct ls_variable_info info;
    char *path;
    struct ls_initializer initializer;
};

struct ls_model {
    char *name;
    struct lsi_layer *layers; /* in model order */
    int layer_count, layer_capacity;
    struct lsi_node *nodes; /* in the order they were made */
    int node_count, node_capacity;
    int *order; /* nodes in program order, once finished */
    struct lsi_variable *variables;
    int variable_count, variable_capacity;
    int *inputs; /* nodes */
    int input_count;
    int *outputs;
    int output_count;
    bool finished;
    struct ls_error error; /* the first mistake of building from C */
};

/* What a call gave. */
struct lsi_output {
    struct ls_value *value;
    struct ls_value *logits; /* behind a final softmax or sigmoid, else NULL */
    enum ls_op activation;   /* LS_OP_SOFTMAX, LS_OP_SIGMOID or LS_OP_COUNT */
};

struct lsi_apply {
    struct ls_context *context;
    const struct lsi_layer *layer;
    const struct lsi_node *node;
    const struct lsi_output *in; /* in_count of them */
    int in_count;
    struct ls_value *const *variables; /* of the model */
    struct ls_value **updates;         /* of the model */
    bool training;
    struct lsi_output out;
    struct ls_error *err;
};

/* ---- model.c ---- */
/* Class of a name, NULL where there is none. */
const struct lsi_layer_class *lsi_layer_class_find(const char *name);
/* All classes; *count of them. */
const struct lsi_layer_class *const *lsi_layer_classes(int *count);
/* A new layer with copied name (NULL: made from the class), options zero. NULL and err where that fails. The pointer is
 * valid until the next layer is added. */
struct lsi_layer *lsi_add_layer(struct ls_model *model, const struct lsi_layer_class *class, const char *name,
                                struct ls_error *err);
int lsi_find_layer(const struct ls_model *model, const char *name);
/* Adds a call; in may be NULL where in_count is 0. *node is its index. */
enum ls_status lsi_add_node(struct ls_model *model, int layer, const int *in, int in_count, int *node,
                            struct ls_error *err);
/* A variable that a layer asks for. */
struct lsi_variable_plan {
    int slot;         /* the class's number of it */
    const char *name; /* "kernel" */
    enum ls_role role;
    struct ls_shape shape;
    struct ls_initializer initializer;
};
/* For a class's variables hook. A frozen layer's variables become state. */
enum ls_status lsi_add_variable(struct ls_model *model, struct lsi_layer *layer, const struct lsi_variable_plan *plan,
                                struct ls_error *err);
/* Program order, shapes, variables, dropout streams. inputs and outputs were set. */
enum ls_status lsi_model_complete(struct ls_model *model, struct ls_error *err);
/* Sets the model's list of inputs or outputs (nodes are copied). */
enum ls_status lsi_set_nodes(int **list, int *list_count, const int *nodes, int count, struct ls_error *err);

/* ---- layers/activation.c ---- */
const char *lsi_activation_name(enum ls_layer_activation activation);
/* False where Lockstep has no activation of that name. */
bool lsi_activation_from_name(const char *name, enum ls_layer_activation *activation);
/* *out = activation(x), with what a loss must know of it. */
enum ls_status lsi_activation_apply(struct ls_context *context, enum ls_layer_activation activation, struct ls_value *x,
                                    struct lsi_output *out, struct ls_error *err);

/* ---- keras_config.c: reader of one layer's config. The first error stays; later reads give defaults. ---- */
#define LSI_CONFIG_KEYS 48
struct lsi_config {
    const char *layer;
    const json_t *object;
    const char *known[LSI_CONFIG_KEYS]; /* keys that were asked for */
    int known_count;
    struct ls_error error;
};

void lsi_config_open(struct lsi_config *config, const char *layer, const json_t *object);
/* The value of a key, which thereby is known; NULL where it is absent. null counts as absent. */
const json_t *lsi_config_get(struct lsi_config *config, const char *key);
/* The key says nothing about results. */
void lsi_config_ignore(struct lsi_config *config, const char *key);
/* The key must be absent, null or false: anything else would change the result. */
void lsi_config_neutral(struct lsi_config *config, const char *key);
int64_t lsi_config_int(struct lsi_config *config, const char *key, int64_t fallback, int64_t low, int64_t high);
double lsi_config_number(struct lsi_config *config, const char *key, double fallback);
bool lsi_config_bool(struct lsi_config *config, const char *key, bool fallback);
/* A string of the object, or fallback. Borrowed. */
const char *lsi_config_string(struct lsi_config *config, const char *key, const char *fallback);
/* One integer or two, >= 1; absent: pair keeps what it held. */
void lsi_config_pair(struct lsi_config *config, const char *key, int pair[2]);
enum ls_padding lsi_config_padding(struct lsi_config *config);
void lsi_config_channels_last(struct lsi_config *config);
enum ls_layer_activation lsi_config_activation(struct lsi_config *config, const char *key);
void lsi_config_initializer(struct lsi_config *config, const char *key, struct ls_initializer *initializer);
/* Sets the error unless there is one: "layer "x": <message>". */
void lsi_config_fail(struct lsi_config *config, enum ls_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Reports the first error, else a key that nobody knew. */
enum ls_status lsi_config_close(struct lsi_config *config, struct ls_error *err);
/* "float32" or a DTypePolicy of that name; else an error that names what was found. */
enum ls_status lsi_config_policy(const json_t *dtype, struct ls_error *err);

#endif

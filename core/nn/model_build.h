/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models from C. A symbol is the result of one call of a layer; layers are made and called in one go, and
 * ls_layer_again calls the layer of a symbol once more (shared weights). Names, initial values and results are those of
 * the same model read from Keras JSON.
 *
 *     struct ls_model *m = ls_model_create("digits");
 *     struct ls_symbol x = ls_input(m, LS_F32, LS_SHAPE(28, 28), NULL);
 *     x = ls_flatten_layer(m, x, NULL);
 *     x = ls_dense_layer(m, x, (struct ls_dense_options){.units = 10, .activation = LS_SOFTMAX});
 *     if (ls_model_finish(m, &x, 1, &err) != LS_OK) ...
 *
 * The first mistake is kept in the model and reported by ls_model_finish; calls after it do nothing, so nobody has to
 * check each. In every options struct 0 (NULL, false) means the default, which is Keras'. Names are copied; NULL gives
 * "dense", "dense_1" ... as Keras numbers them in a fresh session.
 */
#ifndef LOCKSTEP_CORE_NN_MODEL_BUILD_H
#define LOCKSTEP_CORE_NN_MODEL_BUILD_H

#include "core/nn/model.h"

/* Result of a call; belongs to the model it was made in. index < 0: the model holds an error. */
struct ls_symbol {
    int index;
};

enum ls_layer_activation {
    LS_LINEAR = 0,
    LS_RELU,
    LS_SOFTMAX, /* along the last axis */
    LS_SIGMOID,
    LS_TANH,
    LS_EXPONENTIAL,
    LS_SILU, /* x sigmoid(x), also called swish */
    LS_LAYER_ACTIVATION_COUNT
};

enum ls_padding { LS_VALID = 0, LS_SAME };

/* Initial values (formulas in docs/numerics.md). */
enum ls_initializer_kind {
    LS_INIT_DEFAULT = 0,      /* what the layer has by default */
    LS_INIT_CONSTANT,         /* a */
    LS_INIT_UNIFORM,          /* a <= value < b */
    LS_INIT_NORMAL,           /* mean a, standard deviation b */
    LS_INIT_TRUNCATED_NORMAL, /* the same, redrawn beyond 2 standard deviations */
    LS_INIT_VARIANCE_SCALING  /* variance a / fan */
};
enum ls_fan { LS_FAN_IN = 0, LS_FAN_OUT, LS_FAN_AVG };
enum ls_scaled_distribution { LS_SCALED_TRUNCATED_NORMAL = 0, LS_SCALED_UNTRUNCATED_NORMAL, LS_SCALED_UNIFORM };
struct ls_initializer {
    enum ls_initializer_kind kind;
    double a, b;
    enum ls_fan fan;                          /* variance scaling only */
    enum ls_scaled_distribution distribution; /* variance scaling only */
};
#define LS_INIT_OF(...) ((struct ls_initializer){__VA_ARGS__})
#define LS_ZEROS LS_INIT_OF(.kind = LS_INIT_CONSTANT, .a = 0.0)
#define LS_ONES LS_INIT_OF(.kind = LS_INIT_CONSTANT, .a = 1.0)
#define LS_SCALED_INIT(scale, mode, law) \
    LS_INIT_OF(.kind = LS_INIT_VARIANCE_SCALING, .a = (scale), .fan = (mode), .distribution = (law))
#define LS_GLOROT_UNIFORM LS_SCALED_INIT(1.0, LS_FAN_AVG, LS_SCALED_UNIFORM)
#define LS_GLOROT_NORMAL LS_SCALED_INIT(1.0, LS_FAN_AVG, LS_SCALED_TRUNCATED_NORMAL)
#define LS_HE_UNIFORM LS_SCALED_INIT(2.0, LS_FAN_IN, LS_SCALED_UNIFORM)
#define LS_HE_NORMAL LS_SCALED_INIT(2.0, LS_FAN_IN, LS_SCALED_TRUNCATED_NORMAL)
#define LS_LECUN_UNIFORM LS_SCALED_INIT(1.0, LS_FAN_IN, LS_SCALED_UNIFORM)
#define LS_LECUN_NORMAL LS_SCALED_INIT(1.0, LS_FAN_IN, LS_SCALED_TRUNCATED_NORMAL)

/* An empty model; NULL when memory is short. Ends with ls_model_destroy. */
struct ls_model *ls_model_create(const char *name);
/* Names the outputs, orders the calls, makes the variables. Afterwards the model is fixed and works as in model.h.
 * Returns the first mistake of building, in one sentence. */
enum ls_status ls_model_finish(struct ls_model *model, const struct ls_symbol *outputs, int output_count,
                               struct ls_error *err);

/* shape: one sample, without the batch axis. dtype: LS_F32 or LS_U8 (cast to f32 on entry). */
struct ls_symbol ls_input(struct ls_model *model, enum ls_dtype dtype, struct ls_shape shape, const char *name);
/* Calls the layer that made `of` once more, on other inputs, with the same variables. */
struct ls_symbol ls_layer_again(struct ls_model *model, struct ls_symbol of, const struct ls_symbol *in, int in_count);

struct ls_dense_options {
    const char *name;
    int64_t units; /* >= 1 */
    enum ls_layer_activation activation;
    bool no_bias;
    bool frozen;                              /* variables get no gradient */
    struct ls_initializer kernel_initializer; /* default LS_GLOROT_UNIFORM */
    struct ls_initializer bias_initializer;   /* default LS_ZEROS */
};
#define LS_DENSE_OPTIONS_DEFAULT  \
    {                             \
        .name = NULL, .units = 1, \
    }
struct ls_symbol ls_dense_layer(struct ls_model *model, struct ls_symbol in, struct ls_dense_options options);

struct ls_conv2d_options {
    const char *name;
    int64_t filters; /* >= 1 */
    int kernel[2];   /* height, width; >= 1 */
    int stride[2];   /* default 1 */
    int dilation[2]; /* default 1; a stride or a dilation is 1 */
    enum ls_padding padding;
    enum ls_layer_activation activation;
    bool no_bias;
    bool frozen;
    struct ls_initializer kernel_initializer; /* default LS_GLOROT_UNIFORM */
    struct ls_initializer bias_initializer;   /* default LS_ZEROS */
};
#define LS_CONV2D_OPTIONS_DEFAULT                      \
    {                                                  \
        .name = NULL, .filters = 1, .kernel = { 3, 3 } \
    }
struct ls_symbol ls_conv2d_layer(struct ls_model *model, struct ls_symbol in, struct ls_conv2d_options options);

struct ls_max_pool2d_options {
    const char *name;
    int size[2];   /* default 2 */
    int stride[2]; /* default: size */
    enum ls_padding padding;
};
#define LS_MAX_POOL2D_OPTIONS_DEFAULT  \
    {                                  \
        .name = NULL, .size = { 2, 2 } \
    }
struct ls_symbol ls_max_pool2d_layer(struct ls_model *model, struct ls_symbol in, struct ls_max_pool2d_options options);

struct ls_global_average_options {
    const char *name;
    bool keep_dimensions; /* (1, 1, c) instead of (c) */
};
#define LS_GLOBAL_AVERAGE_OPTIONS_DEFAULT      \
    {                                          \
        .name = NULL, .keep_dimensions = false \
    }
struct ls_symbol ls_global_average_pool2d_layer(struct ls_model *model, struct ls_symbol in,
                                                struct ls_global_average_options options);

struct ls_batch_norm_options {
    const char *name;
    double momentum;                                           /* weight of the old statistics, default 0.99 */
    double epsilon;                                            /* default 1e-3 */
    bool no_center;                                            /* without beta */
    bool no_scale;                                             /* without gamma */
    bool frozen;                                               /* moving statistics are used and kept in training too */
    struct ls_initializer gamma_initializer, beta_initializer; /* defaults LS_ONES, LS_ZEROS */
    struct ls_initializer mean_initializer, variance_initializer; /* defaults LS_ZEROS, LS_ONES */
};
#define LS_BATCH_NORM_OPTIONS_DEFAULT                   \
    {                                                   \
        .name = NULL, .momentum = 0.99, .epsilon = 1e-3 \
    }
struct ls_symbol ls_batch_norm_layer(struct ls_model *model, struct ls_symbol in, struct ls_batch_norm_options options);

struct ls_rescaling_options {
    const char *name;
    double scale; /* default 1 */
    double offset;
};
#define LS_RESCALING_OPTIONS_DEFAULT              \
    {                                             \
        .name = NULL, .scale = 1.0, .offset = 0.0 \
    }
struct ls_symbol ls_rescaling_layer(struct ls_model *model, struct ls_symbol in, struct ls_rescaling_options options);

/* rate: share of elements set to 0 in training, [0, 1). */
struct ls_symbol ls_dropout_layer(struct ls_model *model, struct ls_symbol in, double rate, const char *name);
struct ls_symbol ls_flatten_layer(struct ls_model *model, struct ls_symbol in, const char *name);
/* shape: of one sample; at most one dimension is -1 and follows from the others. */
struct ls_symbol ls_reshape_layer(struct ls_model *model, struct ls_symbol in, struct ls_shape shape, const char *name);
struct ls_symbol ls_activation_layer(struct ls_model *model, struct ls_symbol in, enum ls_layer_activation activation,
                                     const char *name);
/* Two or more symbols of one shape. */
struct ls_symbol ls_add_layer(struct ls_model *model, const struct ls_symbol *in, int in_count, const char *name);
/* axis: of one sample (0 is the first after the batch axis), or negative from the end. */
struct ls_symbol ls_concatenate_layer(struct ls_model *model, const struct ls_symbol *in, int in_count, int axis,
                                      const char *name);

#endif

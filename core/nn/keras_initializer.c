/* SPDX-License-Identifier: Apache-2.0 */
/* Initialisers by Keras' names and configs. A seed in a config is ignored: the job's seed is the only one. */
#include "core/nn/model_internal.h"

#include <stddef.h>
#include <string.h>

#define SCALED(scale, mode, law)                                                             \
    {                                                                                        \
        .kind = LS_INIT_VARIANCE_SCALING, .a = (scale), .fan = (mode), .distribution = (law) \
    }

/* Class name, short name, value with Keras' defaults, names of the config's numbers for a and b. */
static const struct named {
    const char *class, *name;
    struct ls_initializer initializer;
    const char *a, *b;
} table[] = {
    {"Zeros", "zeros", {.kind = LS_INIT_CONSTANT}, NULL, NULL},
    {"Ones", "ones", {.kind = LS_INIT_CONSTANT, .a = 1.0}, NULL, NULL},
    {"Constant", "constant", {.kind = LS_INIT_CONSTANT}, "value", NULL},
    {"GlorotUniform", "glorot_uniform", SCALED(1.0, LS_FAN_AVG, LS_SCALED_UNIFORM), NULL, NULL},
    {"GlorotNormal", "glorot_normal", SCALED(1.0, LS_FAN_AVG, LS_SCALED_TRUNCATED_NORMAL), NULL, NULL},
    {"HeUniform", "he_uniform", SCALED(2.0, LS_FAN_IN, LS_SCALED_UNIFORM), NULL, NULL},
    {"HeNormal", "he_normal", SCALED(2.0, LS_FAN_IN, LS_SCALED_TRUNCATED_NORMAL), NULL, NULL},
    {"LecunUniform", "lecun_uniform", SCALED(1.0, LS_FAN_IN, LS_SCALED_UNIFORM), NULL, NULL},
    {"LecunNormal", "lecun_normal", SCALED(1.0, LS_FAN_IN, LS_SCALED_TRUNCATED_NORMAL), NULL, NULL},
    {"VarianceScaling", "variance_scaling", SCALED(1.0, LS_FAN_IN, LS_SCALED_TRUNCATED_NORMAL), "scale", NULL},
    {"RandomUniform", "random_uniform", {.kind = LS_INIT_UNIFORM, .a = -0.05, .b = 0.05}, "minval", "maxval"},
    {"RandomNormal", "random_normal", {.kind = LS_INIT_NORMAL, .b = 0.05}, "mean", "stddev"},
    {"TruncatedNormal", "truncated_normal", {.kind = LS_INIT_TRUNCATED_NORMAL, .b = 0.05}, "mean", "stddev"},
};

static const struct named *find(const char *name)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(table[i].class, name) == 0 || strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

/* Index of a string among count names; -1 where it is none. */
static int choice(const char *text, const char *const *names, int count)
{
    for (int i = 0; i < count; i++)
        if (strcmp(text, names[i]) == 0)
            return i;
    return -1;
}

static void read_scaling(struct lsi_config *config, struct ls_initializer *made)
{
    static const char *const fans[] = {"fan_in", "fan_out", "fan_avg"};
    static const char *const laws[] = {"truncated_normal", "untruncated_normal", "uniform"};
    const char *mode = lsi_config_string(config, "mode", fans[made->fan]);
    const char *law = lsi_config_string(config, "distribution", laws[made->distribution]);
    int fan = choice(mode, fans, 3), distribution = choice(law, laws, 3);
    if (fan < 0)
        lsi_config_fail(config, LS_EINVAL, "mode is \"%s\", it must be fan_in, fan_out or fan_avg", mode);
    else
        made->fan = (enum ls_fan)fan;
    if (distribution < 0)
        lsi_config_fail(config, LS_EINVAL,
                        "distribution is \"%s\", it must be truncated_normal, untruncated_normal or uniform", law);
    else
        made->distribution = (enum ls_scaled_distribution)distribution;
}

void lsi_config_initializer(struct lsi_config *config, const char *key, struct ls_initializer *initializer)
{
    const json_t *value = lsi_config_get(config, key);
    if (value == NULL)
        return;
    const char *name =
        json_is_string(value) ? json_string_value(value) : json_string_value(json_object_get(value, "class_name"));
    const struct named *row = name != NULL ? find(name) : NULL;
    if (row == NULL) {
        lsi_config_fail(config, LS_EUNSUPPORTED, "%s: the initialiser \"%s\" is not supported", key,
                        name != NULL ? name : "?");
        return;
    }
    struct ls_initializer made = row->initializer;
    const json_t *options = json_object_get(value, "config");
    if (json_is_object(options)) {
        struct lsi_config inner;
        struct ls_error err = LS_ERROR_INIT;
        lsi_config_open(&inner, config->layer, options);
        lsi_config_ignore(&inner, "seed");
        lsi_config_ignore(&inner, "dtype");
        lsi_config_ignore(&inner, "name");
        lsi_config_neutral(&inner, "input_axes");
        lsi_config_neutral(&inner, "output_axes");
        if (row->a != NULL)
            made.a = lsi_config_number(&inner, row->a, made.a);
        if (row->b != NULL)
            made.b = lsi_config_number(&inner, row->b, made.b);
        if (row->a != NULL && made.kind == LS_INIT_VARIANCE_SCALING)
            read_scaling(&inner, &made);
        else if (made.kind == LS_INIT_VARIANCE_SCALING) {
            /* Some versions write what the named forms fix anyway. */
            lsi_config_ignore(&inner, "scale");
            lsi_config_ignore(&inner, "mode");
            lsi_config_ignore(&inner, "distribution");
        }
        if (lsi_config_close(&inner, &err) != LS_OK)
            config->error = config->error.status == LS_OK ? err : config->error;
    }
    *initializer = made;
}

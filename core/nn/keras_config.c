/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reader of one layer's config object. Every key that is asked for becomes known; what is left over at the end must be
 * null or false (newer versions of Keras add such keys), else it is an error that names layer and key: an option that
 * nobody read could change the result.
 */
#include "core/nn/model_internal.h"

#include "core/base/str.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void lsi_config_open(struct lsi_config *config, const char *layer, const json_t *object)
{
    memset(config, 0, sizeof(*config));
    config->layer = layer;
    config->object = object;
}

void lsi_config_fail(struct lsi_config *config, enum ls_status status, const char *format, ...)
{
    char text[512];
    va_list args;
    if (config->error.status != LS_OK)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ls_error_set(&config->error, status, "layer \"%s\": %s", config->layer, text);
}

static void know(struct lsi_config *config, const char *key)
{
    if (config->known_count < LSI_CONFIG_KEYS)
        config->known[config->known_count++] = key;
}

const json_t *lsi_config_get(struct lsi_config *config, const char *key)
{
    know(config, key);
    const json_t *value = json_object_get(config->object, key);
    return value == NULL || json_is_null(value) ? NULL : value;
}

void lsi_config_ignore(struct lsi_config *config, const char *key)
{
    know(config, key);
}

void lsi_config_neutral(struct lsi_config *config, const char *key)
{
    const json_t *value = lsi_config_get(config, key);
    if (value != NULL && !json_is_false(value))
        lsi_config_fail(config, LS_EUNSUPPORTED, "the option %s is not supported; it must be null", key);
}

int64_t lsi_config_int(struct lsi_config *config, const char *key, int64_t fallback, int64_t low, int64_t high)
{
    const json_t *value = lsi_config_get(config, key);
    if (value == NULL)
        return fallback;
    if (!json_is_integer(value)) {
        lsi_config_fail(config, LS_EINVAL, "%s must be an integer", key);
        return fallback;
    }
    int64_t number = json_integer_value(value);
    if (number < low || number > high) {
        lsi_config_fail(config, LS_EINVAL, "%s is %lld, it must be from %lld to %lld", key, (long long)number,
                        (long long)low, (long long)high);
        return fallback;
    }
    return number;
}

double lsi_config_number(struct lsi_config *config, const char *key, double fallback)
{
    const json_t *value = lsi_config_get(config, key);
    if (value == NULL)
        return fallback;
    if (!json_is_number(value) || !isfinite(json_number_value(value))) {
        lsi_config_fail(config, LS_EINVAL, "%s must be one finite number", key);
        return fallback;
    }
    return json_number_value(value);
}

bool lsi_config_bool(struct lsi_config *config, const char *key, bool fallback)
{
    const json_t *value = lsi_config_get(config, key);
    if (value == NULL)
        return fallback;
    if (!json_is_boolean(value)) {
        lsi_config_fail(config, LS_EINVAL, "%s must be true or false", key);
        return fallback;
    }
    return json_is_true(value);
}

const char *lsi_config_string(struct lsi_config *config, const char *key, const char *fallback)
{
    const json_t *value = lsi_config_get(config, key);
    if (value == NULL)
        return fallback;
    if (!json_is_string(value)) {
        lsi_config_fail(config, LS_EINVAL, "%s must be a string", key);
        return fallback;
    }
    return json_string_value(value);
}

static bool small_positive(const json_t *value, int *out)
{
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > 65536)
        return false;
    *out = (int)json_integer_value(value);
    return true;
}

void lsi_config_pair(struct lsi_config *config, const char *key, int pair[2])
{
    const json_t *value = lsi_config_get(config, key);
    if (value == NULL)
        return;
    int made[2] = {0, 0};
    bool fits = small_positive(value, &made[0]);
    made[1] = made[0];
    if (!fits && json_is_array(value) && json_array_size(value) == 2)
        fits = small_positive(json_array_get(value, 0), &made[0]) && small_positive(json_array_get(value, 1), &made[1]);
    if (!fits) {
        lsi_config_fail(config, LS_EINVAL, "%s must be one or two integers from 1 to 65536", key);
        return;
    }
    pair[0] = made[0];
    pair[1] = made[1];
}

enum ls_padding lsi_config_padding(struct lsi_config *config)
{
    const char *padding = lsi_config_string(config, "padding", "valid");
    if (strcmp(padding, "same") == 0)
        return LS_SAME;
    if (strcmp(padding, "valid") != 0)
        lsi_config_fail(config, LS_EUNSUPPORTED, "padding is \"%s\", it must be \"valid\" or \"same\"", padding);
    return LS_VALID;
}

void lsi_config_channels_last(struct lsi_config *config)
{
    const char *format = lsi_config_string(config, "data_format", "channels_last");
    if (strcmp(format, "channels_last") != 0)
        lsi_config_fail(config, LS_EUNSUPPORTED, "data_format is \"%s\", only \"channels_last\" is supported", format);
}

/* A name given as a string, or as the object Keras writes for a function. NULL: neither. */
static const char *function_name(const json_t *value)
{
    if (json_is_string(value))
        return json_string_value(value);
    const char *kind = json_string_value(json_object_get(value, "class_name"));
    if (kind == NULL)
        return NULL;
    return strcmp(kind, "function") == 0 ? json_string_value(json_object_get(value, "config")) : kind;
}

enum ls_layer_activation lsi_config_activation(struct lsi_config *config, const char *key)
{
    enum ls_layer_activation activation = LS_LINEAR;
    const json_t *value = lsi_config_get(config, key);
    if (value == NULL)
        return LS_LINEAR;
    const char *name = function_name(value);
    if (name == NULL)
        lsi_config_fail(config, LS_EINVAL, "%s must be the name of an activation", key);
    else if (!lsi_activation_from_name(name, &activation))
        lsi_config_fail(config, LS_EUNSUPPORTED,
                        "the activation \"%s\" is not supported; there are linear, relu, softmax, sigmoid, tanh, "
                        "exponential and silu",
                        name);
    return activation;
}

enum ls_status lsi_config_policy(const json_t *dtype, struct ls_error *err)
{
    if (dtype == NULL || json_is_null(dtype))
        return LS_OK;
    const char *name = json_string_value(dtype);
    if (name == NULL)
        name = json_string_value(json_object_get(json_object_get(dtype, "config"), "name"));
    if (name == NULL)
        return ls_error_set(err, LS_EINVAL, "dtype must be \"float32\"");
    if (strcmp(name, "float32") != 0)
        return ls_error_set(err, LS_EUNSUPPORTED, "dtype is \"%s\", only \"float32\" is supported", name);
    return LS_OK;
}

enum ls_status lsi_config_close(struct lsi_config *config, struct ls_error *err)
{
    const char *key;
    json_t *value;
    json_t *object = (json_t *)config->object; /* jansson's iterator is not const */
    if (config->error.status == LS_OK)
        json_object_foreach(object, key, value)
        {
            bool known = json_is_null(value) || json_is_false(value);
            for (int i = 0; !known && i < config->known_count; i++)
                known = strcmp(config->known[i], key) == 0;
            if (known)
                continue;
            const char *near = ls_str_nearest(key, config->known, (size_t)config->known_count);
            if (near != NULL)
                lsi_config_fail(config, LS_EUNSUPPORTED, "there is no option \"%s\"; did you mean \"%s\"?", key, near);
            else
                lsi_config_fail(config, LS_EUNSUPPORTED, "the option \"%s\" is not supported", key);
            break;
        }
    if (config->error.status == LS_OK)
        return LS_OK;
    return ls_error_set(err, config->error.status, "%s", config->error.message);
}

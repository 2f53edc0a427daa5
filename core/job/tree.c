/* SPDX-License-Identifier: Apache-2.0 */
/* The job's text as a tree of JSON values, with --set key.path=value laid over it. */
#include "core/job/job_internal.h"

#include "core/base/alloc.h"
#include "core/base/str.h"
#include "core/formats/json.h"
#include "core/formats/yaml.h"

#include <string.h>

#define MAX_TEXT (1 << 20)

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);

    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* `loss: mse` and `loss: {name: mse}` mean the same, so an override may add an option to the short form. */
static json_t *open_short_form(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);
    json_t *named;

    if (!json_is_string(value) ||
        (strcmp(key, "loss") != 0 && strcmp(key, "optimizer") != 0 && strcmp(key, "compression") != 0))
        return NULL;
    named = json_pack("{s:O}", "name", value);
    if (named == NULL || json_object_set_new(object, key, named) != 0)
        return NULL;
    return named;
}

/* Complaints about what the override made, or what is missing in it, name the override. */
static bool note_made(json_t *lines, const char *override, size_t path_length)
{
    char *path = ls_str_format("%.*s", (int)path_length, override);
    bool noted = path != NULL && json_object_set_new(lines, path, json_string(override)) == 0;

    ls_free(path);
    return noted;
}

/* The object that holds the last key of the path, which is the beginning of the override; missing ones are made. *key
 * is changed to the last key. */
static json_t *descend(json_t *tree, json_t *lines, const char *override, char **key)
{
    const char *path = *key;
    json_t *object = tree;
    char *dot;

    while ((dot = strchr(*key, '.')) != NULL) {
        json_t *next;

        *dot = '\0';
        if ((*key)[0] == '\0')
            return NULL;
        next = json_object_get(object, *key);
        if (next == NULL || json_is_null(next)) {
            next = json_object();
            if (json_object_set_new(object, *key, next) != 0 || !note_made(lines, override, (size_t)(dot - path)))
                return NULL;
        } else if (!json_is_object(next)) {
            next = open_short_form(object, *key);
        }
        if (next == NULL)
            return NULL;
        object = next;
        *key = dot + 1;
    }
    return (*key)[0] != '\0' ? object : NULL;
}

/* Complaints about the key, and about what was in it, then name the override, not a line of the file. */
static enum ls_status note_origin(json_t *lines, const char *override, size_t path_length, struct ls_error *err)
{
    char *path = ls_str_format("%.*s", (int)path_length, override);
    enum ls_status status = LS_OK;
    const char *key;
    void *next;
    json_t *line;

    json_object_foreach_safe(lines, next, key, line)
    {
        if (path != NULL && strncmp(key, path, path_length) == 0 && key[path_length] == '.')
            (void)json_object_del(lines, key);
    }
    if (path == NULL || !note_made(lines, override, path_length))
        status = ls_error_set(err, LS_ENOMEM, "not enough memory for --set %.200s", override);
    ls_free(path);
    return status;
}

/* A value of one line has no line to name, least of all the one behind its end. */
static void leave_line_out(const char *name, const char *value, struct ls_error *err)
{
    static const char line[] = ", line ";
    size_t begin = strlen(name);
    char *at, *end;

    if (err == NULL || strchr(value, '\n') != NULL || strncmp(err->message, name, begin) != 0)
        return;
    at = err->message + begin;
    if (strncmp(at, line, sizeof line - 1) != 0)
        return;
    end = at + sizeof line - 1 + strspn(at + sizeof line - 1, "0123456789");
    memmove(at, end, strlen(end) + 1);
}

static enum ls_status apply_override(json_t *tree, json_t *lines, const char *override, struct ls_error *err)
{
    const char *equals = strchr(override, '=');
    char *path = NULL, *name = NULL, *key;
    json_t *value = NULL, *object;
    enum ls_status status;

    if (equals == NULL || equals == override)
        return ls_error_set(err, LS_EINVAL, "--set %.200s: it must have the form key.path=value", override);
    if (equals - override > 128)
        return ls_error_set(err, LS_EINVAL, "--set %.60s...: the key is too long", override);
    path = ls_str_format("%.*s", (int)(equals - override), override);
    name = ls_str_format("--set %.200s", override);
    if (path == NULL || name == NULL) {
        status = ls_error_set(err, LS_ENOMEM, "not enough memory for --set %.200s", override);
        goto free_names;
    }
    status = ls_yaml_parse(equals + 1, strlen(equals + 1), name, &value, NULL, err);
    if (status != LS_OK) {
        leave_line_out(name, equals + 1, err);
        goto free_names;
    }
    key = path;
    object = descend(tree, lines, override, &key);
    if (object == NULL || json_object_set(object, key, value) != 0)
        status = ls_error_set(err, LS_EINVAL, "--set %.200s: %.*s is not inside a section of the job", override,
                              (int)(equals - override), override);
    else
        status = note_origin(lines, override, (size_t)(equals - override), err);
    json_decref(value);
free_names:
    ls_free(name);
    ls_free(path);
    return status;
}

enum ls_status lsi_job_tree(const struct lsi_job_source *source, json_t **tree, json_t **lines, struct ls_error *err)
{
    json_t *found = NULL, *found_lines = NULL;
    enum ls_status status;

    if (source->length > MAX_TEXT)
        return ls_error_set(err, LS_EINVAL, "%s is longer than %d bytes; it is no job file", source->path, MAX_TEXT);
    status = ends_with(source->path, ".json")
                 ? ls_json_parse(source->text, source->length, source->path, &found, err)
                 : ls_yaml_parse(source->text, source->length, source->path, &found, &found_lines, err);
    if (status != LS_OK)
        return status;
    if (found_lines == NULL)
        found_lines = json_object();
    if (json_is_null(found))
        status = ls_error_set(err, LS_EINVAL, "%s is empty; it must describe a job", source->path);
    else if (!json_is_object(found))
        status = ls_error_set(err, LS_EINVAL, "%s does not describe a job: keys and values are expected", source->path);
    for (int i = 0; i < source->override_count && status == LS_OK; i++)
        status = apply_override(found, found_lines, source->overrides[i], err);
    if (status != LS_OK) {
        json_decref(found);
        json_decref(found_lines);
        return status;
    }
    *tree = found;
    *lines = found_lines;
    return LS_OK;
}

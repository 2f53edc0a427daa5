/* SPDX-License-Identifier: Apache-2.0 */
/* Reading keys of a section: type, range, names; every complaint gives file, line, key path and what to write. */
#include "core/job/job_internal.h"

#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/formats/json.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void path_of(const struct lsi_section *section, const char *key, char *path, size_t size)
{
    (void)snprintf(path, size, "%s%s%.100s", section->path, section->path[0] != '\0' && key != NULL ? "." : "",
                   key != NULL ? key : "");
}

/* Where the key is from, or else the nearest section around it: a line, or the text of an override; may be NULL. */
static const json_t *origin_of(const json_t *lines, const char *path)
{
    char around[288];
    char *dot = around;
    const json_t *found = NULL;

    (void)snprintf(around, sizeof around, "%s", path);
    while (found == NULL && dot != NULL) {
        found = json_object_get(lines, around);
        dot = strrchr(around, '.');
        if (dot != NULL)
            *dot = '\0';
    }
    return found;
}

void lsi_job_fail(const struct lsi_section *section, const char *key, const char *format, ...)
{
    struct lsi_walk *walk = section->walk;
    char path[288], sentence[512];
    const json_t *line;
    va_list args;

    if (walk->status != LS_OK)
        return;
    va_start(args, format);
    (void)vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    path_of(section, key, path, sizeof path);
    line = origin_of(walk->lines, path);
    if (json_is_string(line))
        walk->status =
            ls_error_set(walk->err, LS_EINVAL, "--set %.200s: %s %s", json_string_value(line), path, sentence);
    else if (line != NULL)
        walk->status = ls_error_set(walk->err, LS_EINVAL, "%s, line %d: %s %s", walk->file,
                                    (int)json_integer_value(line), path, sentence);
    else
        walk->status = ls_error_set(walk->err, LS_EINVAL, "%s: %s %s", walk->file, path, sentence);
}

void lsi_job_no_memory(struct lsi_walk *walk)
{
    walk->status = ls_error_set(walk->err, LS_ENOMEM, "not enough memory to read the job");
}

void lsi_job_set(struct lsi_walk *walk, char **place, const char *text)
{
    char *copy = ls_str_copy(text);

    if (copy == NULL) {
        lsi_job_no_memory(walk);
        return;
    }
    ls_free(*place);
    *place = copy;
}

static json_t *value_of(const struct lsi_section *section, const char *key)
{
    json_t *value = section->object != NULL ? json_object_get(section->object, key) : NULL;

    return section->walk->status == LS_OK && !json_is_null(value) ? value : NULL;
}

/* A value as the user would write it, cut short, for "must be ..., not ...". */
static const char *shown(const json_t *value, char text[64])
{
    char *whole = NULL;

    if (ls_json_canonical_text(value, &whole, NULL) != LS_OK)
        return "?";
    (void)ls_str_into(text, 60, whole);
    if (strlen(whole) >= 60)
        (void)snprintf(text + 56, 8, "...");
    ls_free(whole);
    return text;
}

struct lsi_section lsi_job_section(const struct lsi_section *outer, const char *key)
{
    struct lsi_section section = {.walk = outer->walk};
    json_t *value = value_of(outer, key);
    char text[64];

    path_of(outer, key, section.path, sizeof section.path);
    if (value != NULL && !json_is_object(value))
        lsi_job_fail(outer, key, "must be a section of keys and values, not %s", shown(value, text));
    else
        section.object = value;
    return section;
}

void lsi_job_check_keys(const struct lsi_section *section, const char *const *names, size_t count)
{
    for (void *at = json_object_iter(section->object); at != NULL; at = json_object_iter_next(section->object, at)) {
        const char *key = json_object_iter_key(at);
        const char *near, *name = json_string_value(json_object_get(section->object, "name"));
        bool known = false;

        for (size_t i = 0; i < count && !known; i++)
            known = strcmp(names[i], key) == 0;
        if (known)
            continue;
        near = ls_str_nearest(key, names, count);
        if (near != NULL)
            lsi_job_fail(section, key, "is not a key of a job; did you mean %s%s%s?", section->path,
                         section->path[0] != '\0' ? "." : "", near);
        else if (name != NULL && section->path[0] != '\0')
            lsi_job_fail(section, key, "is not an option of %s", name);
        else
            lsi_job_fail(section, key, "is not a key of a job");
        return;
    }
}

bool lsi_job_has(const struct lsi_section *section, const char *key)
{
    return value_of(section, key) != NULL;
}

bool lsi_job_overridden(const struct lsi_section *section, const char *key)
{
    char path[200];

    (void)snprintf(path, sizeof path, "%s.%s", section->path, key);
    return lsi_job_has(section, key) && (json_is_string(json_object_get(section->walk->lines, path)) ||
                                         json_is_string(json_object_get(section->walk->lines, section->path)));
}

void lsi_job_require(const struct lsi_section *section, const char *key)
{
    if (!lsi_job_has(section, key))
        lsi_job_fail(section, key, "is missing; a job needs it");
}

void lsi_job_integer(const struct lsi_section *section, const char *key, int64_t low, int64_t high, int64_t *value)
{
    const json_t *found = value_of(section, key);
    char text[64];

    if (found == NULL)
        return;
    if (json_is_real(found) && fabs(json_real_value(found)) < 1e15 &&
        json_real_value(found) == trunc(json_real_value(found)))
        lsi_job_fail(section, key, "must be a whole number: write %s without a point or an exponent",
                     shown(found, text));
    else if (!json_is_integer(found))
        lsi_job_fail(section, key, "must be a whole number, not %s", shown(found, text));
    else if (low == high && json_integer_value(found) != low)
        lsi_job_fail(section, key, "must be %" PRId64 ", the only one that this program knows, not %s", low,
                     shown(found, text));
    else if (json_integer_value(found) < low || json_integer_value(found) > high)
        lsi_job_fail(section, key, "must be from %" PRId64 " to %" PRId64 ", not %s", low, high, shown(found, text));
    else
        *value = json_integer_value(found);
}

void lsi_job_int(const struct lsi_section *section, const char *key, int low, int high, int *value)
{
    int64_t wide = *value;

    lsi_job_integer(section, key, low, high, &wide);
    *value = (int)wide;
}

void lsi_job_number(const struct lsi_section *section, const char *key, double low, bool open, double high,
                    double *value)
{
    const json_t *found = value_of(section, key);
    char text[64], low_text[32], high_text[32];
    double number;

    if (found == NULL)
        return;
    if (!json_is_number(found)) {
        lsi_job_fail(section, key, "must be a number, not %s", shown(found, text));
        return;
    }
    number = json_number_value(found);
    ls_json_number(low, low_text);
    ls_json_number(high, high_text);
    if (number < low || number > high || (open && number == low))
        lsi_job_fail(section, key, "must be %s %s and at most %s, not %s", open ? "greater than" : "at least", low_text,
                     high_text, shown(found, text));
    else
        *value = number;
}

void lsi_job_flag(const struct lsi_section *section, const char *key, bool *value)
{
    const json_t *found = value_of(section, key);
    char text[64];

    if (found == NULL)
        return;
    if (!json_is_boolean(found))
        lsi_job_fail(section, key, "must be true or false, not %s", shown(found, text));
    else
        *value = json_is_true(found);
}

void lsi_job_list(const struct lsi_section *section, const char *key)
{
    const json_t *found = value_of(section, key), *entry;
    char text[64];
    size_t i;

    if (found != NULL && !json_is_array(found) && !json_is_string(found))
        lsi_job_fail(section, key, "must be a list of names such as [a, b], not %s", shown(found, text));
    json_array_foreach(found, i, entry) if (!json_is_string(entry) && !json_is_null(entry))
        lsi_job_fail(section, key, "must be a list of names; %s in it is none", shown(entry, text));
}

void lsi_job_string(const struct lsi_section *section, const char *key, char **value)
{
    const json_t *found = value_of(section, key);
    char text[64];

    if (found == NULL)
        return;
    if (!json_is_string(found) || json_string_length(found) == 0)
        lsi_job_fail(section, key, "must be a text, not %s", shown(found, text));
    else
        lsi_job_set(section->walk, value, json_string_value(found));
}

void lsi_job_path(const struct lsi_section *section, const char *key, const char *directory, char **place)
{
    char *text = NULL;

    lsi_job_string(section, key, &text);
    if (text != NULL && section->walk->status == LS_OK) {
        ls_free(*place);
        *place = ls_path_join(directory, text);
        if (*place == NULL)
            lsi_job_no_memory(section->walk);
    }
    ls_free(text);
}

void lsi_job_choice(const struct lsi_section *section, const char *key, const char *const *names, size_t count,
                    char **value)
{
    struct ls_buf list = {0};
    const char *near;

    if (!lsi_job_has(section, key))
        return;
    lsi_job_string(section, key, value);
    if (section->walk->status != LS_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], *value) == 0) {
            ls_buf_deinit(&list);
            return;
        }
        (void)ls_buf_append_format(&list, "%s%s", i == 0 ? "" : i + 1 == count ? " or " : ", ", names[i]);
    }
    (void)ls_buf_append(&list, "", 1);
    near = ls_str_nearest(*value, names, count);
    if (near != NULL)
        lsi_job_fail(section, key, "is %.60s, which is not known; did you mean %s?", *value, near);
    else
        lsi_job_fail(section, key, "is %.60s, which is not known; it may be %.300s", *value,
                     list.failed ? "another" : (const char *)list.data);
    ls_buf_deinit(&list);
}

void lsi_job_named(const struct lsi_section *outer, const char *key, const char *const *names, size_t count,
                   char **name, struct lsi_section *options)
{
    *options = (struct lsi_section){.walk = outer->walk};
    lsi_job_require(outer, key);
    if (outer->walk->status == LS_OK && json_is_string(json_object_get(outer->object, key))) {
        lsi_job_choice(outer, key, names, count, name);
        return;
    }
    *options = lsi_job_section(outer, key);
    if (options->object == NULL)
        return;
    lsi_job_require(options, "name");
    lsi_job_choice(options, "name", names, count, name);
}

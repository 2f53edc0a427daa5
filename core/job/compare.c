/* SPDX-License-Identifier: Apache-2.0 */
/* May a checkpoint go on under this job? The two canonical texts are compared key by key. */
#include "core/job/job_internal.h"

#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/base/str.h"
#include "core/formats/json.h"

#include <stdio.h>
#include <string.h>

struct comparison {
    struct ls_buf changed; /* allowed differences, "epochs (2, now 5), ..." */
    char path[128];        /* where the walk is */
    char refused[160];     /* first difference that is not allowed: its path */
    char stored[64], now[64];
};

static bool is_allowed(const char *path)
{
    static const char *const allowed[] = {"epochs", "optimizer.learning_rate", "metrics"};

    for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
        if (strcmp(allowed[i], path) == 0)
            return true;
    return false;
}

static void show(const json_t *value, char text[64])
{
    char *whole = NULL;

    if (value == NULL || ls_json_canonical_text(value, &whole, NULL) != LS_OK) {
        (void)ls_str_into(text, 64, "absent");
        return;
    }
    if (!ls_str_into(text, 61, whole))
        memcpy(text + 57, "...", 4);
    ls_free(whole);
}

static void note(struct comparison *in, const json_t *stored, const json_t *now)
{
    char before[64], after[64];

    show(stored, before);
    show(now, after);
    if (is_allowed(in->path)) {
        (void)ls_buf_append_format(&in->changed, "%s%s (was %s, is %s)", in->changed.length > 0 ? ", " : "", in->path,
                                   before, after);
    } else if (in->refused[0] == '\0') {
        (void)ls_str_into(in->refused, sizeof in->refused, in->path);
        (void)ls_str_into(in->stored, sizeof in->stored, before);
        (void)ls_str_into(in->now, sizeof in->now, after);
    }
}

static void compare(struct comparison *in, json_t *stored, json_t *now, int depth);

static void compare_member(struct comparison *in, const char *key, json_t *stored, json_t *now, int depth)
{
    size_t length = strlen(in->path);

    (void)snprintf(in->path + length, sizeof in->path - length, "%s%s", length > 0 ? "." : "", key);
    compare(in, stored, now, depth);
    in->path[length] = '\0';
}

static void compare(struct comparison *in, json_t *stored, json_t *now, int depth)
{
    if (!json_is_object(stored) || !json_is_object(now) || depth > 8) {
        /* Numbers are compared as numbers: 1 and 1.0 have one canonical form. */
        char *a = NULL, *b = NULL;
        bool equal = stored != NULL && now != NULL && ls_json_canonical_text(stored, &a, NULL) == LS_OK &&
                     ls_json_canonical_text(now, &b, NULL) == LS_OK && strcmp(a, b) == 0;

        if (!equal)
            note(in, stored, now);
        ls_free(a);
        ls_free(b);
        return;
    }
    /* The name explains every other difference: another optimizer has other options. */
    if (json_object_get(now, "name") != NULL)
        compare_member(in, "name", json_object_get(stored, "name"), json_object_get(now, "name"), depth + 1);
    for (void *at = json_object_iter(now); at != NULL; at = json_object_iter_next(now, at))
        compare_member(in, json_object_iter_key(at), json_object_get(stored, json_object_iter_key(at)),
                       json_object_iter_value(at), depth + 1);
    for (void *at = json_object_iter(stored); at != NULL; at = json_object_iter_next(stored, at))
        if (json_object_get(now, json_object_iter_key(at)) == NULL)
            compare_member(in, json_object_iter_key(at), json_object_iter_value(at), NULL, depth + 1);
}

enum ls_status ls_job_compare(const char *stored_json, const char *job_json, const char *advice, char **changed,
                              struct ls_error *err)
{
    struct comparison in = {.path = ""};
    json_t *stored = NULL, *now = NULL;
    enum ls_status status = ls_json_parse(stored_json, strlen(stored_json), "the checkpoint's job", &stored, err);

    if (status == LS_OK)
        status = ls_json_parse(job_json, strlen(job_json), "the job", &now, err);
    if (status != LS_OK)
        goto free_trees;
    compare(&in, stored, now, 0);
    if (in.refused[0] != '\0')
        status = ls_error_set(err, LS_EINVAL,
                              "%s was %s in the checkpoint and is %s in the job, which would give another result; %s",
                              in.refused, in.stored, in.now, advice);
    else if (in.changed.length > 0 && ls_buf_append(&in.changed, "", 1) != LS_OK)
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to compare jobs");
    if (status == LS_OK) {
        *changed = (char *)in.changed.data;
        in.changed = (struct ls_buf){0};
    }
    ls_buf_deinit(&in.changed);
free_trees:
    json_decref(stored);
    json_decref(now);
    return status;
}

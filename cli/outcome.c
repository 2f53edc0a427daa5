/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a command in words and in JSON, see outcome.h. */
#include "cli/outcome.h"

#include "core/base/str.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    const char *program;
    bool json, printed;
} outcome = {.program = "lockstep"};

void ls_outcome_begin(const char *program)
{
    outcome.program = program;
}

const char *ls_outcome_program(void)
{
    return outcome.program;
}

void ls_outcome_set_json(bool json)
{
    outcome.json = json;
}

static const char *sentence(enum ls_status status, const struct ls_error *err)
{
    return err != NULL && err->message[0] != '\0' ? err->message : ls_status_sentence(status);
}

/* A path in a sentence may hold any bytes, JSON only UTF-8. */
static json_t *text_of(const char *words)
{
    char plain[sizeof((struct ls_error *)0)->message];
    json_t *made = json_string(words);

    if (made != NULL)
        return made;
    (void)ls_str_into(plain, sizeof plain, words);
    for (char *c = plain; *c != '\0'; c++)
        if ((unsigned char)*c >= 0x80)
            *c = '?';
    return json_string(plain);
}

void ls_outcome_print(const char *object, enum ls_status status, const struct ls_error *err)
{
    json_t *o = json_pack("{s:s, s:i}", "status", ls_status_name(status), "exit_status", ls_status_exit(status));
    size_t length = strlen(object);
    char *tail;

    if (status != LS_OK)
        (void)json_object_set_new(o, "error", text_of(sentence(status, err)));
    tail = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    while (length > 0 && object[length - 1] != '}')
        length--;
    if (tail == NULL || length < 2)
        printf("%s\n", object);
    else
        printf("%.*s%s%s\n", (int)length - 1, object, length > 2 ? "," : "", tail + 1);
    free(tail); /* jansson's */
    outcome.printed = true;
}

void ls_outcome_tell(enum ls_status status, const struct ls_error *err)
{
    if (outcome.json && !outcome.printed)
        ls_outcome_print("{}", status, err);
    (void)fflush(stdout);
    fprintf(stderr, "lockstep: %s\n", sentence(status, err));
    (void)fflush(stderr);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a job as a person reads it, from the summary's JSON. */
#include "cli/carried.h"
#include "cli/host.h"
#include "cli/outcome.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* JSON has no NaN and no infinity: there they are null, and a person must not miss them. */
static void print_real(const json_t *o, const char *key, const char *text, const char *unit)
{
    const json_t *value = json_object_get(o, key);

    if (json_is_number(value))
        printf("  %-16s %.6g%s\n", text, json_number_value(value), unit);
    else if (json_is_null(value))
        printf("  %-16s not a finite number\n", text);
}

/* There only where the job has `wire: bf16`. */
static void print_wire(const json_t *o)
{
    const char *wire = json_string_value(json_object_get(o, "wire"));
    char text[160];

    if (wire != NULL && strcmp(wire, "bf16") == 0)
        printf("  %-16s bf16\n", "wire");
    else if (wire != NULL)
        printf("%s\n", ls_carried_in_vain(json_string_value(json_object_get(o, "transport")),
                                          (int)json_integer_value(json_object_get(o, "workers")), text));
}

static void print_text(const json_t *o, const char *key, const char *text)
{
    const json_t *value = json_object_get(o, key);

    if (json_is_string(value))
        printf("  %-16s %s\n", text, json_string_value(value));
}

/* Metrics of the validation set under the names they have in the job. */
static void print_metrics(json_t *o)
{
    const char *key;
    json_t *value;

    json_object_foreach(o, key, value) if (strncmp(key, "val_", 4) == 0) print_real(o, key, key, "");
}

/* A word as a shell reads it. */
static void print_word(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=,./:@%";

    if (*word != '\0' && word[strspn(word, plain)] == '\0') {
        printf(" %s", word);
        return;
    }
    printf(" '");
    for (; *word != '\0'; word++)
        printf(*word == '\'' ? "'\\''" : "%c", *word);
    putchar('\'');
}

/* A command that works where this one did: the program as it was typed, with the job's overrides. */
static void print_next(const struct ls_summary_view *view, const char *checkpoint)
{
    printf("Next:");
    print_word(ls_outcome_program());
    printf(" evaluate");
    print_word(view->path);
    for (int i = 0; view->set != NULL && i < view->set->count; i++) {
        printf(" --set");
        print_word(view->set->items[i]);
    }
    if (view->data != NULL)
        printf(" --data %s", view->data);
    printf("\n  or:");
    print_word(ls_outcome_program());
    printf(" inspect");
    print_word(checkpoint);
    putchar('\n');
}

const char *ls_summary_data(const struct ls_job *job)
{
    return job != NULL && job->validation.format == NULL ? "train" : NULL;
}

void ls_summary_print(const char *summary, const struct ls_summary_view *view, enum ls_status status,
                      const struct ls_error *err)
{
    json_t *o;
    bool ran;

    if (summary == NULL)
        return;
    if (view->json) {
        ls_outcome_print(summary, status, err);
        return;
    }
    o = json_loads(summary, 0, NULL);
    if (o == NULL)
        return;
    /* Without a step of its own a run has no speed to tell. */
    ran = json_number_value(json_object_get(o, "first_step_s")) > 0;
    printf("%s after %lld steps on %lld %s (%s, %s)\n",
           !json_is_true(json_object_get(o, "finished")) ? "Stopped"
           : ran                                         ? "Finished"
                                                         : "Already finished",
           (long long)json_integer_value(json_object_get(o, "steps")),
           (long long)json_integer_value(json_object_get(o, "workers")),
           json_integer_value(json_object_get(o, "workers")) == 1 ? "replica" : "replicas",
           json_string_value(json_object_get(o, "device")), json_string_value(json_object_get(o, "transport")));
    print_real(o, "loss", "loss", "");
    print_metrics(o);
    if (ran) {
        print_real(o, "samples_per_s", "throughput", " samples/s");
        print_real(o, "first_step_s", "first step", " s after the start");
    }
    print_text(o, "params_sha256", "parameters");
    print_text(o, "state_sha256", "state");
    print_text(o, "checkpoint", "checkpoint");
    print_wire(o);
    if (!ran && json_is_true(json_object_get(o, "finished")))
        printf("Nothing was left to do: --set epochs=N trains on, --fresh --overwrite begins anew\n");
    if (json_is_string(json_object_get(o, "checkpoint")))
        print_next(view, json_string_value(json_object_get(o, "checkpoint")));
    json_decref(o);
}

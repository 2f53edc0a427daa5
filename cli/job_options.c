/* SPDX-License-Identifier: Apache-2.0 */
/* Options of a job command as overrides of the job file. */
#include "cli/job_options.h"

#include "core/base/alloc.h"
#include "core/base/str.h"

#include <string.h>

static enum ls_status add(struct ls_job_words *words, const char *key, const char *value)
{
    char *made;

    if (value == NULL)
        return LS_OK;
    made = ls_str_format("%s=%s", key, value);
    if (made == NULL)
        return LS_ENOMEM;
    words->made[words->made_count++] = made;
    words->items[words->count++] = made;
    return LS_OK;
}

enum ls_status ls_job_words_make(const struct ls_job_options *options, struct ls_job_words *words, struct ls_error *err)
{
    enum ls_status status;

    memset(words, 0, sizeof *words);
    for (int i = 0; i < options->set.count; i++)
        words->items[words->count++] = options->set.items[i];
    status = add(words, "run.workers", options->workers);
    if (status == LS_OK)
        status = add(words, "run.replicas", options->replicas);
    if (status == LS_OK)
        status = add(words, "run.threads", options->threads);
    if (status == LS_OK)
        status = add(words, "run.transport", options->transport);
    return status == LS_OK ? status : ls_error_set(err, status, "not enough memory for the options");
}

void ls_job_words_free(struct ls_job_words *words)
{
    for (int i = 0; i < words->made_count; i++)
        ls_free(words->made[i]);
    memset(words, 0, sizeof *words);
}

/* A complaint about an override that an option made names the option, as it was typed. */
static enum ls_status blame_option(const struct ls_job_words *words, enum ls_status status, struct ls_error *err)
{
    static const char set[] = "--set ", run[] = "run.";

    for (int i = 0; status != LS_OK && err != NULL && i < words->made_count; i++) {
        const char *made = words->made[i], *equals = strchr(made, '=');
        size_t length = strlen(made);
        struct ls_error typed = LS_ERROR_INIT;

        if (strncmp(err->message, set, sizeof set - 1) != 0 ||
            strncmp(err->message + sizeof set - 1, made, length) != 0)
            continue;
        (void)ls_error_set(&typed, status, "--%.*s %s%s", (int)(equals - made) - (int)sizeof run + 1,
                           made + sizeof run - 1, equals + 1, err->message + sizeof set - 1 + length);
        *err = typed;
        break;
    }
    return status;
}

enum ls_status ls_job_options_load(const struct ls_job_options *options, const char *path, struct ls_job **job,
                                   struct ls_error *err)
{
    struct ls_job_words words;
    enum ls_status status = ls_job_words_make(options, &words, err);

    if (status == LS_OK)
        status = blame_option(&words, ls_job_load(path, words.items, words.count, job, err), err);
    if (status == LS_OK && options->max_steps > 0)
        (*job)->max_steps = options->max_steps;
    ls_job_words_free(&words);
    return status;
}

/* Whether this command's own words name another model than the coordinator's. */
static bool own_model(const struct ls_job_options *options)
{
    for (int i = 0; i < options->set.count; i++)
        if (strncmp(options->set.items[i], "model=", strlen("model=")) == 0)
            return true;
    return false;
}

enum ls_status ls_job_options_load_fetched(const struct ls_job_options *options, const struct ls_fetched_job *fetched,
                                           struct ls_job **job, struct ls_error *err)
{
    const struct ls_wire_job *told = &fetched->job;
    struct ls_job_texts texts = {.path = told->path, .text = told->text, .length = told->text_length};
    const char *all[LS_WIRE_MAX_OVERRIDES + LS_MAX_LIST + LS_JOB_WORDS_MADE];
    struct ls_job_words words;
    int total = 0;
    enum ls_status status = ls_job_words_make(options, &words, err);

    if (!own_model(options)) {
        texts.model_text = told->model_text;
        texts.model_length = told->model_length;
    }
    for (int i = 0; i < told->override_count; i++)
        all[total++] = told->overrides[i];
    for (int i = 0; i < words.count; i++)
        all[total++] = words.items[i];
    if (status == LS_OK)
        status = blame_option(&words, ls_job_load_texts(&texts, all, total, job, err), err);
    if (status == LS_OK && (options->max_steps > 0 || told->max_steps > 0))
        (*job)->max_steps = options->max_steps > 0 ? options->max_steps : told->max_steps;
    ls_job_words_free(&words);
    return status;
}

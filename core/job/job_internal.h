/* SPDX-License-Identifier: Apache-2.0 */
/* Inside core/job: from text to a tree with overrides, the walk over its keys, and the sections. */
#ifndef LOCKSTEP_CORE_JOB_JOB_INTERNAL_H
#define LOCKSTEP_CORE_JOB_JOB_INTERNAL_H

#include "core/job/read.h"

#include <jansson.h>

#define LSI_JOB_MAX_SHARDS 256
#define LSI_COUNT(array) (sizeof(array) / sizeof *(array))

/* --- tree.c --- */
/* Text and overrides as one tree. *lines: key path -> line, or the text of the override that set it. Both returned
 * (json_decref). */
enum ls_status lsi_job_tree(const struct lsi_job_source *source, json_t **tree, json_t **lines, struct ls_error *err);

/* --- walk.c --- */
/* Where the walk is: an object of the tree and its key path ("data.train", "" at the top). After a failure every
 * further call does nothing, so that a section reads as a list of its keys. */
struct lsi_walk {
    const char *file; /* borrowed */
    json_t *lines;    /* borrowed; of lsi_job_tree, may be NULL */
    enum ls_status status;
    struct ls_error *err;
};
struct lsi_section {
    struct lsi_walk *walk;
    json_t *object; /* borrowed; NULL: the section is not there */
    char path[160];
};

/* Fails the walk at a key (NULL: the section itself): "job.yaml, line 3: batch.size <sentence>". */
void lsi_job_fail(const struct lsi_section *section, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Fails it with LS_ENOMEM. */
void lsi_job_no_memory(struct lsi_walk *walk);
/* The section of a key; object NULL where the key is missing or null. */
struct lsi_section lsi_job_section(const struct lsi_section *outer, const char *key);
/* Fails where the section has a key that is none of names; suggests the nearest. */
void lsi_job_check_keys(const struct lsi_section *section, const char *const *names, size_t count);
/* True where the key has a value other than null. */
bool lsi_job_has(const struct lsi_section *section, const char *key);
/* True where an override gave the key, or the section that has it. */
bool lsi_job_overridden(const struct lsi_section *section, const char *key);
/* Readers of one key. A missing one leaves *value as it is (the default). */
void lsi_job_integer(const struct lsi_section *section, const char *key, int64_t low, int64_t high, int64_t *value);
void lsi_job_int(const struct lsi_section *section, const char *key, int low, int high, int *value);
/* low is left out of the range where open. */
void lsi_job_number(const struct lsi_section *section, const char *key, double low, bool open, double high,
                    double *value);
void lsi_job_flag(const struct lsi_section *section, const char *key, bool *value);
/* A text, copied (the old *value is freed). */
void lsi_job_string(const struct lsi_section *section, const char *key, char **value);
/* A path of the job file, relative to the directory of the file. */
void lsi_job_path(const struct lsi_section *section, const char *key, const char *directory, char **value);
/* Fails where the value is neither a list of texts (null, for an empty entry, is left to the reader) nor one text. */
void lsi_job_list(const struct lsi_section *section, const char *key);
/* A text that must be one of names; suggests the nearest. */
void lsi_job_choice(const struct lsi_section *section, const char *key, const char *const *names, size_t count,
                    char **value);
/* The name of `loss: name` or `loss: {name: ..., option: ...}`, one of names; *options has object NULL for the short
 * form. Fails where the key is missing. */
void lsi_job_named(const struct lsi_section *outer, const char *key, const char *const *names, size_t count,
                   char **name, struct lsi_section *options);
/* Fails where the key is missing. */
void lsi_job_require(const struct lsi_section *section, const char *key);
/* A copy of text into *value (the old one is freed), for what no key gives. */
void lsi_job_set(struct lsi_walk *walk, char **value, const char *text);

/* --- the sections, read and checked into the job; defaults are set. top: the whole file --- */
/* result.c: all keys but `run`. */
void lsi_job_read_result(const struct lsi_section *top, struct ls_job *job);
/* gradients.c: `compression` and `wire`, after job->fast. */
void lsi_job_read_gradients(const struct lsi_section *top, struct ls_job *job);
/* run.c: `run`. */
void lsi_job_read_run(const struct lsi_section *top, struct ls_job *job);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job: a YAML (or JSON) file with overrides (--set key=value), checked. The first block defines the result, `run`
 * never changes a bit. A wrong key, type or value is one sentence with the file, the key and a suggestion.
 */
#ifndef LOCKSTEP_CORE_JOB_JOB_H
#define LOCKSTEP_CORE_JOB_JOB_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LS_JOB_MAX_METRICS 16
#define LS_JOB_MAX_REPLICAS 256 /* in all */

struct ls_job_data {
    char *format;   /* "idx", "npy"; NULL: this set is not given */
    char *features; /* path, resolved against the job file */
    char *labels;   /* path or NULL */
};

struct ls_job {
    char *path;      /* of the job file */
    char *directory; /* its directory */
    /* --- defines the result --- */
    int64_t version;  /* 1 */
    int64_t numerics; /* 1 */
    uint64_t seed;
    bool fast; /* math: fast */
    int64_t batch_size;
    int64_t batch_shards; /* V; by rule unless given; power of two */
    bool shuffle;         /* data.shuffle, default true */
    int64_t epochs;
    char *model;      /* path of the Keras JSON */
    char *model_text; /* its bytes */
    size_t model_length;
    char *initial_weights;                      /* path of an .npz or NULL */
    struct ls_job_data train, validation, test; /* test: for evaluate / predict, optional */
    char *loss;
    bool from_logits;
    char *metrics[LS_JOB_MAX_METRICS];
    int metric_count;
    struct {
        char *name;
        double learning_rate, momentum, beta1, beta2, epsilon;
        bool nesterov;
    } optimizer;
    struct {
        char *name; /* "bf16", "top_k", "power_sgd"; NULL: none */
        double ratio;
        int rank;
        int64_t start_step;
    } compression;  /* of gradients; math: fast only. name: ls_free, also of a job that is not ls_job_load's */
    bool bf16_wire; /* wire: bf16; math: fast only */
    /* --- run: never changes a bit --- */
    char *strategy; /* "one_device", "mirrored", "multi_worker" */
    int workers;
    bool workers_overridden; /* an override gave it, not the file */
    int replicas;
    int threads;
    char *transport;                 /* a name of core/job/transport.h */
    char *device;                    /* "cpu" (default), "ref" */
    char *isa;                       /* NULL: the best */
    bool eager;                      /* run.execution: graph (default) or eager */
    int64_t micro_shards;            /* shards a call may hold at most; 0: no limit */
    char *checkpoint_directory;      /* resolved against the job file */
    int64_t checkpoint_every_steps;  /* 0: never by steps */
    double checkpoint_every_minutes; /* 0: never by time */
    int64_t checkpoint_keep;
    int64_t max_steps; /* --max-steps; 0: no limit */
};

/* Reads, overrides ("key.path=value", in order), checks and resolves. override strings are borrowed. Checks settings
 * against each other (strategy and workers ...), not against the data. Returned; ends with ls_job_destroy. */
enum ls_status ls_job_load(const char *path, const char *const *overrides, int override_count, struct ls_job **job,
                           struct ls_error *err);
/* The same from text already in memory (fuzzing, tests); path only names it and gives the directory. */
enum ls_status ls_job_parse(const char *text, size_t length, const char *path, const char *const *overrides,
                            int override_count, struct ls_job **job, struct ls_error *err);
/* Texts that came from elsewhere (the coordinator); what is NULL is read at its path. All borrowed. */
struct ls_job_texts {
    const char *path; /* of the job file: its directory is that of relative paths */
    const char *text;
    size_t length;
    const char *model_text;
    size_t model_length;
};
enum ls_status ls_job_load_texts(const struct ls_job_texts *texts, const char *const *overrides, int override_count,
                                 struct ls_job **job, struct ls_error *err);
void ls_job_destroy(struct ls_job *job);

/* The key `compression` of a job that is made in memory. */
struct ls_compression_options {
    const char *name; /* NULL or "none": none; "bf16", "top_k", "power_sgd". Borrowed. */
    /* 0: not given */
    double ratio;       /* top_k: above 0 to 1, default 0.01: part of a variable's elements that a step sends */
    int rank;           /* power_sgd: 1 to 256, default 2: columns of the factors */
    int64_t start_step; /* power_sgd: 0 to 2^48, default 0: steps before it are sent whole */
};
/* Checks them as the key of a job file and fills job->compression, for which job->fast is set before. LS_EINVAL names
 * job->path and the key; LS_ENOMEM. */
enum ls_status ls_job_set_compression(struct ls_job *job, const struct ls_compression_options *options,
                                      struct ls_error *err);

/* RFC 8785 JSON of the result-defining keys, each data file replaced by (samples, bytes, sha256 of its first and last
 * MiB), and the model file by the SHA-256 of its canonical JSON. Returned text: ls_free. */
enum ls_status ls_job_canonical_json(const struct ls_job *job, char **json, struct ls_error *err);
/* SHA-256 of that text, hex. */
enum ls_status ls_job_fingerprint(const struct ls_job *job, char hex[65], struct ls_error *err);
/* Compares a checkpoint's canonical JSON with this job's. LS_OK where a resume may go on (equal, or only epochs,
 * learning rate or metrics differ: *changed then names them, ls_free, NULL when none); LS_EINVAL names the first
 * difference that forbids it, and ends with advice. */
enum ls_status ls_job_compare(const char *stored_json, const char *job_json, const char *advice, char **changed,
                              struct ls_error *err);

#endif

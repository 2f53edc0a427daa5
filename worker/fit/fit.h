/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Training from C: a finished model, data sets, options; the same steps, sums and checkpoints as `lockstep train`, and
 * so the same bits, for any number of replicas and threads.
 *
 *     struct ls_fit_options options = LS_FIT_OPTIONS_DEFAULT;
 *     options.model = model; options.train = train; options.loss = "sparse_categorical_crossentropy";
 *     if (ls_fit(&options, &result, &err) != LS_OK) ...
 */
#ifndef LOCKSTEP_WORKER_FIT_FIT_H
#define LOCKSTEP_WORKER_FIT_FIT_H

#include "worker/step/replica.h"

enum ls_strategy {
    LS_ONE_DEVICE = 0, /* one replica, in the calling thread */
    LS_MIRRORED        /* `replicas` threads of this process, joined through shared memory */
};

struct ls_fit_options {
    /* --- defines the result; all borrowed during the call --- */
    struct ls_model *model; /* finished (model_build.h) or from ls_model_from_keras; one input, one output */
    struct ls_dataset *train;
    struct ls_dataset *validation; /* NULL: none */
    int64_t epochs;                /* >= 1, default 1 */
    int64_t batch_size;            /* >= 1, default 32 */
    int shards;                    /* V, a power of two up to 256; 0: by the rule of the batch size */
    uint64_t seed;                 /* default 1 */
    bool no_shuffle;
    const char *loss; /* names: train_graph.h */
    bool from_logits;
    const char *const *metrics;
    int metric_count;
    struct ls_optimizer_options optimizer; /* default: Adam with Keras' values */
    bool fast;                             /* products in a library's order: the bits are no longer the same anywhere */
    struct ls_compression_options compression; /* of gradients, with `fast` only; the result depends on replicas */
    const char *initial_weights;               /* .npz by variable path; NULL: the initialisers */
    /* --- never changes a bit --- */
    enum ls_strategy strategy;
    int replicas;         /* mirrored: 1 to 256, default 1 */
    int threads;          /* inside a replica, 1 to 1024, default 1 */
    const char *device;   /* "cpu" (default) or "ref" */
    const char *isa;      /* NULL: the best this processor has */
    bool eager;           /* run ops one by one, not as a program */
    int64_t micro_shards; /* most shards of a call; 0: no limit */
    int64_t max_steps;    /* the whole run ends after this step; 0: no limit */
    /* Checkpoints: goes on from the newest one, which must be of the same training. NULL: none are read or written. */
    const char *checkpoint_directory;
    int64_t checkpoint_every_steps; /* 0: only at the end */
    int checkpoint_keep;            /* >= 2, default 2 */
    /* Called in replica 0's thread. false asks for an orderly stop (saved, where there is a checkpoint directory). */
    void *state;
    bool (*on_step)(void *state, const struct ls_step_report *report);
    /* After a whole epoch; validation is NULL without a validation set. */
    bool (*on_epoch)(void *state, const struct ls_step_report *train, const struct ls_step_report *validation);
};
#define LS_FIT_OPTIONS_DEFAULT                                                                        \
    {                                                                                                 \
        .epochs = 1, .batch_size = 32, .seed = 1, .optimizer = LS_OPTIMIZER_OPTIONS_DEFAULT,          \
        .strategy = LS_ONE_DEVICE, .replicas = 1, .threads = 1, .device = "cpu", .checkpoint_keep = 2 \
    }

/* Means over samples. */
struct ls_fit_scores {
    int64_t samples; /* 0: there are none */
    double loss;
    double metrics[LS_MAX_METRICS]; /* in the order of the options */
};

struct ls_fit_result {
    uint64_t steps;                  /* committed in all, those before a resume too */
    bool finished;                   /* false: stopped by a callback */
    struct ls_fit_scores train;      /* of the epoch the last step lies in, as far as it got */
    struct ls_fit_scores validation; /* after the newest whole epoch */
    double samples_per_s;
    char params_sha256[65]; /* of the trainable variables in model order, f32 little-endian */
    char state_sha256[65];  /* of all variables, slots and counters */
    int variable_count;
    struct ls_tensor **variables; /* values in model order */
};

/* Trains to the end. LS_EINVAL names the option that is wrong. *result (nullable) is written on success and ends with
 * ls_fit_result_deinit. */
enum ls_status ls_fit(const struct ls_fit_options *options, struct ls_fit_result *result, struct ls_error *err);
/* Accepts a zeroed one. */
void ls_fit_result_deinit(struct ls_fit_result *result);

/* A loop of one's own in the place of ls_replica_run, called once per replica in its thread; see replica.h for the
 * parts of a step. All replicas make the same calls in the same order; the replica is lent for the call. */
typedef enum ls_status (*ls_fit_loop_fn)(void *state, struct ls_replica *replica, struct ls_error *err);
enum ls_status ls_fit_loop(const struct ls_fit_options *options, ls_fit_loop_fn loop, void *loop_state,
                           struct ls_fit_result *result, struct ls_error *err);

#endif

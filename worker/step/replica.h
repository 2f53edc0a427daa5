/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One replica at work: device, group, state, programs, buffers, and where it stands in the job. A replica belongs to
 * one thread; only `stop` is set from outside.
 */
#ifndef LOCKSTEP_WORKER_STEP_REPLICA_H
#define LOCKSTEP_WORKER_STEP_REPLICA_H

#include "collective/group.h"
#include "core/wire/report.h"
#include "worker/compress/compress.h"
#include "worker/step/exchange.h"
#include "worker/step/loader.h"
#include "worker/step/schedule.h"
#include "worker/step/state.h"
#include "worker/step/step_program.h"

#include <sys/types.h>

/* Sums over samples of an epoch (or of a validation pass): f64, added in step order. */
struct ls_sums {
    int64_t samples;
    double loss;
    double metrics[LS_MAX_METRICS];
};

/* Where the job stands; goes into checkpoints. */
struct ls_progress {
    uint64_t step;             /* committed steps */
    struct ls_sums epoch;      /* of the epoch that `step` lies in */
    struct ls_sums last;       /* of the newest whole epoch */
    struct ls_sums validation; /* after the newest whole epoch; samples 0: none yet */
    uint64_t validated_epochs;
};

/* What a replica tells the outside, all nullable. */
struct ls_replica_hooks {
    pid_t started_pid;      /* process whose start counts as the command's, 0: this one */
    struct ls_trace *trace; /* where this replica writes what it does; borrowed */
    bool only_evaluates;    /* nothing is resumed: for what is said of a checkpoint that does not fit */
    void *state;
    void (*phase)(void *state, uint64_t step, enum ls_phase phase);
    void (*report)(void *state, const struct ls_step_report *report);
    void (*checkpoint)(void *state, uint64_t step, const char *path);
};

struct ls_replica {
    const struct ls_trainer *trainer;
    struct ls_device *device;
    struct ls_group *group; /* owned */
    int rank, world;
    struct ls_replica_hooks hooks;
    struct ls_tracing tracing;
    struct ls_state *state;
    struct ls_step_programs programs;
    struct ls_schedule *schedules[2][2]; /* [mode TRAIN, EVALUATE][whole batch, short last batch or NULL] */
    struct ls_exchange *exchange[2];     /* by mode */
    struct ls_courier *courier;          /* of both, NULL: the replica's thread drives its collectives */
    struct ls_compress *compress;        /* of gradients; NULL: none */
    struct ls_loader *loader;            /* of batches, beside compute */
    uint8_t *features, *labels;          /* of this rank's samples of the batch; the loader's */
    void *arenas[LS_MAX_SHARDS];         /* of the schedules' calls, each as large as the largest */
    const void **variables;              /* current state by variable, for programs */
    void **outputs;                      /* by program output */
    float **gradients;                   /* per variable: buffer for gradients that are no reduce's value, else NULL */
    int tensor_count;                    /* of a checkpoint: the state's, then the compressor's */
    struct ls_ckpt_tensor *tensors;
    struct ls_tuner tuner; /* of how the training steps' gradients travel */
    uint64_t evaluate_ns;  /* when the step's evaluation began */
    int max_leaves;        /* of any rank in any schedule */
    uint8_t *votes;        /* vote.c: own vote, then everyone's */
    struct ls_progress progress;
    uint64_t fingerprint; /* of the parameters of the current state */
    uint64_t generation;
    _Atomic bool stop;   /* set: stop at the next step that all ranks agree on */
    bool stopping;       /* all ranks agreed */
    double first_step_s; /* from the start of the command to the first commit here; 0 before */
    double busy_s;       /* time in training steps after the first */
    int64_t busy_samples, busy_steps;
    uint64_t saved_step, saved_epochs, saved_ns; /* the newest checkpoint's step and validated epochs, and when */
    bool save_asked;                             /* by a vote: a checkpoint by time is due */
};

/* Opens device, state (initialised or from ckpt, nullable), buffers. Takes group on success. Returned; ends with
 * ls_replica_close. */
enum ls_status ls_replica_open(const struct ls_trainer *trainer, struct ls_group *group, const struct ls_ckpt *ckpt,
                               const struct ls_replica_hooks *hooks, struct ls_replica **replica, struct ls_error *err);
void ls_replica_close(struct ls_replica *replica);

/* step.c: runs forward (and backward) over this rank's calls of the batch at step_in_epoch of the mode's data set;
 * partials are in the mode's exchange, collectives are started. *schedule is what was run. */
enum ls_status ls_replica_evaluate(struct ls_replica *replica, enum ls_step_mode mode, uint64_t epoch,
                                   int64_t step_in_epoch, const struct ls_schedule **schedule, struct ls_error *err);
/* eager.c: the same calls with run.execution: eager. The batch is gathered, the exchange begun. */
enum ls_status ls_replica_run_eagerly(struct ls_replica *replica, const struct ls_schedule *schedule, float loss_seed,
                                      const struct ls_step_info *info, struct ls_error *err);
/* alike.c: every rank calls it before its first other operation. LS_EINVAL, with one sentence in all of them: their
 * run.execution or their ways of collectives differ. */
enum ls_status ls_replica_alike(struct ls_replica *replica, struct ls_error *err);
/* vote.c: waits for the gradients, then everyone votes on the step; all equal is committed. Adds the batch's sums to
 * *sums. */
enum ls_status ls_replica_vote(struct ls_replica *replica, const struct ls_schedule *schedule, struct ls_sums *sums,
                               struct ls_error *err);
/* vote.c: between steps: all ranks stand at the same step with the same parameters, or LS_EDIVERGED. What the newest
 * step made is otherwise compared by the next one's vote only. */
enum ls_status ls_replica_agree(struct ls_replica *replica, struct ls_error *err);
/* update.c: the voted step becomes the state: the optimizer runs, in place. A training step by hand is evaluate
 * (TRAIN), vote into &progress.epoch, commit; ls_replica_step (loop.c) is those three. */
void ls_replica_commit(struct ls_replica *replica, const struct ls_schedule *schedule);
enum ls_status ls_replica_step(struct ls_replica *replica, struct ls_error *err);
/* Tells the phase hook, where there is one. */
void ls_replica_tell_phase(const struct ls_replica *replica, enum ls_phase phase);
/* Epoch of the step that is next, and that step's place in it. */
void ls_replica_position(const struct ls_replica *replica, uint64_t *epoch, int64_t *step_in_epoch);
/* Where a whole epoch is done: validation, and its sums become the last ones. Otherwise nothing; nor where all ranks
 * agreed to stop, which leaves the validation to whoever goes on. */
enum ls_status ls_replica_end_epoch(struct ls_replica *replica, struct ls_error *err);
size_t ls_vote_bytes(const struct ls_replica *replica);
/* save.c: writes and commits a checkpoint of the current state, on which the ranks must agree; every rank calls it at
 * the same step. All ranks end with the same status and sentence, unless the group itself breaks. */
enum ls_status ls_replica_save(struct ls_replica *replica, struct ls_error *err);
/* Meta of a checkpoint back into progress. */
enum ls_status ls_progress_read(const char *json, struct ls_progress *progress, char **job_json, struct ls_error *err);
/* loop.c: the whole job from where it stands: epochs, validation, checkpoints. LS_EINTERRUPTED: stopped in order and
 * saved, and nothing else: a group that somebody ended gives LS_EPEER. */
enum ls_status ls_replica_run(struct ls_replica *replica, struct ls_error *err);
/* Nothing is left to do: all steps are committed, and validated where that is due. */
bool ls_replica_finished(const struct ls_replica *replica);
/* One pass over the validation set, sums in batch order. Every rank calls it at the same step. LS_EINTERRUPTED, and
 * *sums is not written: all ranks agreed to stop before its end. */
enum ls_status ls_replica_validate(struct ls_replica *replica, struct ls_sums *sums, struct ls_error *err);
/* summary.c: the job's last line. Returned text: ls_free. */
enum ls_status ls_replica_summary(struct ls_replica *replica, char **json, struct ls_error *err);

#endif

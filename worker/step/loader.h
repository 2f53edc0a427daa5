/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The batches of one replica: the samples of its calls, gathered by a thread of its own into one of two places while
 * the replica computes on the other. Which samples a batch holds follows from (seed, epoch, position), so a wrong guess
 * at the next batch costs time and nothing else.
 */
#ifndef LOCKSTEP_WORKER_STEP_LOADER_H
#define LOCKSTEP_WORKER_STEP_LOADER_H

#include "core/data/dataset.h"
#include "worker/step/schedule.h"

struct ls_loader;

struct ls_loader_options {
    struct ls_dataset *dataset[2]; /* by mode, of one feature and label layout; NULL: none. Retained. */
    uint64_t seed;
    bool shuffle;            /* of the training set */
    int64_t samples;         /* most of any schedule */
    int64_t end_deadline_ms; /* of ls_loader_destroy; 0: 10 s */
};

/* One batch of a rank: what its schedule's calls take of the samples from `first` on in the order of the epoch. */
struct ls_batch_place {
    const struct ls_schedule *schedule; /* borrowed while the loader may gather it */
    uint64_t epoch;
    int64_t first;
};

/* Starts the thread. Returned; ends with ls_loader_destroy. */
enum ls_status ls_loader_create(const struct ls_loader_options *options, struct ls_loader **loader,
                                struct ls_error *err);
/* Waits for the thread to end what it gathers, until the end deadline. Where it hangs in the reading of samples (files
 * are mapped, and their file system may have gone) it is left behind with a warning: what it holds, the sets among it,
 * stays until the file system answers, and then ends with it. Arrays in memory must stay as long. Accepts NULL. */
void ls_loader_destroy(struct ls_loader *loader);

/* The batch, features and labels of the schedule's samples one after another, as the set stores them; valid until the
 * next call. At once where it was asked for ahead, gathered here otherwise. LS_ETIMEOUT: the data could not be read
 * within 5 minutes. */
enum ls_status ls_loader_take(struct ls_loader *loader, const struct ls_batch_place *place, uint8_t **features,
                              uint8_t **labels, struct ls_error *err);
/* Begins to gather what will probably be taken next; the batch in use stays as it is. */
void ls_loader_ahead(struct ls_loader *loader, const struct ls_batch_place *place);

#endif

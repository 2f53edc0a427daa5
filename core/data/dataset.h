/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data sets addressed by sample index: features and labels from IDX (.gz too) or .npy files, checked, in memory.
 * The order of an epoch is a permutation by (seed, epoch), so any worker can fetch any sample.
 */
#ifndef LOCKSTEP_CORE_DATA_DATASET_H
#define LOCKSTEP_CORE_DATA_DATASET_H

#include "core/tensor/tensor.h"

struct ls_dataset;

struct ls_dataset_options {
    const char *format;   /* "idx" or "npy". Borrowed. */
    const char *features; /* path. Borrowed. */
    const char *labels;   /* path, NULL: none (predict). Borrowed. */
    bool shared;          /* decode once per host: later openers of the same files map the first one's result */
};

/* Opens and checks. Messages name the file and what is wrong (truncated, trailing bytes, dtype, counts that differ).
 * Returned; ends with ls_dataset_close. */
enum ls_status ls_dataset_open(const struct ls_dataset_options *options, struct ls_dataset **dataset,
                               struct ls_error *err);
/* The same over arrays in memory, dim[0] of which counts samples; labels may be NULL. Both are borrowed until
 * ls_dataset_close (integer labels are copied). */
enum ls_status ls_dataset_from_memory(const struct ls_view *features, const struct ls_view *labels,
                                      struct ls_dataset **dataset, struct ls_error *err);
/* Ends when every holder has closed it. Accepts NULL. */
void ls_dataset_close(struct ls_dataset *dataset);
/* One more holder, who closes it as well. From any thread, as the closing; NULL gives NULL. */
struct ls_dataset *ls_dataset_retain(struct ls_dataset *dataset);

int64_t ls_dataset_count(const struct ls_dataset *dataset);
bool ls_dataset_has_labels(const struct ls_dataset *dataset);
/* Shape of one sample and dtype as stored (u8 images stay u8). Integer labels of any width are given as i32. */
const struct ls_shape *ls_dataset_feature_shape(const struct ls_dataset *dataset);
enum ls_dtype ls_dataset_feature_dtype(const struct ls_dataset *dataset);
const struct ls_shape *ls_dataset_label_shape(const struct ls_dataset *dataset);
enum ls_dtype ls_dataset_label_dtype(const struct ls_dataset *dataset);
/* Smallest and largest integer label; LS_EINVAL where labels are not integers. */
enum ls_status ls_dataset_label_range(const struct ls_dataset *dataset, int64_t *low, int64_t *high,
                                      struct ls_error *err);

/* Copies samples index[0 .. count) into features and labels (labels may be NULL), in that order. Features are cast
 * to feature_dtype (LS_F32 from u8 exactly, or the stored one). Thread-safe. */
void ls_dataset_gather(const struct ls_dataset *dataset, const int64_t *index, int64_t count,
                       enum ls_dtype feature_dtype, void *features, void *labels);

/* "(sample count, byte length, SHA-256 of the first and last MiB)" of each file, for the job fingerprint: hex of the
 * digest into text. */
enum ls_status ls_dataset_file_digest(const char *path, int64_t *byte_length, char sha256[65], struct ls_error *err);

/* SHA-256 over all that the set holds, as it is given out: dtypes, shapes, bytes. */
enum ls_status ls_dataset_digest(const struct ls_dataset *dataset, char sha256[65], struct ls_error *err);

/* Number of samples a file of a format holds, from its header alone. */
enum ls_status ls_dataset_file_count(const char *path, const char *format, int64_t *count, struct ls_error *err);

/* Sample order: position p of an epoch -> dataset index. shuffle off: the identity. */
struct ls_epoch_order {
    uint64_t seed;
    bool shuffle;
    int64_t count;
};
int64_t ls_epoch_index(const struct ls_epoch_order *order, uint64_t epoch, int64_t position);
void ls_epoch_indices(const struct ls_epoch_order *order, uint64_t epoch, int64_t first, int64_t count, int64_t *index);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Data sets of dataset.h: two decoded arrays, checked against each other, and the gathering of samples. */
#include "core/data/array.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

struct ls_dataset {
    struct lsi_array features, labels;
    bool has_labels;
    int64_t count;
    struct ls_shape feature_shape, label_shape; /* of one sample */
    int64_t feature_size, label_size;           /* elements of one sample */
    int64_t label_low, label_high;              /* integer labels */
    _Atomic int more_holders;                   /* than the one who opened it */
};

static struct ls_shape sample_shape(const struct ls_shape *whole)
{
    struct ls_shape shape = {.rank = whole->rank - 1};

    memcpy(shape.dim, whole->dim + 1, (size_t)shape.rank * sizeof *shape.dim);
    return shape;
}

static int64_t integer_at(const struct ls_view *view, int64_t index)
{
    switch (view->dtype) {
    case LS_I64:
        return ((const int64_t *)view->data)[index];
    case LS_I32:
        return ((const int32_t *)view->data)[index];
    default:
        return ((const uint8_t *)view->data)[index];
    }
}

static bool is_integer(enum ls_dtype dtype)
{
    return dtype == LS_I64 || dtype == LS_I32 || dtype == LS_U8 || dtype == LS_BOOL;
}

/* Labels as i32, with their range. */
static enum ls_status narrow_labels(struct ls_dataset *set, const char *path, struct ls_error *err)
{
    const struct ls_view *from = &set->labels.view;
    struct ls_view to = {.dtype = LS_I32, .shape = from->shape};
    int64_t count = ls_shape_count(&from->shape);
    int32_t *out;

    if (!is_integer(from->dtype))
        return LS_OK;
    out = ls_alloc_aligned(ls_view_bytes(&to));
    if (out == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the labels of %s", path);
    set->label_low = INT64_MAX;
    set->label_high = INT64_MIN;
    for (int64_t i = 0; i < count; i++) {
        int64_t label = integer_at(from, i);

        if (label < INT32_MIN || label > INT32_MAX) {
            ls_free(out);
            return ls_error_set(err, LS_EINVAL,
                                "cannot use %s: label %" PRId64 " of sample %" PRId64 " is no 32-bit number", path,
                                label, i / set->label_size);
        }
        out[i] = (int32_t)label;
        set->label_low = label < set->label_low ? label : set->label_low;
        set->label_high = label > set->label_high ? label : set->label_high;
    }
    lsi_array_deinit(&set->labels);
    to.data = out;
    set->labels.view = to;
    set->labels.memory = out;
    return LS_OK;
}

/* The labels are there: as many as the features, integers as i32. */
static enum ls_status take_labels(struct ls_dataset *set, const char *features, const char *labels,
                                  struct ls_error *err)
{
    int64_t count = set->labels.view.shape.dim[0];

    set->has_labels = true;
    if (count != set->count)
        return ls_error_set(err, LS_EINVAL,
                            "%s has %" PRId64 " samples and %s has %" PRId64 " labels; the counts must agree", features,
                            set->count, labels, count);
    set->label_shape = sample_shape(&set->labels.view.shape);
    set->label_size = ls_shape_count(&set->label_shape);
    return narrow_labels(set, labels, err);
}

static void take_features(struct ls_dataset *set)
{
    set->count = set->features.view.shape.dim[0];
    set->feature_shape = sample_shape(&set->features.view.shape);
    set->feature_size = ls_shape_count(&set->feature_shape);
}

enum ls_status ls_dataset_open(const struct ls_dataset_options *options, struct ls_dataset **dataset,
                               struct ls_error *err)
{
    struct ls_dataset *set = ls_alloc_zeroed(1, sizeof *set);
    enum ls_status status;

    if (set == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to open %s", options->features);
    status = options->shared ? lsi_array_read_shared(options->features, options->format, &set->features) : LS_EAGAIN;
    if (status != LS_OK)
        status = lsi_array_read(options->features, options->format, &set->features, err);
    if (status == LS_OK) {
        take_features(set);
        /* Labels are small and become i32 anyway, so they are never shared. */
        if (options->labels != NULL)
            status = lsi_array_read(options->labels, options->format, &set->labels, err);
        if (status == LS_OK && options->labels != NULL)
            status = take_labels(set, options->features, options->labels, err);
    }
    if (status != LS_OK) {
        ls_dataset_close(set);
        return status;
    }
    *dataset = set;
    return LS_OK;
}

static enum ls_status check_memory(const struct ls_view *view, const char *what, struct ls_error *err)
{
    enum ls_status status = ls_shape_check(&view->shape, view->dtype, err);

    if (status == LS_OK && (view->data == NULL || view->shape.rank < 1 || ls_shape_count(&view->shape) == 0))
        status = ls_error_set(err, LS_EINVAL, "the first dimension must count samples, and there must be some");
    return status == LS_OK ? status : ls_error_wrap(err, "%s", what);
}

enum ls_status ls_dataset_from_memory(const struct ls_view *features, const struct ls_view *labels,
                                      struct ls_dataset **dataset, struct ls_error *err)
{
    struct ls_dataset *set;
    enum ls_status status = check_memory(features, "the array of features", err);

    if (status == LS_OK && labels != NULL)
        status = check_memory(labels, "the array of labels", err);
    if (status != LS_OK)
        return status;
    set = ls_alloc_zeroed(1, sizeof *set);
    if (set == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for a data set");
    set->features.view = *features;
    take_features(set);
    if (labels != NULL) {
        set->labels.view = *labels;
        status = take_labels(set, "the array of features", "the array of labels", err);
    }
    if (status != LS_OK)
        ls_dataset_close(set);
    else
        *dataset = set;
    return status;
}

static void digest_array(struct ls_sha256 *hash, const struct ls_view *view)
{
    char text[128], head[192];
    size_t length =
        (size_t)snprintf(head, sizeof head, "%s%s", ls_dtype_name(view->dtype), ls_shape_text(&view->shape, text));

    ls_sha256_update(hash, head, length + 1);
    ls_sha256_update(hash, view->data, ls_view_bytes(view));
}

enum ls_status ls_dataset_digest(const struct ls_dataset *dataset, char sha256[65], struct ls_error *err)
{
    struct ls_sha256 *hash = ls_sha256_create();
    uint8_t digest[LS_SHA256_BYTES];

    if (hash == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to digest a data set");
    digest_array(hash, &dataset->features.view);
    if (dataset->has_labels)
        digest_array(hash, &dataset->labels.view);
    ls_sha256_finish(hash, digest);
    ls_sha256_destroy(hash);
    ls_hex(digest, sizeof digest, sha256);
    return LS_OK;
}

void ls_dataset_close(struct ls_dataset *dataset)
{
    if (dataset == NULL || atomic_fetch_sub(&dataset->more_holders, 1) > 0)
        return;
    lsi_array_deinit(&dataset->features);
    lsi_array_deinit(&dataset->labels);
    ls_free(dataset);
}

struct ls_dataset *ls_dataset_retain(struct ls_dataset *dataset)
{
    if (dataset != NULL)
        (void)atomic_fetch_add(&dataset->more_holders, 1);
    return dataset;
}

int64_t ls_dataset_count(const struct ls_dataset *dataset)
{
    return dataset->count;
}

bool ls_dataset_has_labels(const struct ls_dataset *dataset)
{
    return dataset->has_labels;
}

const struct ls_shape *ls_dataset_feature_shape(const struct ls_dataset *dataset)
{
    return &dataset->feature_shape;
}

enum ls_dtype ls_dataset_feature_dtype(const struct ls_dataset *dataset)
{
    return dataset->features.view.dtype;
}

const struct ls_shape *ls_dataset_label_shape(const struct ls_dataset *dataset)
{
    return &dataset->label_shape;
}

enum ls_dtype ls_dataset_label_dtype(const struct ls_dataset *dataset)
{
    return dataset->labels.view.dtype;
}

enum ls_status ls_dataset_label_range(const struct ls_dataset *dataset, int64_t *low, int64_t *high,
                                      struct ls_error *err)
{
    if (!dataset->has_labels || dataset->labels.view.dtype != LS_I32)
        return ls_error_set(err, LS_EINVAL, "the data set has no integer labels");
    *low = dataset->label_low;
    *high = dataset->label_high;
    return LS_OK;
}

/* Blocks of a constant size, so that the compiler turns them into vector code. */
static void widen_u8(const uint8_t *restrict from, int64_t count, float *restrict to)
{
    int64_t i = 0;

    for (; i + 32 <= count; i += 32)
        for (int k = 0; k < 32; k++)
            to[i + k] = (float)from[i + k];
    for (; i < count; i++)
        to[i] = (float)from[i];
}

static void cast_to_f32(const struct ls_view *view, int64_t begin, int64_t count, float *to)
{
    switch (view->dtype) {
    case LS_U8:
    case LS_BOOL:
        widen_u8((const uint8_t *)view->data + begin, count, to);
        return;
    case LS_F64:
        for (int64_t i = 0; i < count; i++)
            to[i] = (float)((const double *)view->data)[begin + i];
        return;
    default:
        for (int64_t i = 0; i < count; i++)
            to[i] = (float)integer_at(view, begin + i);
    }
}

void ls_dataset_gather(const struct ls_dataset *dataset, const int64_t *index, int64_t count,
                       enum ls_dtype feature_dtype, void *features, void *labels)
{
    const struct ls_view *from = &dataset->features.view;
    int64_t size = dataset->feature_size;
    size_t bytes = (size_t)size * ls_dtype_size(from->dtype);
    size_t label_bytes = (size_t)dataset->label_size * ls_dtype_size(dataset->labels.view.dtype);

    for (int64_t i = 0; i < count; i++) {
        if (feature_dtype == from->dtype)
            memcpy((uint8_t *)features + (size_t)i * bytes, (const uint8_t *)from->data + (size_t)index[i] * bytes,
                   bytes);
        else
            cast_to_f32(from, index[i] * size, size, (float *)features + i * size);
    }
    if (labels == NULL || !dataset->has_labels)
        return;
    for (int64_t i = 0; i < count; i++)
        memcpy((uint8_t *)labels + (size_t)i * label_bytes,
               (const uint8_t *)dataset->labels.view.data + (size_t)index[i] * label_bytes, label_bytes);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a compressor keeps, as tensors of a checkpoint: "compression/residual/<rank>/<path>", whole in its rank's part,
 * and "compression/<method>/<path>", the same on all ranks. Names and order are part of the checkpoint format.
 */
#include "worker/compress/compress_internal.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/nn/model.h"
#include "strategies/plan.h"

static enum ls_status add_tensor(struct ls_compress *c, char *name, const struct ls_shape *shape)
{
    if (name == NULL)
        return LS_ENOMEM;
    c->names[c->tensor_count] = name;
    c->tensors[c->tensor_count++] =
        (struct ls_ckpt_tensor){.path = name, .role = LS_ROLE_COMPRESSION, .dtype = LS_F32, .shape = *shape};
    return LS_OK;
}

static char *residual_name(int rank, const char *path)
{
    return ls_str_format("compression/residual/%d/%s", rank, path);
}

enum ls_status lsi_compress_name_tensors(struct ls_compress *c, struct ls_error *err)
{
    size_t most = (size_t)c->item_count * (size_t)(c->world + 1);
    enum ls_status status = LS_OK;

    c->tensors = ls_alloc_zeroed(most + 1, sizeof *c->tensors);
    c->names = ls_alloc_zeroed(most + 1, sizeof *c->names);
    if (c->tensors == NULL || c->names == NULL)
        status = LS_ENOMEM;
    for (int r = 0; r < c->world && status == LS_OK; r++)
        for (int i = 0; i < c->item_count && status == LS_OK; i++)
            status = add_tensor(c, residual_name(r, c->items[i].is.path), &c->items[i].is.shape);
    for (int i = 0; i < c->item_count && status == LS_OK; i++)
        if (c->items[i].shared > 0)
            status = add_tensor(c, ls_str_format("compression/%s/%s", c->method->name, c->items[i].is.path),
                                &LS_SHAPE(c->items[i].shared / c->items[i].cols, c->items[i].cols));
    return status == LS_OK ? status : ls_error_set(err, status, "not enough memory for the compression of gradients");
}

int ls_compress_tensor_count(const struct ls_compress *c)
{
    return c->tensor_count;
}

const struct ls_ckpt_tensor *ls_compress_tensor_at(const struct ls_compress *c, int index)
{
    return &c->tensors[index];
}

int ls_compress_pieces(const struct ls_compress *c, int first, struct ls_ckpt_piece *pieces)
{
    int count = 0, tensor = first + c->rank * c->item_count;

    for (int i = 0; i < c->item_count; i++)
        pieces[count++] = (struct ls_ckpt_piece){
            .tensor = tensor + i, .count = c->items[i].count, .data = c->residual[c->current] + c->items[i].at};
    tensor = first + c->world * c->item_count;
    for (int i = 0; i < c->item_count; i++) {
        const struct lsi_compress_item *item = &c->items[i];
        struct ls_ckpt_piece piece = {.tensor = tensor};

        if (item->shared == 0)
            continue;
        ls_plan_owned(item->shared, tensor++, c->world, c->rank, &piece.begin, &piece.count);
        piece.data = c->shared[c->current] + item->shared_at + piece.begin;
        if (piece.count > 0)
            pieces[count++] = piece;
    }
    return count;
}

static enum ls_status misfit(const struct ls_ckpt *ckpt, const char *path, struct ls_error *err)
{
    return ls_error_set(err, LS_EINVAL,
                        "the checkpoint %s has no tensor %s of the model's shape, which the compression "
                        "of gradients needs",
                        ls_ckpt_path(ckpt), path);
}

/* *found: it is there and was read. A tensor of another shape is an error, a missing one is the caller's to judge. */
static enum ls_status read_tensor(const struct ls_ckpt *ckpt, const char *path, const struct ls_shape *shape,
                                  float *data, bool *found, struct ls_error *err)
{
    int index = path != NULL ? ls_ckpt_find(ckpt, path) : -1;
    const struct ls_ckpt_tensor *have = index >= 0 ? ls_ckpt_tensor_at(ckpt, index) : NULL;

    *found = have != NULL;
    if (path == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to load a checkpoint");
    if (have == NULL)
        return LS_OK;
    if (have->dtype != LS_F32 || have->role != LS_ROLE_COMPRESSION || !ls_shape_equal(&have->shape, shape))
        return misfit(ckpt, path, err);
    return ls_ckpt_read(ckpt, index, data, err);
}

/* One more than the highest rank of which the checkpoint has a residual of this variable. */
static int saved_ranks(const struct ls_ckpt *ckpt, const char *path)
{
    static const char prefix[] = "compression/residual/";
    int saved = 0;

    for (int i = 0; i < ls_ckpt_tensor_count(ckpt); i++) {
        const char *name = ls_ckpt_tensor_at(ckpt, i)->path, *slash;
        char digits[8];
        int64_t rank;

        if (strncmp(name, prefix, sizeof prefix - 1) != 0)
            continue;
        name += sizeof prefix - 1;
        slash = strchr(name, '/');
        if (slash == NULL || slash - name >= (ptrdiff_t)sizeof digits || strcmp(slash + 1, path) != 0)
            continue;
        memcpy(digits, name, (size_t)(slash - name));
        digits[slash - name] = '\0';
        if (ls_str_to_i64(digits, &rank) && rank >= saved && rank < LS_MAX_MEMBERS)
            saved = (int)rank + 1;
    }
    return saved;
}

/* Residuals of one variable: rank, rank + world, ... of those who saved, whichever of them are there. */
static enum ls_status load_residual(struct ls_compress *c, const struct ls_ckpt *ckpt,
                                    const struct lsi_compress_item *item, int saved, struct ls_error *err)
{
    float *sum = c->residual[c->current] + item->at, *one = lsi_next(c, item);
    bool found;
    enum ls_status status = LS_OK;

    memset(sum, 0, (size_t)item->count * sizeof *sum);
    for (int r = c->rank; r < saved && status == LS_OK; r += c->world) {
        char *path = residual_name(r, item->is.path);

        status = read_tensor(ckpt, path, &item->is.shape, r == c->rank ? sum : one, &found, err);
        for (int64_t e = 0; status == LS_OK && found && r != c->rank && e < item->count; e++)
            sum[e] += one[e];
        ls_free(path);
    }
    return status;
}

enum ls_status ls_compress_load(struct ls_compress *c, const struct ls_ckpt *ckpt, struct ls_error *err)
{
    enum ls_status status = LS_OK;
    bool found;

    for (int i = 0; i < c->item_count && status == LS_OK; i++) {
        const struct lsi_compress_item *item = &c->items[i];
        int saved = saved_ranks(ckpt, item->is.path);

        if (saved > 0) {
            status = load_residual(c, ckpt, item, saved, err);
        } else {
            char *path = residual_name(0, item->is.path);

            status = misfit(ckpt, path != NULL ? path : item->is.path, err);
            ls_free(path);
        }
    }
    for (int i = 0, t = c->world * c->item_count; i < c->item_count && status == LS_OK; i++) {
        const struct lsi_compress_item *item = &c->items[i];

        if (item->shared == 0)
            continue;
        status = read_tensor(ckpt, c->tensors[t].path, &c->tensors[t].shape, c->shared[c->current] + item->shared_at,
                             &found, err);
        if (status == LS_OK && !found)
            status = misfit(ckpt, c->tensors[t].path, err);
        t++;
    }
    c->empty = false;
    return status;
}

enum ls_status ls_compress_digest(struct ls_compress *c, const uint8_t **digests, size_t *bytes, struct ls_error *err)
{
    struct ls_sha256 *hash = ls_sha256_create();
    int64_t counts[LS_MAX_MEMBERS];

    if (hash == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory to hash the state");
    for (int i = 0; i < c->item_count; i++) {
        const struct lsi_compress_item *item = &c->items[i];

        ls_sha256_update(hash, c->residual[c->current] + item->at, (size_t)item->count * sizeof(float));
        ls_sha256_update(hash, c->shared[c->current] + item->shared_at, (size_t)item->shared * sizeof(float));
    }
    ls_sha256_finish(hash, c->digests);
    ls_sha256_destroy(hash);
    for (int r = 0; r < c->world; r++)
        counts[r] = LS_SHA256_BYTES;
    *digests = c->digests + LS_SHA256_BYTES;
    *bytes = (size_t)c->world * LS_SHA256_BYTES;
    return ls_group_run(c->group,
                        &(struct ls_collective){.kind = LS_ALL_GATHER,
                                                .dtype = LS_U8,
                                                .src = c->digests,
                                                .dst = c->digests + LS_SHA256_BYTES,
                                                .counts = counts},
                        err);
}

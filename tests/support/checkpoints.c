/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/checkpoints.h"

#include "core/base/alloc.h"

#include <string.h>

enum { TENSORS = 4, MAX_PIECES = 64 };

static const struct ls_ckpt_tensor tensors[TENSORS] = {
    {"dense/kernel", 1, LS_F32, {2, {3, 3000}}},
    {"dense/kernel/m", 3, LS_F32, {2, {3, 3000}}},
    {"counter", 4, LS_I64, {0, {0}}},
    {"flags", 2, LS_U8, {1, {5}}},
};

static size_t bytes_of(int tensor)
{
    return (size_t)ls_shape_count(&tensors[tensor].shape) * ls_dtype_size(tensors[tensor].dtype);
}

/* Any bytes that depend on step, tensor and place. */
static void fill(uint64_t step, int tensor, uint8_t *data)
{
    uint64_t state = step * 1000003 + (uint64_t)tensor;

    for (size_t i = 0; i < bytes_of(tensor); i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        data[i] = (uint8_t)(state >> 56);
    }
}

/* Pieces of part p: chunk c of a tensor goes to part c mod parts. */
static int cut(uint8_t *const *data, int part, int parts, struct ls_ckpt_piece *pieces)
{
    int count = 0;

    for (int t = 0; t < TENSORS; t++) {
        int64_t total = ls_shape_count(&tensors[t].shape);

        if (parts == 1) {
            pieces[count++] = (struct ls_ckpt_piece){t, 0, total, data[t]};
            continue;
        }
        for (int64_t begin = 0, chunk = 0; begin < total; begin += LS_CKPT_CHUNK, chunk++) {
            int64_t left = total - begin;

            if (chunk % parts != part)
                continue;
            pieces[count++] = (struct ls_ckpt_piece){t, begin, left < LS_CKPT_CHUNK ? left : LS_CKPT_CHUNK,
                                                     data[t] + (size_t)begin * ls_dtype_size(tensors[t].dtype)};
        }
    }
    return count;
}

enum ls_status lst_ckpt_save(const char *directory, uint64_t step, int parts, int keep, struct ls_error *err)
{
    struct ls_ckpt_meta meta = {
        .step = step, .generation = 7, .json = "{\"epoch\":2,\"loss\":0.1,\"big\":9007199254740993}"};
    struct ls_ckpt_piece pieces[MAX_PIECES];
    struct ls_ckpt_part results[16];
    uint8_t *data[TENSORS];
    enum ls_status status = LS_OK;

    for (int t = 0; t < TENSORS; t++) {
        data[t] = ls_alloc(bytes_of(t));
        fill(step, t, data[t]);
    }
    for (int p = 0; p < parts && status == LS_OK; p++) {
        int count = cut(data, p, parts, pieces);

        status = ls_ckpt_write_part(directory, &meta, tensors, TENSORS, pieces, count, p, parts, &results[p], err);
    }
    if (status == LS_OK)
        status = ls_ckpt_commit(directory, &meta, tensors, TENSORS, results, parts, keep, err);
    for (int t = 0; t < TENSORS; t++)
        ls_free(data[t]);
    return status;
}

bool lst_ckpt_is_right(const struct ls_ckpt *ckpt)
{
    bool right = ls_ckpt_tensor_count(ckpt) == TENSORS && ls_ckpt_generation(ckpt) == 7;

    for (int t = 0; t < TENSORS && right; t++) {
        int index = ls_ckpt_find(ckpt, tensors[t].path);
        uint8_t *wanted = ls_alloc(bytes_of(t)), *got = ls_alloc(bytes_of(t));

        fill(ls_ckpt_step(ckpt), t, wanted);
        right = index >= 0 && ls_ckpt_tensor_at(ckpt, index)->role == tensors[t].role &&
                ls_ckpt_tensor_at(ckpt, index)->dtype == tensors[t].dtype &&
                ls_shape_equal(&ls_ckpt_tensor_at(ckpt, index)->shape, &tensors[t].shape) &&
                ls_ckpt_read(ckpt, index, got, NULL) == LS_OK && memcmp(wanted, got, bytes_of(t)) == 0;
        ls_free(wanted);
        ls_free(got);
    }
    return right;
}

int64_t lst_ckpt_newest(const char *directory, bool *right, bool *fell_back)
{
    struct ls_ckpt *ckpt = NULL;
    char *sentence = NULL;
    int64_t step;

    *right = *fell_back = false;
    if (ls_ckpt_open(directory, &ckpt, &sentence, NULL) != LS_OK)
        return -1;
    step = (int64_t)ls_ckpt_step(ckpt);
    *right = lst_ckpt_is_right(ckpt);
    *fell_back = sentence != NULL;
    ls_free(sentence);
    ls_ckpt_close(ckpt);
    return step;
}

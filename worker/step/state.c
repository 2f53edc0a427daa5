/* SPDX-License-Identifier: Apache-2.0 */
/* Memory, initial values and hashes of a replica's state, see state.h. */
#include "worker/step/state.h"

#include "core/base/alloc.h"
#include "core/base/buf.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/formats/npz.h"

#include <string.h>

static size_t aligned(size_t bytes)
{
    return (bytes + LS_ALIGNMENT - 1) & ~(size_t)(LS_ALIGNMENT - 1);
}

/* Trainable variables and their slots stand once (they change in place, after the commit); others twice. */
static size_t variable_bytes(const struct ls_variable_info *info, int slot_count)
{
    int64_t count = ls_shape_count(&info->shape);
    size_t bytes = aligned((size_t)count * ls_dtype_size(info->dtype));

    if (info->role != LS_ROLE_TRAINABLE)
        return 2 * bytes;
    return bytes + (size_t)slot_count * aligned((size_t)count * sizeof(float));
}

size_t ls_state_bytes(const struct ls_model *model, const struct ls_optimizer *optimizer)
{
    size_t bytes = 0;

    for (int i = 0; i < ls_model_variable_count(model); i++)
        bytes += variable_bytes(ls_model_variable(model, i), ls_optimizer_slot_count(optimizer));
    return bytes;
}

static void *take(uint8_t **place, size_t bytes)
{
    void *taken = *place;

    *place += aligned(bytes);
    return taken;
}

static void lay_out(struct ls_state *state)
{
    uint8_t *place = state->memory;
    uint64_t chunk = 0;

    for (int i = 0; i < state->variable_count; i++) {
        struct ls_state_variable *v = &state->variables[i];
        size_t bytes;

        v->info = ls_model_variable(state->model, i);
        v->count = ls_shape_count(&v->info->shape);
        v->first_chunk = chunk;
        bytes = (size_t)v->count * ls_dtype_size(v->info->dtype);
        v->data[0] = v->data[1] = take(&place, bytes);
        if (v->info->role != LS_ROLE_TRAINABLE) {
            v->data[1] = take(&place, bytes);
            continue;
        }
        chunk += (uint64_t)(v->count + LS_CKPT_CHUNK - 1) / LS_CKPT_CHUNK;
        for (int s = 0; s < state->slot_count; s++)
            v->slots[s] = take(&place, bytes);
    }
}

static enum ls_status add_tensor(struct ls_state *state, char *name, int role, enum ls_dtype dtype,
                                 const struct ls_shape *shape)
{
    if (name == NULL)
        return LS_ENOMEM;
    state->names[state->tensor_count] = name;
    state->tensors[state->tensor_count++] =
        (struct ls_ckpt_tensor){.path = name, .role = role, .dtype = dtype, .shape = *shape};
    return LS_OK;
}

/* Model order, then name: a variable, its slots, at the end the counters. */
static enum ls_status name_tensors(struct ls_state *state)
{
    int most = state->variable_count * (1 + state->slot_count) + state->counter_count;
    enum ls_status status = LS_OK;

    state->tensors = ls_alloc_zeroed((size_t)most, sizeof *state->tensors);
    state->names = ls_alloc_zeroed((size_t)most, sizeof *state->names);
    if (state->tensors == NULL || state->names == NULL)
        return LS_ENOMEM;
    for (int i = 0; i < state->variable_count && status == LS_OK; i++) {
        const struct ls_variable_info *info = state->variables[i].info;

        status = add_tensor(state, ls_str_copy(info->path), (int)info->role, info->dtype, &info->shape);
        for (int s = 0; info->role == LS_ROLE_TRAINABLE && s < state->slot_count && status == LS_OK; s++)
            status = add_tensor(state, ls_str_format("%s/%s", info->path, ls_optimizer_slot_name(state->optimizer, s)),
                                LS_ROLE_SLOT, LS_F32, &info->shape);
    }
    for (int c = 0; c < state->counter_count && status == LS_OK; c++)
        status = add_tensor(state, ls_str_format("optimizer/%s", ls_optimizer_counter_name(state->optimizer, c)),
                            LS_ROLE_COUNTER, LS_F64, &LS_SHAPE_SCALAR);
    return status;
}

enum ls_status ls_state_create(const struct ls_model *model, const struct ls_optimizer *optimizer,
                               struct ls_state **state, struct ls_error *err)
{
    struct ls_state *made = ls_alloc_zeroed(1, sizeof *made);
    enum ls_status status = LS_ENOMEM;

    if (made == NULL)
        goto fail;
    made->model = model;
    made->optimizer = optimizer;
    made->variable_count = ls_model_variable_count(model);
    made->slot_count = ls_optimizer_slot_count(optimizer);
    made->counter_count = ls_optimizer_counter_count(optimizer);
    made->bytes = ls_state_bytes(model, optimizer);
    made->variables = ls_alloc_zeroed((size_t)made->variable_count, sizeof *made->variables);
    made->memory = ls_alloc_aligned(made->bytes);
    if (made->variables == NULL || made->memory == NULL)
        goto fail;
    lay_out(made);
    for (int c = 0; c < made->counter_count; c++)
        made->counters[0][c] = made->counters[1][c] = ls_optimizer_counter_initial(optimizer, c);
    status = name_tensors(made);
    if (status != LS_OK)
        goto fail;
    *state = made;
    return LS_OK;
fail:
    ls_state_destroy(made);
    return ls_error_set(err, status, "not enough memory for the model's state");
}

void ls_state_destroy(struct ls_state *state)
{
    if (state == NULL)
        return;
    for (int i = 0; state->names != NULL && i < state->tensor_count; i++)
        ls_free(state->names[i]);
    ls_free(state->names);
    ls_free(state->tensors);
    ls_free(state->memory);
    ls_free(state->variables);
    ls_free(state);
}

/* Both copies equal: what no step touches (frozen variables) then survives every flip. */
static void mirror(struct ls_state *state)
{
    int now = state->current;

    for (int i = 0; i < state->variable_count; i++) {
        struct ls_state_variable *v = &state->variables[i];

        if (v->data[0] != v->data[1])
            memcpy(v->data[!now], v->data[now], (size_t)v->count * ls_dtype_size(v->info->dtype));
    }
    memcpy(state->counters[!now], state->counters[now], sizeof state->counters[now]);
}

static enum ls_status load_npz(struct ls_state *state, const char *path, struct ls_error *err)
{
    struct ls_npz *npz = NULL;
    enum ls_status status = ls_npz_open(path, &npz, err);

    for (int i = 0; i < state->variable_count && status == LS_OK; i++) {
        struct ls_state_variable *v = &state->variables[i];
        const struct ls_view *view = ls_npz_find(npz, v->info->path);
        char have[128], want[128];

        if (view == NULL)
            status = ls_error_set(err, LS_EINVAL, "%s has no member %s, which the model needs", path, v->info->path);
        else if (view->dtype != v->info->dtype || !ls_shape_equal(&view->shape, &v->info->shape))
            status = ls_error_set(err, LS_EINVAL, "%s: member %s is %s %s, but the model needs %s %s", path,
                                  v->info->path, ls_dtype_name(view->dtype), ls_shape_text(&view->shape, have),
                                  ls_dtype_name(v->info->dtype), ls_shape_text(&v->info->shape, want));
        else
            memcpy(ls_state_data(state, i), view->data, ls_view_bytes(view));
    }
    ls_npz_close(npz);
    return status;
}

enum ls_status ls_state_initialize(struct ls_state *state, uint64_t seed, const char *npz, struct ls_error *err)
{
    enum ls_status status = LS_OK;

    if (npz != NULL)
        status = load_npz(state, npz, err);
    for (int i = 0; npz == NULL && i < state->variable_count && status == LS_OK; i++)
        status = ls_model_initialize(state->model, seed, i, ls_state_data(state, i), err);
    mirror(state);
    return status;
}

void *ls_state_data(const struct ls_state *state, int variable)
{
    return state->variables[variable].data[state->current];
}

void *ls_state_next(const struct ls_state *state, int variable)
{
    return state->variables[variable].data[!state->current];
}

void ls_state_flip(struct ls_state *state)
{
    state->current = !state->current;
}

void *ls_state_tensor_data(struct ls_state *state, int tensor)
{
    int index = 0, now = state->current;

    for (int i = 0; i < state->variable_count; i++) {
        struct ls_state_variable *v = &state->variables[i];
        int slots = v->info->role == LS_ROLE_TRAINABLE ? state->slot_count : 0;

        if (tensor == index)
            return v->data[now];
        if (tensor <= index + slots)
            return v->slots[tensor - index - 1];
        index += 1 + slots;
    }
    return &state->counters[now][tensor - index];
}

enum ls_status ls_state_load(struct ls_state *state, const struct ls_ckpt *ckpt, struct ls_error *err)
{
    for (int i = 0; i < state->tensor_count; i++) {
        const struct ls_ckpt_tensor *want = &state->tensors[i];
        int found = ls_ckpt_find(ckpt, want->path);
        const struct ls_ckpt_tensor *have = found >= 0 ? ls_ckpt_tensor_at(ckpt, found) : NULL;
        enum ls_status status;

        if (have == NULL)
            return ls_error_set(err, LS_EINVAL, "the checkpoint %s has no tensor %s, which this model needs",
                                ls_ckpt_path(ckpt), want->path);
        if (have->dtype != want->dtype || have->role != want->role || !ls_shape_equal(&have->shape, &want->shape))
            return ls_error_set(err, LS_EINVAL,
                                "tensor %s of the checkpoint %s has another shape or dtype than the "
                                "model's",
                                want->path, ls_ckpt_path(ckpt));
        status = ls_ckpt_read(ckpt, found, ls_state_tensor_data(state, i), err);
        if (status != LS_OK)
            return status;
    }
    mirror(state);
    return LS_OK;
}

uint64_t ls_state_fingerprint(const struct ls_state *state, struct ls_device *device)
{
    uint64_t sum = 0;

    for (int i = 0; i < state->variable_count; i++) {
        const struct ls_state_variable *v = &state->variables[i];

        if (v->info->role == LS_ROLE_TRAINABLE)
            sum += ls_device_fingerprint_f32(device, v->data[state->current], v->count, v->first_chunk);
    }
    return sum;
}

static void hash_tensor_head(struct ls_sha256 *hash, const struct ls_ckpt_tensor *tensor)
{
    struct ls_buf head = {0};

    (void)ls_buf_append_u32(&head, (uint32_t)strlen(tensor->path));
    (void)ls_buf_append_string(&head, tensor->path);
    (void)ls_buf_append_u32(&head, (uint32_t)tensor->role);
    (void)ls_buf_append_u32(&head, (uint32_t)tensor->dtype);
    (void)ls_buf_append_u32(&head, (uint32_t)tensor->shape.rank);
    for (int d = 0; d < tensor->shape.rank; d++)
        (void)ls_buf_append_u64(&head, (uint64_t)tensor->shape.dim[d]);
    ls_sha256_update(hash, head.data, head.length);
    ls_buf_deinit(&head);
}

/* Bytes with one canonical NaN, a piece at a time. */
static void hash_floats(struct ls_sha256 *hash, const float *data, int64_t count)
{
    uint32_t piece[1024];

    for (int64_t begin = 0; begin < count; begin += 1024) {
        int64_t n = count - begin < 1024 ? count - begin : 1024;

        memcpy(piece, data + begin, (size_t)n * sizeof *piece);
        for (int64_t i = 0; i < n; i++)
            if ((piece[i] & 0x7fffffffu) > 0x7f800000u)
                piece[i] = 0x7fc00000u;
        ls_sha256_update(hash, piece, (size_t)n * sizeof *piece);
    }
}

enum ls_status ls_state_sha256(struct ls_state *state, char params[65], char all[65], struct ls_error *err)
{
    struct ls_sha256 *of_params = ls_sha256_create(), *of_all = ls_sha256_create();
    uint8_t digest[LS_SHA256_BYTES];
    enum ls_status status = LS_OK;

    if (of_params == NULL || of_all == NULL) {
        status = ls_error_set(err, LS_ENOMEM, "not enough memory to hash the state");
        goto destroy;
    }
    for (int i = 0; i < state->tensor_count; i++) {
        const struct ls_ckpt_tensor *tensor = &state->tensors[i];
        const void *data = ls_state_tensor_data(state, i);
        int64_t count = ls_shape_count(&tensor->shape);

        hash_tensor_head(of_all, tensor);
        if (tensor->dtype == LS_F32)
            hash_floats(of_all, data, count);
        else
            ls_sha256_update(of_all, data, (size_t)count * ls_dtype_size(tensor->dtype));
        if (tensor->role == LS_ROLE_TRAINABLE)
            hash_floats(of_params, data, count);
    }
    ls_sha256_finish(of_params, digest);
    ls_hex(digest, sizeof digest, params);
    if (state->beside_bytes > 0)
        ls_sha256_update(of_all, state->beside, state->beside_bytes);
    ls_sha256_finish(of_all, digest);
    ls_hex(digest, sizeof digest, all);
destroy:
    ls_sha256_destroy(of_params);
    ls_sha256_destroy(of_all);
    return status;
}
